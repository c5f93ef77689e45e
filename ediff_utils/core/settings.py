"""Parameters of every stage, checked once, and the presets that fill them.

A preset is a flat YAML file under ``data/presets``; papermill hands its entries to the notebooks,
and each stage gets the ones it knows as one of the settings classes below.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ediff_utils.core.errors import UserError
from ediff_utils.core.paths import PRESETS, find_shipped


def _not_zero(value: int) -> int:
    if value == 0:
        raise ValueError("expected a number of processes, or -1 for one a core")
    return value


Jobs = Annotated[int, Field(ge=-1), AfterValidator(_not_zero)]


class Settings(BaseModel):
    """What all settings share: no unknown fields, no changes, no infinities."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CrystalSettings(Settings):
    """Which crystals: see :mod:`ediff_utils.crystals.sources`."""

    crystals: str = Field("embedded", min_length=1)
    max_crystals: int = Field(2000, ge=1)
    max_volume: float = Field(1000.0, gt=0, description="primitive cell [cubic angstrom]")
    symprec: float = Field(0.1, gt=0, description="spglib tolerance [angstrom]")
    seed: int = Field(0, ge=0)


class SimulationSettings(Settings):
    """What is simulated: see :mod:`ediff_utils.bloch.simulation` and
    :mod:`ediff_utils.bloch.dataset.reading`.
    """

    sampling: Literal["grid", "random", "zone"] = Field(
        "grid", description="how orientations are chosen"
    )
    orientations: int = Field(15, ge=1, le=10000, description="patterns a crystal")
    tilt: float = Field(
        0.0, ge=0, le=30, description="off the grid's zone axes; zone: the largest [degree]"
    )
    thicknesses: tuple[float, ...] = Field((200.0,), min_length=1, description="[angstrom]")
    thickness_range: tuple[float, float] | None = Field(
        None, description="each pattern's thickness drawn from it, instead of those [angstrom]"
    )
    energy: float = Field(300e3, ge=1e3, le=2e6, description="beam energy [eV]")
    q_max: float = Field(2.0, gt=0, le=4, description="[1/angstrom]")
    excitation_error_max: float = Field(0.06, gt=0, le=1, description="[1/angstrom]")
    scattering: Literal["lobato", "lobato-absorptive"] = "lobato"
    precession: float = Field(0.0, ge=0, le=100, description="semi-angle [mrad]; 0: none")
    precession_steps: int = Field(64, ge=3, le=10000, description="azimuths of the cone")
    intensity_floor: float = Field(1e-5, ge=0, lt=1, description="fraction of the incident beam")
    jobs: Jobs = Field(-1, description="worker processes, -1 for one a core")
    cluster: str = Field("", description="a Dask scheduler's address, to work there instead")
    seed: int = Field(0, ge=0)

    def model_post_init(self, _context: object) -> None:
        """Check what a field alone cannot."""
        # A preset is of all kinds of settings at once.
        super().model_post_init(_context)
        if any(not 0 < t <= 1e5 for t in self.thicknesses):
            raise UserError("thicknesses: expected values above 0 and up to 100000 angstrom")
        low, high = self.thickness_range or (1, 1)
        if not 0 < low <= high <= 1e5:
            raise UserError(
                "thickness_range: expected two rising values above 0 and up to 100000 angstrom"
            )


class FeatureSettings(Settings):
    """How a pattern becomes a vector: see :mod:`ediff_utils.paper.features`."""

    thickness: float | None = Field(
        200.0, gt=0, description="which of the simulated ones [angstrom]; None: all"
    )
    normalisation: Literal["scattered", "incident"] = "scattered"
    round_off: Literal["zero", "kept"] = Field(
        "zero", description="the argument of a coefficient that is nothing else"
    )
    position_noise: float = Field(
        0.0, ge=0, description="standard deviation along qx and along qy [1/angstrom]"
    )
    precision: Literal["float32", "float16"] = Field("float32", description="of the file")


class ForestSettings(Settings):
    """The 13 forests: see :mod:`ediff_utils.paper.models`. Defaults are the paper's table 1."""

    tree_fraction: float = Field(1.0, gt=0, le=1, description="of the number of trees of table 1")
    grower: Literal["own", "scikit-learn"] = Field(
        "own", description="of the trees; scikit-learn's is the reference, for few patterns"
    )
    include_triclinic: bool = Field(False, description="triclinic as a seventh class")
    test_size: float = Field(0.25, gt=0, lt=1, description="fraction of the materials")
    split_by: Literal["material", "prototype"] = "material"
    patterns_per_prediction: int = Field(10, ge=1)
    jobs: Jobs = -1
    cluster: str = Field("", description="a Dask scheduler's address, to grow trees there instead")
    seed: int = Field(0, ge=0)


class ProtocolSettings(Settings):
    """Patterns at random orientations: see :mod:`ediff_solve.forests.protocols`."""

    random_crystals: int = Field(0, ge=0, description="drawn at random; 0: all")
    random_orientations: int = Field(10, ge=1, le=10000, description="patterns a crystal")
    protocol_trees: float = Field(
        1.0, gt=0, le=1, description="share of the system forest's trees that is compared"
    )
    ablation_crystals: int = Field(0, ge=0, description="of the table of vectors; 0: all")
    ablation_trees: float = Field(1.0, gt=0, le=1, description="as protocol_trees, there")


