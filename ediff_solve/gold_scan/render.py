"""A simulated scan put together: what each position scatters, and its frames."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ediff_solve.detector.kernels.effects import mix_keys
from ediff_solve.gold_scan import microscope as optics
from ediff_solve.gold_scan.kernels.columns import mix_positions
from ediff_solve.gold_scan.kernels.frames import paint_frames
from ediff_solve.gold_scan.settings import GoldScanSettings
from ediff_solve.gold_scan.specimen import Specimen, build_specimen
from ediff_solve.gold_scan.tables import IntensityTables, compute_tables
from ediff_utils.bloch.scattering import wavelength

#: Spots below this are not painted [fraction of the incident beam]: a fraction of an electron.
SPOT_FLOOR = 1e-7


@dataclass(frozen=True)
class GoldScan:
    """All that frames and truth are computed from; made by :func:`prepare_gold_scan`."""

    settings: GoldScanSettings
    specimen: Specimen
    tables: IntensityTables
    microscope: optics.Microscope


@dataclass(frozen=True)
class Scattered:
    """What n positions scatter, one after another, in fractions of the beam before the film."""

    direct: np.ndarray  # (n,)
    diffuse: np.ndarray  # (n,)
    domain_offsets: np.ndarray  # (n + 1,)
    domain: np.ndarray  # (met,), the domains at each position, from 0
    scattered: np.ndarray  # (met,), what each sends into spots
    thickness: np.ndarray  # (met,), mean over the probe [angstrom]
    spot_offsets: np.ndarray  # (n + 1,)
    qx: np.ndarray  # (spots,), in the scan's axes, undistorted [1/angstrom]
    qy: np.ndarray
    intensity: np.ndarray  # (spots,)


def prepare_gold_scan(settings: GoldScanSettings) -> GoldScan:
    """Draw specimen and microscope, and simulate every domain; a UserError if it does not fit."""
    specimen = build_specimen(settings)
    tables = compute_tables(specimen, settings)
    return GoldScan(settings, specimen, tables, optics.draw_microscope(settings))


def _probe_columns(settings: GoldScanSettings) -> np.ndarray:
    """Columns that stand for the probe: x and y from the position [angstrom], and weights.

    A probe without aberrations is an Airy disk, whose intensity falls to a half at 0.257 lambda /
    alpha from its centre (Born and Wolf, section 8.5); here it is a Gaussian of that half width, by
    seven columns that have its mean square radius.
    """
    half_width = 0.257 * wavelength(settings.energy) / (settings.convergence / 1e3)
    sigma = half_width / np.sqrt(2 * np.log(2))
    angles = np.pi / 3 * np.arange(6)
    # exact for polynomials up to the fifth order: weights 1/2 and 1/12, radius 2 sigma
    ring = np.column_stack([2 * sigma * np.cos(angles), 2 * sigma * np.sin(angles)])
    return np.vstack([[0, 0, 0.5], np.column_stack([ring, np.full(6, 1 / 12)])])


def scatter_positions(scan: GoldScan, row: int, columns: slice = slice(None)) -> Scattered:
    """What positions of a scan row scatter: ``row`` is their x, and ``columns`` their y."""
    settings, s = scan.settings, scan.specimen
    y = settings.step * np.arange(settings.scan_size)[columns]
    x = np.full_like(y, settings.step * row)
    probe = _probe_columns(settings)
    reach = s.radii + np.abs(probe[:, :2]).max()
    near = np.flatnonzero(np.abs(s.centres[:, 0] - settings.step * row) < reach)
    place = np.column_stack([x, y])
    sphere = (s.centres, s.radii, s.cell_offsets, s.cell_domain, s.cell_planes)
    lengths = settings.thickness_step, settings.diffuse_length
    found = mix_positions(place, probe, near, sphere, tuple(scan.tables), *lengths, SPOT_FLOOR)
    return Scattered(*found)


class FramePainter:
    """Makes any of a scan's frames, the same whoever asks for it and when."""

    def __init__(self, scan: GoldScan) -> None:
        self.scan = scan
        settings = scan.settings
        self._templates = optics.disk_templates(settings, scan.microscope)
        self._profiles = optics.background_profiles(settings, scan.microscope)
        n = settings.scan_size**2
        rng = np.random.default_rng([settings.seed, 2])
        state = np.full(n, rng.integers(0, 2**64, dtype=np.uint64))
        states = mix_keys(state, np.arange(n, dtype=np.uint64))
        self._states = states.reshape(settings.scan_size, -1)

    def frames(self, row: int, columns: slice = slice(None)) -> np.ndarray:
        """Counted electrons of positions of a scan row; uint16, (n, frame_size, frame_size)."""
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
            np.linalg.inv(microscope.matrix),
            (found.spot_offsets, found.qx, found.qy, passed * found.intensity),
            passed * found.direct,
            np.column_stack([carbon, passed * found.diffuse]),
            self._profiles,
            optics.BACKGROUND_SPACING,
            *self._templates,
            microscope.hot,
            microscope.hot_counts,
        )
        return out


def iterate_frames(scan: GoldScan, width: int, jobs: int = 1) -> Iterator[np.ndarray]:
    """Frames of a scan, row by row, in pieces of up to ``width`` positions of a row.

    So many threads change no number. As many pieces are in memory, and one more; each is uint16,
    shape (positions, frame_size, frame_size).
    """
    painter, n = FramePainter(scan), scan.settings.scan_size
    pieces = [(row, slice(y, y + width)) for row in range(n) for y in range(0, n, width)]
    with ThreadPoolExecutor(jobs) as pool:
        waiting = [pool.submit(painter.frames, *piece) for piece in pieces[: jobs + 1]]
        for following in range(jobs + 1, len(pieces) + jobs + 1):
            yield waiting.pop(0).result()
            if following < len(pieces):
                waiting.append(pool.submit(painter.frames, *pieces[following]))
