"""The progress bar of long steps: a widget in a notebook, text in a terminal.

A notebook that runs under ``python -m ediff_utils reproduce`` shows its bars in the terminal from
which that was called, and asks for text by the environment variable ``EDIFF_PROGRESS=terminal``.
"""

import os

if os.environ.get("EDIFF_PROGRESS") == "terminal":
    from tqdm import tqdm
else:
    from tqdm.auto import tqdm

__all__ = ["tqdm"]
