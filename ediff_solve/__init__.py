"""An unknown crystal from its diffraction spots, from detector frames to maps of a scan.

The rooms, from the bottom up: ``lattice`` and ``frames``, then ``predictor`` and ``gold_scan``,
then ``scans`` and ``figures``. It uses :mod:`ediff_utils`, the paper, and is never used by it. What
the package offers stands in ``__init__.pyi``; a name is imported when it is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
