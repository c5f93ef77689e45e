"""A simulated scan put together: what each position scatters, its frames and its Bragg lists."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ediff_solve.gold_scan.kernels.columns import merge_spots, mix_positions
from ediff_solve.gold_scan.kernels.frames import paint_frames
from ediff_solve.gold_scan.microscope import (
    BACKGROUND_SPACING,
    Microscope,
    background_profiles,
    disk_templates,
    draw_microscope,
)
from ediff_solve.gold_scan.settings import GoldScanSettings
from ediff_solve.gold_scan.specimen import Specimen, build_specimen
from ediff_solve.gold_scan.tables import IntensityTables, compute_tables
from ediff_utils.bloch.kernels.detector import mix_keys
from ediff_utils.bloch.scattering import wavelength
from ediff_utils.core.errors import UserError
from ediff_utils.paper.scan.bragg import BraggLists, build_bragg_lists

#: Spots below this are not painted [fraction of the incident beam]: a fraction of an electron.
SPOT_FLOOR = 1e-7


@dataclass(frozen=True)
class GoldScan:
    """All that frames and truth are computed from; made by :func:`prepare_gold_scan`.

    Parameters
    ----------
    settings : GoldScanSettings
    specimen : Specimen
    tables : IntensityTables
    microscope : Microscope
    """

    settings: GoldScanSettings
    specimen: Specimen
    tables: IntensityTables
    microscope: Microscope


@dataclass(frozen=True)
class Scattered:
    """What some positions scatter, one after another.

    Parameters
    ----------
    direct, diffuse : ndarray, shape (n,)
        Fractions of the beam that reaches the particles; the film takes its share later.
    domain_offsets : ndarray of int, shape (n + 1,)
    domain : ndarray of int, shape (met,)
        Domains at each position, from 0.
    scattered : ndarray, shape (met,)
        What each sends into spots [fraction of the incident beam].
    thickness : ndarray, shape (met,)
        Its thickness, mean over the probe [angstrom].
    spot_offsets : ndarray of int, shape (n + 1,)
    qx, qy : ndarray, shape (spots,)
        In the scan's axes, undistorted [1/angstrom].
    intensity : ndarray, shape (spots,)
        Fractions of the incident beam.
    """

    direct: np.ndarray
    diffuse: np.ndarray
    domain_offsets: np.ndarray
    domain: np.ndarray
    scattered: np.ndarray
    thickness: np.ndarray
    spot_offsets: np.ndarray
    qx: np.ndarray
    qy: np.ndarray
    intensity: np.ndarray


def prepare_gold_scan(settings: GoldScanSettings) -> GoldScan:
    """Draw specimen and microscope, and simulate every domain.

    Parameters
    ----------
    settings : GoldScanSettings

    Returns
    -------
    GoldScan

    Raises
    ------
    UserError
        The particles do not fit on the scan.
    """
    specimen = build_specimen(settings)
    tables = compute_tables(specimen, settings)
    return GoldScan(settings, specimen, tables, draw_microscope(settings))


def probe_columns(settings: GoldScanSettings) -> np.ndarray:
    """Columns within the probe that stand for it.

    A probe without aberrations is an Airy disk, whose intensity falls to a half at 0.257 lambda /
    alpha from its centre (Born and Wolf, section 8.5); here it is a Gaussian of that half width, by
    seven columns that have its mean square radius.

    Parameters
    ----------
    settings : GoldScanSettings

    Returns
    -------
    ndarray, shape (7, 3)
        x and y from the position [angstrom], and weights that add up to 1.
    """
    half_width = 0.257 * wavelength(settings.energy) / (settings.convergence / 1e3)
    sigma = half_width / np.sqrt(2 * np.log(2))
    angles = np.pi / 3 * np.arange(6)
    # exact for polynomials up to the fifth order: weights 1/2 and 1/12, radius 2 sigma
    ring = np.column_stack([2 * sigma * np.cos(angles), 2 * sigma * np.sin(angles)])
    return np.vstack([[0, 0, 0.5], np.column_stack([ring, np.full(6, 1 / 12)])])


def scatter_positions(scan: GoldScan, row: int, columns: slice = slice(None)) -> Scattered:
    """What the positions of a scan row scatter.

    Parameters
    ----------
    scan : GoldScan
    row : int
        x of the positions.
    columns : slice
        Their y; all by default.

    Returns
    -------
    Scattered
    """
    settings, specimen, tables = scan.settings, scan.specimen, scan.tables
    y = settings.step * np.arange(settings.scan_size)[columns]
    x = np.full_like(y, settings.step * row)
    probe = probe_columns(settings)
    reach = specimen.radii + np.abs(probe[:, :2]).max()
    near = np.flatnonzero(np.abs(specimen.centres[:, 0] - settings.step * row) < reach)
    sphere = (
        specimen.centres,
        specimen.radii,
        specimen.cell_offsets,
        specimen.cell_domain,
        specimen.cell_planes,
    )
    beams = (
        tables.beam_offsets,
        tables.qx,
        tables.qy,
        tables.thickness_offsets,
        tables.direct,
        tables.table_offsets,
        tables.intensity,
    )
    found = mix_positions(
        np.column_stack([x, y]),
        probe,
        near,
        sphere,
        beams,
        settings.thickness_step,
        settings.diffuse_length,
        SPOT_FLOOR,
    )
    return Scattered(*found)


class FramePainter:
    """Makes any of a scan's frames, the same whoever asks for it and when.

    Parameters
    ----------
    scan : GoldScan
    """

    def __init__(self, scan: GoldScan) -> None:
        self.scan = scan
        settings, microscope = scan.settings, scan.microscope
        self._templates = disk_templates(settings, microscope)
        self._profiles = background_profiles(settings, microscope)
        self._inverse = np.linalg.inv(microscope.matrix)
        n = settings.scan_size**2
        rng = np.random.default_rng([settings.seed, 2])
        state = np.full(n, rng.integers(0, 2**64, dtype=np.uint64))
        self._states = mix_keys(state, np.arange(n, dtype=np.uint64)).reshape(
            settings.scan_size, -1
        )

    def frames(self, row: int, columns: slice = slice(None)) -> np.ndarray:
        """Frames of one scan row.

        Parameters
        ----------
        row : int
            x of the positions.
        columns : slice
            Their y; all by default.

        Returns
        -------
        ndarray of uint16, shape (n, frame_size, frame_size)
            Counted electrons.
        """
        settings, microscope = self.scan.settings, self.scan.microscope
        found = scatter_positions(self.scan, row, columns)
        # the film lies behind the particles, and scatters whatever arrives
        passed = settings.electrons * (1 - settings.carbon)
        carbon = np.full_like(found.diffuse, settings.electrons * settings.carbon)
        out = np.empty((len(carbon), settings.frame_size, settings.frame_size), np.uint16)
        paint_frames(
            out,
            self._states[row, columns],
            np.ascontiguousarray(microscope.centres[row, columns]),
            microscope.matrix,
            self._inverse,
            (found.spot_offsets, found.qx, found.qy, passed * found.intensity),
            passed * found.direct,
            np.column_stack([carbon, passed * found.diffuse]),
            self._profiles,
            BACKGROUND_SPACING,
            *self._templates,
            microscope.hot,
            microscope.hot_counts,
        )
        return out


def iterate_frames(scan: GoldScan, width: int, jobs: int = 1) -> Iterator[np.ndarray]:
    """Frames of a scan, row by row, in pieces of a row.

    Parameters
    ----------
    scan : GoldScan
    width : int
        Positions a piece; the last one of a row may have fewer.
    jobs : int
        Threads; they change no number. As many pieces are in memory, and one more.

    Yields
    ------
    ndarray of uint16, shape (positions, frame_size, frame_size)
    """
    painter, n = FramePainter(scan), scan.settings.scan_size
    pieces = [(row, slice(y, y + width)) for row in range(n) for y in range(0, n, width)]
    with ThreadPoolExecutor(jobs) as pool:
        waiting = [pool.submit(painter.frames, *piece) for piece in pieces[: jobs + 1]]
        for following in range(jobs + 1, len(pieces) + jobs + 1):
            yield waiting.pop(0).result()
            if following < len(pieces):
                waiting.append(pool.submit(painter.frames, *pieces[following]))


def compute_gold_bragg_lists(scan: GoldScan) -> BraggLists:
    """Bragg lists of a scan without its frames, as if disks had been found and calibrated well.

    Spots closer than a disk's radius to a stronger one become part of it, those below
    ``min_electrons`` or beyond half the frame's width are lost, and the others are counted and
    shifted by ``position_noise``. They are in the scan's axes, without distortion or shift.

    Parameters
    ----------
    scan : GoldScan

    Returns
    -------
    BraggLists
        Without the direct beam; intensities in electrons.

    Raises
    ------
    UserError
        No spot is strong enough.
    """
    settings = scan.settings
    rng = np.random.default_rng([settings.seed, 3])
    parts: list[tuple[np.ndarray, ...]] = []
    limit = settings.pixel_size * settings.frame_size / 2
    for row in range(settings.scan_size):
        found = scatter_positions(scan, row)
        spots = found.qx, found.qy, found.intensity, found.spot_offsets
        qx, qy, intensity, offsets = merge_spots(*spots, settings.disk_radius)
        y = np.repeat(np.arange(settings.scan_size), np.diff(offsets))
        expected = settings.electrons * (1 - settings.carbon) * intensity
        kept = (expected >= settings.min_electrons) & (np.hypot(qx, qy) < limit)
        counts = rng.poisson(expected[kept])
        noise = rng.normal(0, settings.position_noise, (2, len(counts)))
        parts.append(
            (np.full(len(counts), row), y[kept], qx[kept] + noise[0], qy[kept] + noise[1], counts)
        )
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    if not columns[-1].any():
        raise UserError("min_electrons: no spot is that strong; expected less, or a higher dose")
    return build_bragg_lists(*columns, shape=(settings.scan_size,) * 2)
