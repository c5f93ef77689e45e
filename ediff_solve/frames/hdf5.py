"""Whether an HDF5 file can be read at all: the library itself crashes or hangs on some."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ediff_utils.core.errors import UserError

#: What a file may take until everything small in it is read [s].
PATIENCE = 20.0
#: Walks through a file as its readers will: attributes, links and what is small.
_PROBE = """
import sys, h5py
left = 2000
def look(item):
    global left
    for step in (lambda: list(item.attrs.items()), lambda: read(item)):
        try:
            step()
        except Exception:
            pass
def read(item):
    global left
    if isinstance(item, h5py.Dataset):
        if item.size is not None and item.size <= 4096:
            item[()]
        return
    for name in item:
        left -= 1
        if left > 0 and isinstance(item.get(name, getlink=True), h5py.HardLink):
            look(item[name])
try:
    look(h5py.File(sys.argv[1], "r"))
except Exception:
    pass
"""


def check_hdf5(path: Path) -> None:
    """Raise a UserError for a file on which HDF5 crashes or hangs, as a child process finds out.

    What it refuses in the ordinary way is left to whoever reads it.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE, os.fspath(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UserError(f"{path}: damaged: HDF5 does not come to an end with it") from None
    if done.returncode < 0:
        raise UserError(f"{path}: damaged: HDF5 crashes on it")
