"""What else a card says: how long answers take, and whether a second grain is noticed.

Both are tried on the patterns that go with a predictor.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from ediff_solve.predictor.answering import Predictor
from ediff_solve.predictor.training.card import TEN
from ediff_solve.predictor.training.examples import DETECTORS, ExampleSettings, show_patterns
from ediff_solve.predictor.training.sample import read_sample
from ediff_utils.bloch.dataset.reading import spots
from ediff_utils.crystals.groups import crystal_system

#: Each is timed so often, of which the shortest counts.
_REPEATS = 3
#: Materials whose patterns are timed.
_TIMED = 20


def _measure_time(predictor: Predictor, patterns: Sequence[tuple]) -> float:
    """Shortest of some answers' times [ms of processor time]."""
    times = []
    for _ in range(_REPEATS):
        start = time.process_time()
        predictor.predict(patterns)
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def measure_times(predictor: Predictor, groups: Sequence[Sequence[tuple]]) -> dict[str, float]:
    """How long a predictor takes over one pattern and over several together.

    The groups are patterns of each crystal. ``ms_one``, over all patterns alone, and ``ms_ten``,
    over the groups: medians [ms of processor time, a single thread].
    """
    # Compiles, or reads what is compiled.
    predictor.predict(groups[0])
    predictor.predict(groups[0][:1])
    # Threads that only wait for each other count as processor time.
    with threadpool_limits(1):
        one = [_measure_time(predictor, [pattern]) for each in groups for pattern in each]
        ten = [_measure_time(predictor, each) for each in groups]
    return {"ms_one": float(np.median(one)), "ms_ten": float(np.median(ten))}


def time_sample(
    predictor: Predictor, settings: Mapping[str, ExampleSettings], folder: Path
) -> dict[str, dict[str, float]]:
    """Times (:func:`measure_times`) by condition, on ten patterns of each of some test materials.

    See :func:`ediff_solve.predictor.training.sample.read_sample`.
    """
    groups: dict[str, list[list[tuple]]] = {condition: [] for condition in settings}
    for condition, material, table, chosen in read_sample(settings, folder):
        tens = [rows for rows in chosen if len(rows) == TEN]
        if tens and len(groups[condition]) < _TIMED:
            seen = show_patterns(material, table, DETECTORS[condition], settings[condition].seed)
            groups[condition].append([seen[row] for row in tens[0]])
    return {name: measure_times(predictor, found) for name, found in groups.items() if found}


def find_mixtures(
    predictor: Predictor, settings: Mapping[str, ExampleSettings], folder: Path
) -> dict[str, dict[str, dict[str, float]]]:
    """Whether the predictor notices that every pattern has the spots of a second grain on it.

    The second grain is a pattern of another test material (:func:`read_sample`), turned at random
    and up to as strong as the first, before the detector looks at both.

    By condition, at random orientations, and by "single" and "several": ``noticed``, the share of
    mixtures of which too few spots are explained, ``false_alarms``, that of the same patterns
    without a second grain, ``accuracy`` and ``sure``, of the crystal system of the stronger grain
    and how many mixtures are called sure, ``sure_and_wrong`` of all mixtures, and ``n``.
    """
    sample = list(read_sample(settings, folder))
    answers: dict[tuple[str, str], list[tuple[bool, bool, bool, bool]]] = {}
    for condition in dict.fromkeys(name for name, *_ in sample if not name.startswith("zone")):
        own = [each[1:] for each in sample if each[0] == condition]
        pool = _pool([table for _, table, _ in own])
        mixed = DETECTORS[condition].model_copy(update={"second_grain": 1.0})
        for material, table, chosen in own:
            seed = settings[condition].seed
            alone = show_patterns(material, table, DETECTORS[condition], seed)
            both = show_patterns(material, table, mixed, seed, pool)
            group = int(table["space_group"][0].as_py())
            for rows in chosen:
                kind = "single" if len(rows) == 1 else "several"
                row = _ask(predictor, [alone[r] for r in rows], [both[r] for r in rows], group)
                answers.setdefault((condition, kind), []).append(row)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for (condition, kind), told in answers.items():
        alarm, noticed, right, sure = np.array(told, bool).T
        found.setdefault(condition, {})[kind] = {
            "noticed": float(noticed.mean()),
            "false_alarms": float(alarm.mean()),
            "accuracy": float(right.mean()),
            "sure": float(sure.mean()),
            "sure_and_wrong": float((sure & ~right).mean()),
            "n": len(told),
        }
    return found


def _ask(
    predictor: Predictor, alone: Sequence[tuple], both: Sequence[tuple], group: int
) -> tuple[bool, bool, bool, bool]:
    """Whether one grain is taken for two, two are noticed, and the answer to two right and sure."""
    least = predictor.card["least_indexed"]["single" if len(both) == 1 else "several"]
    # Where nothing is solved nothing is explained.
    alarm = not predictor.predict(alone).indexed >= least
    answer = predictor.predict(both)
    right = answer.system == crystal_system(group)
    return alarm, not answer.indexed >= least, right, answer.status == "sure"


def _pool(tables: Sequence[pa.Table]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Patterns that second grains are drawn from."""
    qx, qy, intensity, offsets = spots(pa.concat_tables(tables).combine_chunks())
    return qx.astype(float), qy.astype(float), intensity.astype(float), offsets
