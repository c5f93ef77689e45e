"""Crystal structure from electron diffraction patterns, after Gleason et al. 2024.

The rooms, from the bottom up: ``core`` (paths, settings, workers), ``crystals``, ``bloch`` (spot
patterns with multiple scattering), ``paper`` (features, forests, aggregation, evaluation) and
``figures``. Each stage writes a file that the next one reads. What the package offers stands in
``__init__.pyi``; a name is imported when it is first used.
"""

import atexit
import os
import shutil
import tempfile

import lazy_loader

_CACHES = os.path.dirname(__file__), os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~")
if not os.environ.get("NUMBA_CACHE_DIR") and not any(os.access(c, os.W_OK) for c in _CACHES):
    # numba refuses to work where it can keep no compiled code.
    os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp(prefix="ediff-")
    atexit.register(shutil.rmtree, os.environ["NUMBA_CACHE_DIR"], ignore_errors=True)

__version__ = "0.2.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
