"""Random numbers that hang on a name, the same on every machine and in any order of work."""

from __future__ import annotations

import hashlib


def name_seed(name: str) -> int:
    """The first eight bytes of a name's BLAKE2b digest as a number below 2^64."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
