"""Two to four patterns: what each says alone counts beside what they say together.

Two patterns seldom settle a cell that they share, and an answer from a wrong cell is worse than
that of a single pattern. The probabilities' logarithms are added with weights, one for each
pattern's own and one for that of all together, as in logarithmic opinion pools (Genest and Zidek
1986).
"""

from __future__ import annotations

import numpy as np

#: Number of patterns: weights of each alone and of all together, likeliest for crystal system and
#: space group of 392 of the training materials that no tree was grown on, clean and behind the
#: detector. They are less than one, because patterns of a crystal are wrong together.
WEIGHTS = {2: (0.60, 0.01), 3: (0.26, 0.49), 4: (0.13, 0.72)}
#: No probability is taken to be less.
_FLOOR = 1e-6


def pool_few(together: np.ndarray, alone: np.ndarray, n: int) -> np.ndarray:
    """Probabilities of space groups, shape (230,), from n patterns, a key of :data:`WEIGHTS`.

    ``together``, shape (230,), is from all at once, ``alone``, shape (m, 230), from each that tells
    anything.
    """
    own, joint = WEIGHTS[n]
    value = joint * np.log(np.maximum(together, _FLOOR))
    value += own * np.log(np.maximum(alone, _FLOOR)).sum(axis=0)
    power = np.exp(value - value.max())
    return power / power.sum()
