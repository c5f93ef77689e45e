"""Seeds made of names."""

from ediff_utils.core.seeds import name_seed


def test_known_answers():
    # What `printf NAME | b2sum -l 64` prints.
    assert name_seed("mp-149").to_bytes(8, "little").hex() == "57e6fce9d2639e09"
    assert name_seed("").to_bytes(8, "little").hex() == "e4a6a0577479b2b4"
