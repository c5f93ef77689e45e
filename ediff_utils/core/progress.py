"""The progress of long steps: a widget in a notebook, a bar in a terminal, lines in a log file.

A notebook that runs under ``python -m ediff_utils reproduce`` shows its bars where that was called
from, and asks for text by the environment variable ``EDIFF_PROGRESS=terminal``.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from tqdm import tqdm as _bar

#: Time between two lines of a log file [s].
_PAUSE = 30.0


class _Lines(_bar):
    """A line now and then and one at the end, where nothing can be written over."""

    def refresh(self, *_args: object, **_options: object) -> bool:
        """Write a line if the last one is some time ago."""
        now = time.monotonic()
        if self.disable:  # type: ignore[has-type]
            return False
        if now - self.__dict__.setdefault("written", now) < _PAUSE:
            return False
        self.written = now
        self.fp.write(f"{self}\n")
        return True

    def close(self) -> None:
        """Write the last line."""
        if not self.disable:  # type: ignore[has-type]
            self.disable = True
            self._decr_instances(self)
            self.fp.write(f"{self}\n")


def _choose() -> Any:
    if os.environ.get("EDIFF_PROGRESS") == "terminal" or "ipykernel" not in sys.modules:
        return _bar if sys.stderr is not None and sys.stderr.isatty() else _Lines
    from tqdm.auto import tqdm as widget

    return widget


tqdm = _choose()

__all__ = ["tqdm"]
