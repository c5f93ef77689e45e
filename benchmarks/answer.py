"""How long a user waits: the first answer after an install, which compiles, and later ones.

Whole processes of ``ediff predict`` on the example that ships, timed by the clock, beside a process
that only starts Python. Writes ``answer`` into ``benchmarks/results.json``.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

import click
from cases import record

from ediff_utils.core.paths import EXAMPLE

_ANSWER = [sys.executable, "-m", "ediff_solve", "predict", str(EXAMPLE)]
_NOTHING = [sys.executable, "-c", ""]


def time_process(words: list[str], **environment: str) -> float:
    """Seconds by the clock from start to end."""
    start = time.perf_counter()
    subprocess.run(words, env=os.environ | environment, capture_output=True, check=True)
    return time.perf_counter() - start


@click.command()
@click.option("--repeats", default=5, show_default=True, help="answers after the first")
def main(repeats: int) -> None:
    """Time the first answer and later ones, and write benchmarks/results.json."""
    with tempfile.TemporaryDirectory() as cache:
        first = time_process(_ANSWER, NUMBA_CACHE_DIR=cache)
        later = [time_process(_ANSWER, NUMBA_CACHE_DIR=cache) for _ in range(repeats)]
    bare = statistics.median(time_process(_NOTHING) for _ in range(repeats))
    found = {"first": first, "later": statistics.median(later), "python": bare}
    record(answer={name: round(seconds, 3) for name, seconds in found.items()})
    click.echo(
        f"first answer {first:.1f} s, later ones {found['later']:.2f} s, Python {bare:.2f} s"
    )


if __name__ == "__main__":
    main()
