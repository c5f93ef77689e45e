"""Labels of the patterns, and the split of the materials, which all models share.

As "Random Forest Modeling" has it: a quarter of the materials, not of the patterns, is held out.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from ediff_utils.core.errors import UserError
from ediff_utils.core.settings import ForestSettings
from ediff_utils.paper.models import LATTICE


def make_split(crystals: pd.DataFrame, settings: ForestSettings) -> pd.DataFrame:
    """Divide the materials into training and test, once for all models.

    Parameters
    ----------
    crystals : DataFrame
        The crystals' table.
    settings : ForestSettings
        ``split_by`` "material": every material on its own, as the paper does. "prototype":
        isostructural materials stay on one side, which asks more of a model.

    Returns
    -------
    DataFrame
        ``material_id`` and ``part``, "train" or "test".

    Raises
    ------
    UserError
        Fewer than two materials (or prototypes) to divide.
    """
    groups = crystals["prototype" if settings.split_by == "prototype" else "material_id"]
    unique = groups.drop_duplicates().sort_values().to_numpy()
    if len(unique) < 2:
        raise UserError(f"crystals: expected at least two to divide into parts, got {len(unique)}")
    if np.ceil(settings.test_size * len(unique)) >= len(unique):
        raise UserError(
            f"test_size: {settings.test_size} of {len(unique)} materials leaves none to train on"
        )
    _, test = train_test_split(unique, test_size=settings.test_size, random_state=settings.seed)
    part = np.where(groups.isin(set(test)), "test", "train")
    return pd.DataFrame({"material_id": crystals["material_id"].to_numpy(), "part": part})


def label_patterns(
    index: pd.DataFrame, crystals: pd.DataFrame, split: pd.DataFrame
) -> pd.DataFrame:
    """Labels of every pattern of ``index``, by its ``material_id`` and ``pattern``, in its order.

    ``material_id, pattern, part, crystal_system, space_group, a, b, c``; a pattern of a material
    that the tables do not have is a UserError.
    """
    columns = ["material_id", "crystal_system", "space_group", *LATTICE]
    labels = index[["material_id", "pattern"]]
    labels = labels.merge(crystals[columns], on="material_id", how="left", validate="many_to_one")
    labels = labels.merge(split, on="material_id", how="left", validate="many_to_one")
    missing = labels["part"].isna() | labels["crystal_system"].isna()
    if missing.any():
        name = labels.loc[missing, "material_id"].iloc[0]
        raise UserError(f"features: material {name} is not in the tables of crystals and split")
    return labels
