"""The models stage: 13 random forests, crystal system first, then space group and lattice.

A class is the one that most trees vote for; a lattice is the median of the trees. Forests are kept
in skops files, which can be loaded without running code from them, beside a ``models.json`` that
says how they were made.
"""

from __future__ import annotations

import copy
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import joblib
import numpy as np
import sklearn
import skops.io
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from ediff_utils.crystal import ALL_SYSTEMS
from ediff_utils.errors import UserError
from ediff_utils.features import N_FEATURES
from ediff_utils.growing import TRUSTED
from ediff_utils.manifest import file_sha256
from ediff_utils.paths import atomic_write, require
from ediff_utils.progress import tqdm
from ediff_utils.settings import ForestSettings, check

Forest = RandomForestClassifier | RandomForestRegressor
LATTICE = ("a", "b", "c")
#: File that says how the forests of a folder were made; a folder that has it is complete.
ABOUT = "models.json"


@dataclass
class Hierarchy:
    """The forests, and how they are asked.

    Parameters
    ----------
    system_forest : RandomForestClassifier
    space_group : dict of str to RandomForestClassifier
        By crystal system.
    lattice : dict of str to RandomForestRegressor
        By crystal system; predicts (a, b, c) [angstrom].
    about : dict
        How they were made.
    """

    system_forest: RandomForestClassifier
    space_group: dict[str, RandomForestClassifier]
    lattice: dict[str, RandomForestRegressor]
    about: dict[str, object] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Crystal systems in the order of the votes' columns, highest symmetry first."""
        return tuple(s for s in ALL_SYSTEMS if s in self.system_forest.classes_)

    @property
    def n_trees(self) -> int:
        """Trees that vote on the crystal system."""
        return len(self.system_forest.estimators_)

    def systems_only(self, n_trees: int | None = None) -> Hierarchy:
        """The same crystal-system forest without the others.

        Parameters
        ----------
        n_trees : int, optional
            Its first trees alone.

        Raises
        ------
        UserError
            It has fewer.
        """
        forest = self.system_forest
        if n_trees is not None and n_trees != self.n_trees:
            if not 0 < n_trees < self.n_trees:
                raise UserError(f"trees: expected 1 to {self.n_trees}, got {n_trees}")
            forest = copy.copy(forest)
            forest.estimators_ = forest.estimators_[:n_trees]
            forest.n_estimators = n_trees
        return Hierarchy(forest, {}, {}, self.about)

    def system_votes(self, features: np.ndarray) -> np.ndarray:
        """Votes of the trees on the crystal system.

        Parameters
        ----------
        features : ndarray of float32, shape (n, 1066)

        Returns
        -------
        ndarray of int, shape (n, n_classes)
            Columns as in :attr:`classes`; every row sums to :attr:`n_trees`.
        """
        return self.system_answers(features)[0]

    def system_answers(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Votes of the trees on the crystal system, and the forest's probabilities.

        Parameters
        ----------
        features : ndarray of float32, shape (n, 1066)

        Returns
        -------
        votes : ndarray of int, shape (n, n_classes)
            As :meth:`system_votes`.
        probabilities : ndarray, shape (n, n_classes)
            Mean over the trees of the class fractions in the leaf that a pattern falls into.
        """
        votes, probabilities = tree_answers(self.system_forest, features)
        order = [list(self.system_forest.classes_).index(s) for s in self.classes]
        return votes[:, order], probabilities[:, order]

    def space_group_votes(self, features: np.ndarray, system: str) -> np.ndarray:
        """Votes of one system's trees on the space group, shape (n, n_groups)."""
        return tree_votes(self.space_group[system], features)

    def space_groups(self, system: str) -> np.ndarray:
        """Space group numbers in the order of the votes' columns."""
        return self.space_group[system].classes_

    def predict_space_group(
        self, features: np.ndarray, system: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """Space groups by the forest of one crystal system.

        Parameters
        ----------
        features : ndarray of float32, shape (n, 1066)
        system : str

        Returns
        -------
        number : ndarray of int, shape (n,)
        confidence : ndarray, shape (n,)
            (votes of the first - votes of the second) / trees.
        """
        votes = self.space_group_votes(features, system)
        return self.space_groups(system)[votes.argmax(axis=1)], difference_confidence(votes)

    def predict_lattice(self, features: np.ndarray, system: str) -> np.ndarray:
        """Lattice parameters by the forest of one crystal system.

        Parameters
        ----------
        features : ndarray of float32, shape (n, 1066)
        system : str

        Returns
        -------
        ndarray, shape (n, 3)
            Median over the trees of a, b, c [angstrom].
        """
        forest = self.lattice[system]
        features = _checked(features)
        out = np.empty((len(features), len(LATTICE)))
        # Blocks bound the memory: every tree answers for every pattern.
        for start in range(0, len(features), 10_000):
            part = features[start : start + 10_000]
            trees = joblib.Parallel(n_jobs=-1, prefer="threads")(
                joblib.delayed(tree.predict)(part, check_input=False) for tree in forest.estimators_
            )
            out[start : start + len(part)] = np.median(trees, axis=0)
        return out


def difference_confidence(votes: np.ndarray) -> np.ndarray:
    """(votes of the first - votes of the second) / all votes.

    Parameters
    ----------
    votes : ndarray, shape (..., n_classes)

    Returns
    -------
    ndarray, shape (...)
        Zero where there are no votes.
    """
    votes = np.asarray(votes, dtype=float)
    if votes.shape[-1] == 1:
        return np.where(votes[..., 0] > 0, 1.0, 0.0)
    first_two = np.sort(votes, axis=-1)[..., -2:]
    total = votes.sum(axis=-1)
    return (first_two[..., 1] - first_two[..., 0]) / np.where(total > 0, total, 1)


def _checked(features: np.ndarray) -> np.ndarray:
    features = np.ascontiguousarray(features, dtype=np.float32)
    if features.ndim != 2 or features.shape[1] != N_FEATURES:
        raise UserError(f"features: expected shape (n, {N_FEATURES}), got {features.shape}")
    if not np.all(np.isfinite(features)):
        raise UserError("features: expected finite numbers, found NaN or infinity")
    return features


def tree_votes(forest: RandomForestClassifier, features: np.ndarray) -> np.ndarray:
    """How many trees vote for each class.

    scikit-learn averages the leaves' class fractions; the paper counts trees.

    Parameters
    ----------
    forest : RandomForestClassifier
    features : ndarray of float32, shape (n, 1066)

    Returns
    -------
    ndarray of int32, shape (n, n_classes)
        Columns as in ``forest.classes_``.
    """
    return tree_answers(forest, features)[0]


def tree_answers(
    forest: RandomForestClassifier, features: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Votes as :func:`tree_votes` counts them, and scikit-learn's mean of the leaves.

    Parameters
    ----------
    forest : RandomForestClassifier
    features : ndarray of float32, shape (n, 1066)

    Returns
    -------
    votes : ndarray of int32, shape (n, n_classes)
    probabilities : ndarray of float32, shape (n, n_classes)
        As ``forest.predict_proba`` gives them.
    """
    features = _checked(features)
    shape = (len(features), len(forest.classes_))
    votes, probabilities = np.zeros(shape, np.int32), np.zeros(shape)
    answers = joblib.Parallel(n_jobs=-1, prefer="threads", return_as="generator")(
        joblib.delayed(_tree_answer)(tree, features) for tree in forest.estimators_
    )
    rows = np.arange(len(features))
    for choice, fractions in answers:
        votes[rows, choice] += 1
        probabilities += fractions
    return votes, (probabilities / len(forest.estimators_)).astype(np.float32)


def _tree_answer(tree: object, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    leaves = tree.tree_.apply(features)
    value = tree.tree_.value[:, 0, :]
    fractions = (value / value.sum(axis=1, keepdims=True)).astype(np.float32)
    return value.argmax(axis=1)[leaves], fractions[leaves]


def _files(hierarchy: Hierarchy) -> dict[str, Forest]:
    groups = {f"space_group-{s}": forest for s, forest in hierarchy.space_group.items()}
    lattices = {f"lattice-{s}": forest for s, forest in hierarchy.lattice.items()}
    return {"crystal_system": hierarchy.system_forest} | groups | lattices


def save_hierarchy(hierarchy: Hierarchy, folder: Path, *, progress: bool = True) -> None:
    """Write the forests, one skops file each, and ``models.json``.

    Parameters
    ----------
    hierarchy : Hierarchy
    folder : Path
    progress : bool
        Show a progress bar.

    Raises
    ------
    UserError
        The folder cannot be written to.
    """
    files = _files(hierarchy)
    for name, forest in tqdm(files.items(), desc="forests saved", disable=not progress):
        with atomic_write(folder / f"{name}.skops") as partial:
            skops.io.dump(forest, partial, compression=zipfile.ZIP_DEFLATED, compresslevel=1)
    digests = {name: file_sha256(folder / f"{name}.skops") for name in sorted(files)}
    # Written last: a folder that has it is complete.
    with atomic_write(folder / ABOUT) as partial:
        about = hierarchy.about | {"files": sorted(files), "sha256": digests}
        partial.write_text(json.dumps(about, indent=2) + "\n")


def read_about(folder: Path) -> dict:
    """Read how the models in a folder were made.

    Raises
    ------
    UserError
        No models there, or a file that is not theirs.
    """
    path = require(folder / ABOUT, "notebook 03")
    try:
        about = json.loads(path.read_text())
        complete = {"files", "sha256", "scikit_learn", "settings", "training"} <= set(about)
        complete = complete and "crystal_system" in list(about["files"])
        complete = complete and set(about["files"]) == set(dict(about["sha256"]))
    except (ValueError, TypeError):
        complete = False
    if not complete:
        raise UserError(f"{path}: not a list of models, as notebook 03 writes it")
    return about


def forest_settings(about: Mapping[str, object], **changes: object) -> ForestSettings:
    """Settings that models were trained with, some of them changed.

    Parameters
    ----------
    about : mapping
        Of the models.
    **changes

    Raises
    ------
    UserError
        A value that does not fit.
    """
    return check(ForestSettings, where="models.json: ", **{**about["settings"], **changes})


def load_hierarchy(folder: Path, *, only_system: bool = False, progress: bool = True) -> Hierarchy:
    """Read what :func:`save_hierarchy` wrote, without running any code from the files.

    Parameters
    ----------
    folder : Path
    only_system : bool
        Leave out the forests of space groups and lattices, which take most of the memory.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Hierarchy

    Raises
    ------
    UserError
        No models there, made by another version of scikit-learn, or a damaged or foreign file.
    """
    about = read_about(folder)
    version = about["scikit_learn"]
    if version != sklearn.__version__:
        raise UserError(
            f"{folder / ABOUT}: made with scikit-learn {version}, here is "
            f"{sklearn.__version__}; train again"
        )
    names = ["crystal_system"] if only_system else about["files"]
    forests = {
        name: _load_forest(folder / f"{name}.skops", about["sha256"][name])
        for name in tqdm(names, desc="forests loaded", disable=not progress)
    }
    return Hierarchy(
        forests["crystal_system"],
        _by_system(forests, "space_group"),
        _by_system(forests, "lattice"),
        about,
    )


def _by_system(forests: Mapping[str, Forest], kind: str) -> dict[str, Forest]:
    names: Sequence[str] = [n for n in forests if n.startswith(f"{kind}-")]
    return {name.removeprefix(f"{kind}-"): forests[name] for name in names}


def _load_forest(path: Path, digest: str) -> Forest:
    require(path, "notebook 03")
    if file_sha256(path) != digest:
        raise UserError(
            f"{path}: cannot be loaded as a forest: not the file that models.json lists, or "
            "damaged; train again"
        )
    try:
        forest = skops.io.load(path, trusted=list(TRUSTED))
    except Exception as error:
        # skops lets through whatever zipfile, json and numpy say of a damaged file.
        detail = str(error).split("\n")[0]
        raise UserError(f"{path}: cannot be loaded as a forest: {detail}") from None
    kind = RandomForestRegressor if path.name.startswith("lattice-") else RandomForestClassifier
    if not isinstance(forest, kind):
        raise UserError(f"{path}: expected a {kind.__name__}, found {type(forest).__name__}")
    if getattr(forest, "n_features_in_", None) != N_FEATURES:
        raise UserError(f"{path}: expected a forest trained on {N_FEATURES} features")
    return forest
