"""How much memory a process has taken."""

from __future__ import annotations

import sys
from pathlib import Path


def peak_memory() -> float:
    """Largest resident memory of this process so far, its workers not counted [GiB].

    NaN where the system does not tell.
    """
    status = Path("/proc/self/status")
    if status.exists():
        # On Linux a child's ru_maxrss begins with that of the process that started it.
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        if "VmHWM" in lines:
            return int(lines["VmHWM"].split()[0]) / 2**20
    try:
        import resource
    except ImportError:
        return float("nan")
    unit = 2**30 if sys.platform == "darwin" else 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
