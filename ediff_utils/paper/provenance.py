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
    *("ediff-utils", "numpy", "scipy", "pandas", "pyarrow", "numba", "scikit-learn", "skops"),
    *("pymatgen", "spglib", "py4dstem", "matplotlib"),
)
_ZONE_AXES = {
    "grid": "fixed grid over the fundamental sector of the Laue group, corners included",
    "random": "uniformly random",
    "zone": "near [uvw] of indices up to 3, weight 1 / (u^2 + v^2 + w^2)",
}
_ROTATION = dict.fromkeys(("random", "zone"), "uniformly random") | {"grid": "fixed to the lattice"}


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


#: How forests may differ from table 1.
_OF_FORESTS = ("tree_fraction", "include_triclinic", "grower")


def describe_run(
    run: Run, crystals: pd.DataFrame, split: pd.DataFrame, settings: ForestSettings
) -> dict[str, object]:
    """Describe a run by what its stages wrote down of themselves: ``protocol`` of ``results.json``.

    ``settings`` has ``patterns_per_prediction``; ``forests`` says how they differ from table 1. A
    stage that has not been run is a UserError.
    """
    simulation = read_simulation_settings(run.patterns)
    features = read_feature_settings(run.features)
    trained = read_about(run.models)["settings"]
    return {
        "crystals": {
            "n": len(crystals),
            "by_source": crystals["source"].value_counts().sort_index().to_dict(),
            "by_system": crystals["crystal_system"].value_counts().sort_index().to_dict(),
        },
        "orientations": simulation.orientations,
        "zone_axes": _ZONE_AXES[simulation.sampling],
        "in_plane_rotation": _ROTATION[simulation.sampling],
        "thickness_angstrom": features.thickness
        or simulation.thickness_range
        or simulation.thicknesses,
        "split": {
            "by": trained["split_by"],
            "test_size": trained["test_size"],
            "train_materials": int((split["part"] == "train").sum()),
            "test_materials": int((split["part"] == "test").sum()),
        },
        "patterns_per_prediction": settings.patterns_per_prediction,
        "scattering": simulation.scattering,
        "normalisation": features.normalisation,
        "forests": {name: trained[name] for name in _OF_FORESTS if name in trained},
    }
