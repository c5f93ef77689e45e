"""Where numbers come from: the protocol of a run, and the versions that it was made with."""

from __future__ import annotations

import os
import platform
from importlib import metadata

import pandas as pd

from ediff_utils.bloch.dataset.manifest import read_settings as read_simulation_settings
from ediff_utils.core.paths import Run
from ediff_utils.core.settings import ForestSettings
from ediff_utils.paper.feature_files import read_settings as read_feature_settings
from ediff_utils.paper.models import read_about

PACKAGES = (
    "ediff-utils",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "numba",
    "scikit-learn",
    "skops",
    "pymatgen",
    "spglib",
    "py4dstem",
    "matplotlib",
)
_ZONE_AXES = {
    "grid": "fixed grid over the fundamental sector of the Laue group, corners included",
    "random": "uniformly random",
}
_ROTATION = {"grid": "fixed to the lattice", "random": "uniformly random"}


def compute_environment() -> dict[str, object]:
    """Return the versions of Python and of the packages that results depend on."""
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "packages": versions,
    }


#: What may be taken off table 1.
_OF_FORESTS = (
    "max_features",
    "max_samples",
    "min_samples_leaf",
    "lattice_features",
    "lattice_samples",
    "lattice_leaf",
    "coarse_features",
    "tree_fraction",
    "include_triclinic",
)


def describe_run(
    run: Run, crystals: pd.DataFrame, split: pd.DataFrame, settings: ForestSettings
) -> dict[str, object]:
    """Describe a run by what its stages wrote down of themselves.

    Parameters
    ----------
    run : Run
        Its patterns, features and models say how they were made.
    crystals, split : DataFrame
    settings : ForestSettings
        ``patterns_per_prediction``.

    Returns
    -------
    dict
        See :func:`describe_protocol`; ``forests`` says what was taken off table 1.

    Raises
    ------
    UserError
        A stage has not been run.
    """
    simulation = read_simulation_settings(run.patterns)
    features = read_feature_settings(run.features)
    trained = read_about(run.models)["settings"]
    protocol = describe_protocol(
        crystals,
        orientations=simulation.orientations,
        zone_axes=_ZONE_AXES[simulation.sampling],
        in_plane_rotation=_ROTATION[simulation.sampling],
        thickness=features.thickness or simulation.thickness_range or simulation.thicknesses,
        split_by=trained["split_by"],
        test_size=trained["test_size"],
        patterns_per_prediction=settings.patterns_per_prediction,
        n_train=int((split["part"] == "train").sum()),
        n_test=int((split["part"] == "test").sum()),
    )
    return protocol | {
        "scattering": simulation.scattering,
        "normalisation": features.normalisation,
        "forests": {name: trained[name] for name in _OF_FORESTS if name in trained},
    }


def describe_protocol(
    crystals: pd.DataFrame,
    *,
    orientations: int,
    zone_axes: str,
    in_plane_rotation: str,
    thickness: float | tuple[float, ...],
    split_by: str,
    test_size: float,
    patterns_per_prediction: int,
    n_train: int,
    n_test: int,
) -> dict[str, object]:
    """Describe what was simulated and predicted: the part ``protocol`` of ``results.json``.

    Parameters
    ----------
    crystals : DataFrame
        The crystals' table: columns ``source`` and ``crystal_system`` are counted.
    orientations : int
        Patterns a crystal.
    zone_axes : str
        How the zone axes were chosen.
    in_plane_rotation : str
        How the patterns are turned about the beam.
    thickness : float or tuple of float
        [angstrom]; two numbers of a range, where it was drawn
    split_by : str
        What is kept together when train and test are split.
    test_size : float
        Fraction of the materials.
    patterns_per_prediction : int
        Patterns aggregated in one prediction.
    n_train, n_test : int
        Numbers of materials.
    """
    return {
        "crystals": {
            "n": len(crystals),
            "by_source": crystals["source"].value_counts().sort_index().to_dict(),
            "by_system": crystals["crystal_system"].value_counts().sort_index().to_dict(),
        },
        "orientations": orientations,
        "zone_axes": zone_axes,
        "in_plane_rotation": in_plane_rotation,
        "thickness_angstrom": thickness,
        "split": {
            "by": split_by,
            "test_size": test_size,
            "train_materials": n_train,
            "test_materials": n_test,
        },
        "patterns_per_prediction": patterns_per_prediction,
    }
