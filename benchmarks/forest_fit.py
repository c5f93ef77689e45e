"""One setting of the crystal-system forest, in a process of its own.

Started by :mod:`forests`, so that the largest memory of one setting is not that of another.
"""

from __future__ import annotations

import timing

timing.use_one_core()

import hashlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

# Votes are counted on all cores unless told otherwise.
os.environ["LOKY_MAX_CPU_COUNT"] = "1"

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier

from ediff_utils.core.memory import peak_memory
from ediff_utils.core.settings import ForestSettings
from ediff_utils.paper.aggregation import aggregate_votes, draw_patterns
from ediff_utils.paper.models import Hierarchy, write_forest
from ediff_utils.paper.training import new_forest


def digest_trees(forest: RandomForestClassifier) -> str:
    """Digest of all trees, the same for the same trees."""
    digest = hashlib.blake2b(digest_size=16)
    for tree in forest.estimators_:
        state = tree.tree_.__getstate__()
        # Field by field: between the fields of a node is memory that nobody has written to.
        for name in state["nodes"].dtype.names:
            digest.update(np.ascontiguousarray(state["nodes"][name]).tobytes())
        digest.update(state["values"].tobytes())
    return digest.hexdigest()


def measure_size(hierarchy: Hierarchy) -> float:
    """Size of the forest's file as a run keeps it [MB]."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "crystal_system.skops"
        write_forest(hierarchy.system_forest, path)
        return path.stat().st_size / 1e6


def count_right(
    hierarchy: Hierarchy, vectors: np.ndarray, labels: pd.DataFrame, together: int, seed: int
) -> pd.DataFrame:
    """How often the forest is right about each material.

    Parameters
    ----------
    hierarchy : Hierarchy
    vectors : ndarray of float32, shape (n, 1066)
    labels : DataFrame
        ``material_id`` and ``crystal_system`` of every pattern.
    together : int
        Patterns that are taken together.
    seed : int
        Of which patterns are.

    Returns
    -------
    DataFrame
        By material: ``one``, the number of its patterns that are put right, and ``ten``, 1 where
        those taken together are.
    """
    votes = hierarchy.system_votes(vectors)
    classes = np.array(hierarchy.classes)
    right = classes[votes.argmax(axis=1)] == labels["crystal_system"]
    truth = labels.groupby("material_id")["crystal_system"].first()
    names, groups, turn = draw_patterns(labels["material_id"], seed)
    drawn = turn < together
    joint = classes[aggregate_votes(votes[drawn], groups[drawn]).argmax(axis=1)]
    ten = pd.Series(joint == truth[names].to_numpy(), names)
    one = right.groupby(labels["material_id"]).sum()
    return pd.DataFrame({"one": one, "ten": ten}).astype(float)


def measure(task: dict) -> dict[str, object]:
    """Fit, and measure what was asked for.

    Parameters
    ----------
    task : dict
        ``folder`` and ``data`` (which of its vectors), ``rows`` (the first so many are trained
        on), ``trees``, ``arguments`` of the forest, ``seeds`` (one forest each), ``together`` (see
        :func:`count_right`; zero: nothing but the time is asked for).

    Returns
    -------
    dict
        ``seconds`` of processor time, the shortest of the forests', and of the first forest
        ``loaded_mib`` before the fit, ``peak_mib`` after it, ``nodes`` a tree, ``megabytes``,
        ``digest``; ``right``: means over the forests of :func:`count_right`.
    """
    folder = Path(task["folder"])
    vectors = np.load(folder / f"train-{task['data']}.npy")[: task["rows"]]
    target = np.load(folder / "target.npy")[: task["rows"]]
    result: dict[str, object] = {"seconds": np.inf, "loaded_mib": 2**10 * peak_memory()}
    tables = []
    for seed in task["seeds"]:
        forest = new_forest("crystal_system", ForestSettings(seed=seed, jobs=1))
        forest.set_params(n_estimators=task["trees"], **task["arguments"])
        start = time.process_time()
        forest.fit(vectors, target)
        result["seconds"] = min(result["seconds"], time.process_time() - start)
        # Later forests and the test patterns are not counted.
        result.setdefault("peak_mib", 2**10 * peak_memory())
        if not task["together"]:
            continue
        hierarchy = Hierarchy(forest, {}, {}, {})
        if not tables:
            result["nodes"] = float(np.mean([t.tree_.node_count for t in forest.estimators_]))
            result["megabytes"] = measure_size(hierarchy)
            result["digest"] = digest_trees(forest)
        test = np.load(folder / f"test-{task['data']}.npy")
        labels = pd.read_parquet(folder / "labels.parquet")
        tables.append(count_right(hierarchy, test, labels, task["together"], task["seeds"][0]))
    if tables:
        result["right"] = (sum(tables) / len(tables)).to_dict("list")
    return result


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    found = measure(json.loads(source.read_text(encoding="utf-8")))
    target.write_text(json.dumps(found), encoding="utf-8")
