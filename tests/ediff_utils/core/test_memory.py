"""How much memory a process has taken."""

import numpy as np

from ediff_utils.core.memory import peak_memory


def test_a_large_array_shows():
    before = peak_memory()
    array = np.ones(2**26)
    assert array[-1] == 1
    assert peak_memory() > max(before, 0.5)
