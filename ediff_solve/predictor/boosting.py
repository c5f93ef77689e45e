"""Space groups by gradient boosting: a crystal system first, then a space group within it.

P(space group) = P(system) P(space group | system), from which Laue class and Bravais lattice follow
by sums, so that all answers agree with each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ediff_solve.predictor.trees import Trees, sum_trees
from ediff_utils.crystals.groups import LAST_GROUPS, N_GROUPS

#: Systems less probable share their probability out evenly among their space groups.
WORTH_ASKING = 0.005
#: Least probability that a logarithm is taken of.
SMALLEST = 1e-6


@dataclass(frozen=True)
class Booster:
    """One booster, its classes and its temperature.

    - ``trees``: None where there is one class alone.
    - ``classes``, int: positions in the system's list, or numbers of space groups.
    - ``temperature``: above one, probabilities are softer (Guo et al. 2017).
    """

    trees: Trees | None
    classes: np.ndarray
    temperature: float = 1.0

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        """Of each class; shape (n, classes)."""
        if self.trees is None:
            return np.ones((len(vectors), 1))
        sums = sum_trees(self.trees, vectors, len(self.classes))
        power = np.exp(sums - sums.max(axis=1, keepdims=True, initial=-np.inf))
        return soften(power / power.sum(axis=1, keepdims=True), self.temperature)


def soften(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities of each row to the power of one over a temperature, normalised."""
    logarithm = np.log(np.maximum(probabilities, SMALLEST)) / temperature
    power = np.exp(logarithm - logarithm.max(axis=1, keepdims=True))
    return power / power.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class SpaceGroupModel:
    """Boosters for the crystal system, and for the space groups of each.

    - ``system``: classes are positions in :data:`~ediff_utils.crystals.groups.NUMBERED_SYSTEMS`.
    - ``groups``: by position of the system; classes are numbers of space groups.
    """

    system: Booster
    groups: dict[int, Booster]

    def systems(self, vectors: np.ndarray) -> np.ndarray:
        """Of the crystal systems alone, as their space groups are numbered; shape (n, 7)."""
        found = np.zeros((len(vectors), len(LAST_GROUPS)))
        if len(vectors):
            found[:, self.system.classes] = self.system.probabilities(vectors)
        return found

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        """Of space groups 1 to 230; shape (n, 230)."""
        found = np.zeros((len(vectors), N_GROUPS))
        systems = self.system.probabilities(vectors)
        for k, system in enumerate(self.system.classes):
            group = self.groups[int(system)]
            # Of a system that it is not, the space groups are not asked for.
            asked = systems[:, k] >= WORTH_ASKING
            within = np.full((len(vectors), len(group.classes)), 1 / len(group.classes))
            if asked.any():
                within[asked] = group.probabilities(vectors[asked])
            found[:, group.classes - 1] += systems[:, k : k + 1] * within
        return found
