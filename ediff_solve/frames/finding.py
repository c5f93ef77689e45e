"""From files of frames to a list of spots in one call, as ``ediff spots`` makes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ediff_solve.frames.bragg import LIST_ENDINGS, read_bragg_lists
from ediff_solve.frames.counting.centre import Gap
from ediff_solve.frames.counting.detection import SpotSettings
from ediff_solve.frames.counting.series import SeriesSpots, find_spots
from ediff_solve.frames.lists.reading import holds_spots, read_spot_list
from ediff_solve.frames.pictures import Series, open_series
from ediff_solve.frames.powder import read_calibration
from ediff_solve.frames.spot_lists import (
    SpotList,
    build_spot_list,
    correct_ellipse,
    format_found,
    read_known,
)
from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import check
from ediff_utils.paper.scan.bragg import BraggLists


@dataclass(frozen=True)
class FoundInFiles:
    """What :func:`find_in_files` read and found, and lines about it."""

    series: Series
    found: SeriesSpots
    spots: SpotList | None
    text: str


def read_lists(
    files: Sequence[str | Path], pixel_size: float | None = None, node: str | None = None
) -> SpotList | None:
    """Read a list of spots, where the one file named is one; None of frames.

    See :func:`ediff_solve.frames.lists.reading.read_spot_list`; lists of py4DSTEM are read
    calibrated or, with a pixel size, as they were found. ``node`` names one of several.
    """
    if len(files) != 1:
        return None
    path = Path(files[0])
    if path.suffix.lower() in (".h5", ".hdf5") and path.is_file():
        from ediff_solve.frames.emd import holds_lists, read_raw_emd

        if not holds_lists(path):
            return None
        if pixel_size is not None:
            return read_raw_emd(path, node, pixel_size)
        return _from_bragg_lists(path, read_bragg_lists(path, node=node, direct_beam_radius=-1))
    if path.suffix.lower() in LIST_ENDINGS:
        lists = read_bragg_lists(path, node=node, direct_beam_radius=-1)
        return _from_bragg_lists(path, lists, "table of Bragg lists")
    return read_spot_list(path, pixel_size) if holds_spots(path) else None


def _from_bragg_lists(
    path: Path, lists: BraggLists, what: str = "Bragg lists of py4DSTEM, calibrated"
) -> SpotList:
    frame = np.repeat(lists.x * lists.shape[1] + lists.y, lists.n_spots)
    nx, ny = lists.shape
    source = (
        f"{path}: {what}, {len(frame)} spots, {nx} x {ny} positions, "
        "in 1/angstrom from the direct beam"
    )
    known = {"scan_shape": [nx, ny], "frames": nx * ny}
    return SpotList(frame, lists.qx, lists.qy, lists.intensity, source, known=known)


def find_energy(path: Path) -> float | None:
    """Energy of the beam that a list of spots tells [eV]; None where it does not.

    Parquet of ``ediff spots``, and the lists of :func:`read_lists` of DIALS, XDS, PETS2 and Jana.
    """
    if not path.is_file():
        return None
    if path.suffix.lower() == ".parquet":
        return read_known(path).get("energy")
    return read_spot_list(path).known.get("energy") if holds_spots(path) else None


@contextmanager
def recalibrated(path: Path, calibration: str | Path) -> Iterator[Path]:
    """Make a table of spots with another scale and ellipse, while it is needed.

    The table is one of ``ediff spots`` in Parquet, which knows its own scale; a UserError where it
    is not, or where an ellipse was put right before.
    """
    new = read_calibration(calibration)
    lists = read_bragg_lists(path, direct_beam_radius=-1)
    known = read_known(path) if path.suffix.lower() == ".parquet" else {}
    if "pixel_size" not in known or known.get("ellipticity"):
        raise UserError(
            f"{path}: calibration: expected a .parquet of 'ediff spots' without one, whose pixel "
            "size is known"
        )
    made = _from_bragg_lists(path, lists, "spots")
    u, v = made.qx / known["pixel_size"], made.qy / known["pixel_size"]
    qx, qy = (new.pixel_size * w for w in correct_ellipse(u, v, new.ellipticity, new.axis))
    with TemporaryDirectory() as folder:
        yield replace(made, qx=qx, qy=qy).write(Path(folder) / path.name)


def find_in_files(
    files: Sequence[str | Path],
    *,
    pixel_size: float | None = None,
    energy: float | None = None,
    false_alarms: float = 0.1,
    sigma: float | None = None,
    beam: tuple[float, float] | None = None,
    gap: float | None = None,
    alpha: tuple[float, float] | None = None,
    tilt_axis: float | None = None,
    calibration: str | Path | None = None,
    listed: bool = True,
) -> FoundInFiles:
    """Find the spots of frames that are no scan.

    Parameters
    ----------
    files : sequence of str or Path
        See :func:`ediff_solve.frames.pictures.open_series`.
    pixel_size, energy : float, optional
        Where the files lack them, or have them wrong [1/angstrom], [eV].
    false_alarms, sigma
        See :class:`ediff_solve.frames.counting.detection.SpotSettings`.
    beam : tuple of float, optional
        Row and column of the direct beam behind a beam stop, to within 20 pixels.
    gap : float, optional
        Rows and columns missing between the chips, in the middle of the frame; by default looked
        for. 0 for none.
    alpha : tuple of float, optional
        Goniometer angle of the first frame and step, where the files do not tell [degree].
    tilt_axis : float, optional
        Direction of the goniometer's axis, from qx towards qy [degree].
    calibration : str or Path, optional
        A file of ``ediff calibrate rings``: pixel size, unless one is given, and ellipse.
    listed : bool
        Whether the spots are wanted in reciprocal space: a pixel size must be known then.

    Returns
    -------
    FoundInFiles

    Raises
    ------
    UserError
        Files that cannot be read, or what :func:`ediff_solve.frames.counting.series.find_spots`
        and :func:`ediff_solve.frames.spot_lists.build_spot_list` say.
    """
    settings = check(SpotSettings, false_alarms=false_alarms, sigma=sigma)
    known = None if calibration is None else read_calibration(calibration)
    if known is not None:
        pixel_size = pixel_size or known.pixel_size
    series = open_series(files)
    if alpha is not None:
        start, step = alpha
        series = replace(series, alpha=start + step * np.arange(len(series.frames)))
    if listed and not (pixel_size or series.pixel_size):
        # What is asked for is said before anything takes long.
        raise UserError(
            f"{series.name}: pixel_size: the file has none in units that are known; give it in "
            "1/angstrom"
        )
    given = None
    if gap:
        height, width = series.frames.shape[1:]
        given = Gap((height - 1) / 2, (width - 1) / 2, gap, gap)
    try:
        found = find_spots(series.frames, settings, beam=beam, gap=given, look_for_gap=gap is None)
    except UserError as error:
        raise UserError(f"{series.name}: {error}") from None
    spots = None
    if listed or ((pixel_size or series.pixel_size) and len(found.empty) < len(found.frames)):
        ellipse = (known.ellipticity, known.axis) if known else (0.0, 0.0)
        spots = build_spot_list(
            series,
            found,
            pixel_size=pixel_size,
            ellipticity=ellipse[0],
            axis=ellipse[1],
            energy=energy,
            tilt_axis=tilt_axis,
        )
    return FoundInFiles(series, found, spots, format_found(series, found, spots))