class ScanSettings(Settings):
    """The scan: see :mod:`ediff_solve.scans.intake` and :mod:`ediff_utils.paper.scan.maps`."""

    models_run: str = Field("", description="run whose models are used; empty for the run itself")
    predictor: str = Field("default", description="name or folder of a predictor")
    scan_file: str = Field("", description="a user's own frames; empty for the simulated scan")
    bragg_file: str = Field("", description="a user's own Bragg lists, instead of frames")
    node: str = Field("", description="which of several in an EMD file")
    scan_shape: tuple[int, int] | None = Field(
        None, description="probe positions along x and y, where frames are a mere stack"
    )
    signal_axes: tuple[int, int] | None = Field(
        None, description="the detector's axes, where the file does not tell them"
    )
    energy: float = Field(300e3, ge=1e3, le=2e6, description="beam energy [eV]")
    pixel_size: float | None = Field(
        None, gt=0, description="of the detector [1/angstrom]; None: the file's"
    )
    ring_spacing: float | None = Field(
        None, gt=0, description="of a ring that the sample has [angstrom]; None: no ring is known"
    )
    ring_window: tuple[float, float] | None = Field(
        None, description="radii that it lies between [pixel]; None: about where pixel_size has it"
    )
    detector_rotation: float = Field(
        0.0, ge=-360, le=360, description="against the scan, from x towards y [degree]"
    )
    disk_radius: float | None = Field(
        None, gt=0, le=30, description="of the Bragg disks [pixel]; None: measured"
    )
    scan_size: int = Field(64, ge=2, le=4096, description="simulated probe positions each way")
    frame_size: int = Field(192, ge=16, le=4096, description="simulated detector pixels each way")
    step: float = Field(21.0, gt=0, description="distance of probe positions [angstrom]")
    min_spots: int = Field(5, ge=1)
    median_size: int = Field(5, ge=1)
    min_confidence: float = Field(0.005, ge=0, le=1)
    jobs: Jobs = -1
    seed: int = Field(0, ge=0)

    def model_post_init(self, _context: object) -> None:
        """Check what a field alone cannot."""
        if self.scan_file and self.bragg_file:
            raise UserError("scan_file, bragg_file: expected one of them, frames or Bragg lists")


class UnknownSettings(Settings):
    """Spots of an unknown crystal: see :mod:`ediff_solve.predictor`."""

    spots_file: str = Field("", description="a user's own spots; empty for the example that ships")
    predictor: str = Field("default", min_length=1, description="name or folder of a predictor")
    energy: float = Field(300e3, ge=1e3, le=2e6, description="beam energy [eV]")
    elements: str = Field("", description="those present, such as Si,O; empty: not known")
    draws: int = Field(10, ge=1, le=10000, description="random draws of each number of patterns")
    seed: int = Field(0, ge=0)


class Preset(
    CrystalSettings,
    SimulationSettings,
    FeatureSettings,
    ForestSettings,
    ProtocolSettings,
    ScanSettings,
    UnknownSettings,
):
    """Every parameter of the pipeline, as a preset file sets them."""


S = TypeVar("S", bound=Settings)


def _one_line(error: ValidationError, where: str) -> UserError:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or "settings"
    if first["type"] == "extra_forbidden":
        return UserError(f"{where}{field}: not a parameter; remove it or check its spelling")
    return UserError(f"{where}{field}: {first['msg']}, got {first['input']!r}")


def check(kind: type[S], *, where: str = "", **values: object) -> S:
    """Build a settings object; a UserError where a value does not fit or is not a parameter.

    ``where``, as a rule the file, stands before the field's name in the message.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        raise _one_line(error, where) from None
    except UserError as error:
        raise UserError(f"{where}{error}") from None


def read_yaml(text: str, where: str) -> Any:
    """What YAML says; a UserError, which begins with ``where``, for what no parameter can be."""
    try:
        values = yaml.safe_load(text)
        # Neither in itself, nor deeper or longer than anything that is meant.
        json.dumps(values, default=str)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        detail = str(error).split("\n")[0]
        raise UserError(f"{where}: not a YAML file or value: {detail}") from None
    return values


def load_preset(name_or_path: str | Path) -> dict[str, object]:
    """Entries of a preset, checked: of a name under ``data/presets``, or of any YAML file.

    What it leaves out keeps the notebooks' defaults. A UserError where there is no such preset, it
    is no YAML mapping, or an entry does not fit.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yml", ".yaml"):
        path = find_shipped(f"data/presets/{name_or_path}.yml")
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in PRESETS.glob("*.yml")))
        raise UserError(f"{path}: no such preset; expected one of {known}, or a YAML file")
    try:
        text = path.read_text(encoding="utf-8")
    except ValueError as error:
        raise UserError(f"{path}: not a YAML file: {error}") from None
    values = read_yaml(text, str(path))
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UserError(f"{path}: expected lines of the form 'parameter: value'")
    check(Preset, where=f"{path}: ", **values)
    return values
