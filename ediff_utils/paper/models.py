"""The models stage: 13 random forests, crystal system first, then space group and lattice.

A class is the one that most trees vote for; a lattice is the median of the trees. Forests are kept
in skops files, which can be loaded without running code from them, beside a ``models.json`` that
says how they were made.
"""

from __future__ import annotations

import copy
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import joblib
import numpy as np
import sklearn
import skops.io
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from ediff_utils.core import made_from
from ediff_utils.core.errors import UserError
from ediff_utils.core.files import file_sha256
from ediff_utils.core.paths import atomic_write, require
from ediff_utils.core.progress import tqdm
from ediff_utils.core.settings import ForestSettings, check
from ediff_utils.crystals.groups import ALL_SYSTEMS
from ediff_utils.paper.checkpoints import TRUSTED
from ediff_utils.paper.feature_files import FEATURES
from ediff_utils.paper.features import N_FEATURES
from ediff_utils.paper.votes import checked, difference_confidence, tree_answers, tree_votes

Forest: TypeAlias = RandomForestClassifier | RandomForestRegressor
LATTICE = ("a", "b", "c")
#: File that says how the forests of a folder were made; a folder that has it is complete.
ABOUT = "models.json"
#: What asks them, keeps them or prints table 1 has no part in how they are grown.
FORESTS = made_from.Stage(
    "forests",
    ("ediff_utils.paper.training",),
    without=(
        *FEATURES.without,
        "ediff_utils.paper.models",
        "ediff_utils.paper.checkpoints",
        "ediff_utils.paper.published",
    ),
)


@dataclass
class Hierarchy:
    """The forests, and how they are asked.

    Parameters
    ----------
    system_forest : RandomForestClassifier
    space_group : mapping of str to RandomForestClassifier
        By crystal system.
    lattice : mapping of str to RandomForestRegressor
        By crystal system; predicts (a, b, c) [angstrom].
    about : dict
        How they were made.
    """

    system_forest: RandomForestClassifier
    space_group: Mapping[str, RandomForestClassifier]
    lattice: Mapping[str, RandomForestRegressor]
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
        features = checked(features)
        out = np.empty((len(features), len(LATTICE)))
        # Blocks bound the memory: every tree answers for every pattern.
        for start in range(0, len(features), 10_000):
            part = features[start : start + 10_000]
            trees = joblib.Parallel(n_jobs=-1, prefer="threads")(
                joblib.delayed(tree.predict)(part, check_input=False) for tree in forest.estimators_
            )
            out[start : start + len(part)] = np.median(trees, axis=0)
        return out


class StoredForests(Mapping[str, Forest]):
    """Forests of one kind by crystal system, read when asked for; the last one stays in memory.

    ``paths`` and ``digests``, what the files' SHA-256 has to be, are by crystal system.
    """

    def __init__(self, paths: Mapping[str, Path], digests: Mapping[str, str]) -> None:
        self._paths, self._digests = dict(paths), dict(digests)
        self._last: tuple[str, Forest] | None = None

    def __getitem__(self, system: str) -> Forest:
        if self._last is None or self._last[0] != system:
            path = self._paths[system]
            # Before another comes, so that two are never there at once.
            self._last = None
            self._last = system, _load_forest(path, self._digests[system])
        return self._last[1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def forest_file(kind: str, system: str) -> str:
    """Name of a forest's file, of its kind and, but for "crystal_system", the crystal system."""
    return f"{kind}-{system}.skops".replace("-.", ".")


def write_forest(forest: Forest, path: Path) -> None:
    """Write a forest to a skops file."""
    with atomic_write(path) as partial:
        skops.io.dump(forest, partial, compression=zipfile.ZIP_DEFLATED, compresslevel=1)


def write_about(
    folder: Path, names: Sequence[str], about: Mapping[str, object], identity: made_from.Identity
) -> None:
    """Say how the forests of a folder were made; a folder that has this file is complete.

    ``names`` are of their files, all of which are there; ``about`` is for readers, ``identity``
    what they were made from.
    """
    digests = {Path(name).stem: file_sha256(folder / name) for name in sorted(names)}
    with atomic_write(folder / ABOUT) as partial:
        found = dict(about) | {"files": sorted(digests), "sha256": digests}
        found[made_from.KEY] = identity
        partial.write_text(json.dumps(found, indent=2) + "\n")


def read_about(folder: Path) -> dict:
    """Read how the models in a folder were made; a UserError where that is not said."""
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


def forest_settings(about: Mapping[str, Any], **changes: object) -> ForestSettings:
    """Settings that models were trained with, some of them changed.

    A UserError where an earlier version made them, with settings that are no more.
    """
    gone = sorted(set(about["settings"]) - set(ForestSettings.model_fields))
    if gone:
        raise UserError(f"models.json: made with {', '.join(gone)}, as nothing is now; train again")
    return check(ForestSettings, where="models.json: ", **{**about["settings"], **changes})


def load_hierarchy(
    folder: Path, *, only_system: bool = False, in_turn: bool = False, progress: bool = True
) -> Hierarchy:
    """Read what :func:`ediff_utils.paper.training.prepare_hierarchy` wrote.

    No code from the files is run. A line on stderr says where other code than there is now, of the
    forests or of the features that they were trained on, has made them.

    Parameters
    ----------
    folder : Path
    only_system : bool
        Leave out the forests of space groups and lattices, which take most of the memory.
    in_turn : bool
        Read those when they are asked for, and keep one of each kind at a time
        (:class:`StoredForests`): for whoever asks one crystal system after the other.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Hierarchy

    Raises
    ------
    UserError
        No models there, made by another version of scikit-learn, or a damaged or foreign file;
        with ``in_turn`` of some files only when they are asked for.
    """
    about = read_about(folder)
    version = about["scikit_learn"]
    if version != sklearn.__version__:
        raise UserError(
            f"{folder / ABOUT}: made with scikit-learn {version}, here is "
            f"{sklearn.__version__}; train again"
        )
    FORESTS.note_old(about.pop(made_from.KEY, {}))
    digests = about["sha256"]
    at_once = ["crystal_system"] if only_system or in_turn else about["files"]
    forests = {
        name: _load_forest(folder / f"{name}.skops", digests[name])
        for name in tqdm(at_once, desc="forests loaded", disable=not progress)
    }
    others: dict[str, Mapping[str, Forest]] = {}
    for kind in ("space_group", "lattice"):
        names = [] if only_system else [n for n in about["files"] if n.startswith(f"{kind}-")]
        systems = {name.removeprefix(f"{kind}-"): name for name in names}
        if in_turn:
            paths = {system: folder / f"{name}.skops" for system, name in systems.items()}
            others[kind] = StoredForests(paths, {s: digests[name] for s, name in systems.items()})
        else:
            others[kind] = {system: forests[name] for system, name in systems.items()}
    return Hierarchy(forests["crystal_system"], others["space_group"], others["lattice"], about)


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
