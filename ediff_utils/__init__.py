"""Crystal structure from electron diffraction patterns, after Gleason et al. 2024.

The rooms, from the bottom up: ``core`` (paths, settings, workers), ``crystals``, ``bloch`` (spot
patterns with multiple scattering), ``paper`` (features, forests, aggregation, evaluation) and
``figures``. Each stage writes a file that the next one reads. What the package offers stands in
``__init__.pyi``; a name is imported when it is first used.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
