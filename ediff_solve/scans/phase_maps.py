"""Phases and orientations of a scan as maps, as colours, and in the files of orix.

Of a position the grain that explains most counts. An orientation of orix turns vectors of the map's
frame, x right, y down, z along the beam, into the frame of the crystal: e1 along a, e3 along c*.
Monoclinic cells have their unique axis along c there, as orix's point group 2/m has.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ediff_solve.lattice.bravais import BravaisLattice, cell_parameters
from ediff_solve.phases.assigning import MOST_GRAINS, ROTATION
from ediff_solve.phases.scan import ScanPhases
from ediff_solve.scans.files import (
    NOT_INDEXED,
    UNITS,
    CrystalMap,
    Phase,
    PhaseList,
    Rotation,
    save_map,
)
from ediff_utils.crystals.groups import HOLOHEDRIES

#: A map's x, y and z by the pattern's: x of the pattern runs along rows, downwards.
_TO_PATTERN = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
#: Directions of a colour key along each of two axes.
_KEY_POINTS = 161


@dataclass(frozen=True)
class PhaseMaps:
    """A scan's phases as pictures.

    Parameters
    ----------
    phase : ndarray of int, shape (3, nx, ny)
        Phase of the grain that explains most, of the second and of the third; -1 for none.
    rotations : ndarray, shape (nx, ny, 3, 3)
        Of the first grain, R with v_crystal = R v_map; NaN for none.
    colours : ndarray, shape (nx, ny, 3)
        Direction of the beam in the crystal (inverse pole figure, TSL's colours); NaN for none.
    """

    phase: np.ndarray
    rotations: np.ndarray
    colours: np.ndarray


@dataclass(frozen=True)
class ColourKey:
    """Directions of a crystal and their colours.

    Parameters
    ----------
    places : ndarray, shape (n, 2)
        Stereographic projection.
    colours : ndarray, shape (n, 3)
    point_group : str
    """

    places: np.ndarray
    colours: np.ndarray
    point_group: str


def orix_cell(lattice: BravaisLattice) -> np.ndarray:
    """Conventional cell, rows a, b, c [angstrom]; of monoclinic lattices with c unique."""
    cell = lattice.conventional
    cell = cell[[2, 0, 1]] if lattice.system == "monoclinic" else cell
    return cell if np.linalg.det(cell) > 0 else -cell


def _crystal_frame(lattice: BravaisLattice) -> np.ndarray:
    """Rows e1 along a, e2, e3 along c*."""
    cell = orix_cell(lattice)
    first = cell[0] / np.linalg.norm(cell[0])
    third = np.cross(cell[0], cell[1])
    third /= np.linalg.norm(third)
    return np.array([first, np.cross(third, first), third])


def compute_phase_maps(found: ScanPhases) -> PhaseMaps:
    """Maps of phase and orientation."""
    shape = found.lists.shape
    phase = np.full((MOST_GRAINS, *shape), NOT_INDEXED)
    rotations = np.full((*shape, 3, 3), np.nan)
    colours = np.full((*shape, 3), np.nan)
    table = found.positions
    own = table["position"].to_numpy(int)
    x, y = found.lists.x[own], found.lists.y[own]
    phase[table["layer"].to_numpy(int), x, y] = table["phase"].to_numpy(int)
    for n, one in enumerate(found.discovered.phases):
        first = ((table["layer"] == 0) & (table["phase"] == n)).to_numpy()
        if not first.any():
            continue
        matrices = table.loc[first, ROTATION].to_numpy(float).reshape(-1, 3, 3)
        turned = _crystal_frame(one.bravais) @ matrices @ _TO_PATTERN
        rotations[x[first], y[first]] = turned
        # The beam runs along z of the map; a direction and its opposite are one.
        colours[x[first], y[first]] = _colour(turned[:, :, 2], one.bravais.system)
    return PhaseMaps(phase, rotations, colours)


def _colour(directions: np.ndarray, system: str) -> np.ndarray:
    """TSL's colours of directions in the crystal's frame; shape (n, 3)."""
    from orix.plot import DirectionColorKeyTSL
    from orix.vector import Vector3d

    key = DirectionColorKeyTSL(_symmetry(system))
    return np.asarray(key.direction2color(Vector3d(directions))).reshape(-1, 3)


def _symmetry(system: str):  # type: ignore[no-untyped-def]
    return Phase(point_group=HOLOHEDRIES[system]).point_group


def compute_colour_key(system: str) -> ColourKey:
    """Colours of all directions that a crystal system tells apart."""
    from orix.vector import Vector3d

    axis = np.linspace(-1, 1, _KEY_POINTS)
    places = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    square = (places**2).sum(axis=1)
    places, square = places[square <= 1], square[square <= 1]
    scale = 2 / (1 + square)
    directions = np.column_stack([places * scale[:, None], (1 - square) / (1 + square)])
    inside = Vector3d(directions) <= _symmetry(system).fundamental_sector
    return ColourKey(places[inside], _colour(directions[inside], system), HOLOHEDRIES[system])


def to_phase_map(found: ScanPhases, maps: PhaseMaps, step: float, unit: str = "nm") -> CrystalMap:
    """A ``CrystalMap`` of orix with real phases and rotations.

    Parameters
    ----------
    found : ScanPhases
    maps : PhaseMaps
        Of :func:`compute_phase_maps`.
    step : float
        Distance of probe positions [angstrom].
    unit : {"nm", "um"}
        Of the map's coordinates.

    Returns
    -------
    CrystalMap
        Phases count from 1, id -1 where nothing is told; ``prop`` has gain, and phase_2 and
        phase_3, the phases of the further grains, 0 for none.
    """
    from diffpy.structure import Lattice, Structure

    phases = []
    for n, one in enumerate(found.discovered.phases):
        cell = Lattice(*cell_parameters(orix_cell(one.bravais)))
        name = f"{one.bravais.symbol}-{n + 1}"
        group = HOLOHEDRIES[one.bravais.system]
        phases.append(Phase(name=name, point_group=group, structure=Structure(lattice=cell)))
    nx, ny = found.lists.shape
    x, y = (grid.ravel() for grid in np.indices((nx, ny)))
    matrices = maps.rotations.reshape(-1, 3, 3)
    none = np.isnan(matrices[:, 0, 0])
    gain = np.zeros((nx, ny))
    first = found.positions[found.positions["layer"] == 0]
    own = first["position"].to_numpy(int)
    gain[found.lists.x[own], found.lists.y[own]] = first["gain"]
    further = {f"phase_{n + 1}": maps.phase[n].ravel() + 1 for n in range(1, MOST_GRAINS)}
    return CrystalMap(
        rotations=Rotation.from_matrix(np.where(none[:, None, None], np.eye(3), matrices)),
        phase_id=np.where(none, NOT_INDEXED, maps.phase[0].ravel() + 1),
        x=y * step * UNITS[unit],
        y=x * step * UNITS[unit],
        phase_list=PhaseList(phases, ids=list(range(1, len(phases) + 1))),
        prop={"gain": gain.ravel()} | further,
        scan_unit=unit,
    )


def write_phase_maps(
    found: ScanPhases, maps: PhaseMaps, folder: Path, name: str, step: float
) -> dict[str, Path]:
    """Write orix's HDF5 and .ang, each replaced in one step; none where no phase is told.

    Returns
    -------
    dict of str to Path
        "h5" and "ang".
    """
    files = {ending: Path(folder) / f"{name}.{ending}" for ending in ("h5", "ang")}
    if not found.discovered.phases or maps.phase[0].size < 4:
        for path in files.values():
            path.unlink(missing_ok=True)
        return {}
    kinds = [("h5", "nm", {}), ("ang", "um", {"confidence_index_prop": "gain"})]
    for ending, unit, options in kinds:
        save_map(to_phase_map(found, maps, step, unit), files[ending], **options)
    return files
