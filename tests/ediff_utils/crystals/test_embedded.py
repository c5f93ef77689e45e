"""Prototypes and variants: coverage, symmetry, determinism."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Element, Lattice, Structure

from ediff_utils.core.settings import CrystalSettings
from ediff_utils.crystals.embedded import (
    _MAX_VARIANTS,
    _make_variant,
    _similar_elements,
    load_prototypes,
)
from ediff_utils.crystals.groups import ALL_SYSTEMS, SYSTEMS
from ediff_utils.crystals.sources import load_crystals
from ediff_utils.crystals.symmetry import standardise
from ediff_utils.crystals.tables import COLUMNS


def load(**values):
    return load_crystals(CrystalSettings(**values), progress=False)


@pytest.fixture(scope="module")
def crystals():
    return load(max_crystals=450)


def parent_of(variants):
    """Names of the prototypes that variants are made from."""
    return variants["material_id"].str.rsplit("-", n=1).str[0]


def test_all_prototypes_come_before_variants(crystals):
    sources = crystals.table["source"].to_list()
    n = sources.count("prototype")
    assert n + len(crystals.skipped) == 288
    assert sources == ["prototype"] * n + ["variant"] * (450 - n)
    assert crystals.skipped["reason"].str.contains("above 1000 cubic angstrom").all()


def test_table_follows_its_columns(crystals):
    table = crystals.table
    assert tuple(table.columns) == COLUMNS
    assert not table.isna().any(axis=None)
    assert table["material_id"].is_unique
    own = table["source"] == "prototype"
    assert set(parent_of(table[~own])) <= set(table.loc[own, "material_id"])
    parents = table.set_index("material_id")["prototype"]
    assert list(table.loc[~own, "prototype"]) == list(parents[parent_of(table[~own])])
    assert (table["volume"] <= 1000).all()
    assert table["numbers"].map(max).max() <= 103


def test_crystal_systems_take_turns(crystals):
    counts = Counter(crystals.table["crystal_system"][:120])
    assert set(counts) == set(ALL_SYSTEMS)
    assert max(counts[s] for s in SYSTEMS) - min(counts[s] for s in SYSTEMS) <= 1
    variants = crystals.table[crystals.table["source"] == "variant"]
    counts = variants["crystal_system"].value_counts()
    assert counts[list(SYSTEMS)].max() - counts[list(SYSTEMS)].min() <= 1
    assert parent_of(variants).value_counts().max() <= _MAX_VARIANTS


def test_variants_share_the_labels_of_their_prototype(crystals):
    """The rows of variants are scaled ones; standardising the variant itself gives the same."""
    parents = crystals.table.set_index("material_id")
    variants = crystals.table[crystals.table["source"] == "variant"]
    for row in variants[::6].to_dict(orient="records"):
        structure = Structure(
            Lattice(np.reshape(row["lattice"], (3, 3))),
            row["numbers"],
            np.reshape(row["frac_coords"], (-1, 3)),
        )
        again = standardise(structure, 0.1)
        parent = parents.loc[row["material_id"].rsplit("-", 1)[0]]
        assert again["space_group"] == parent["space_group"]
        for key in (
            "formula",
            "prototype",
            "crystal_system",
            "space_group_symbol",
            "laue_group",
            "n_sites",
        ):
            assert row[key] == again[key]
        for key in ("a", "b", "c", "alpha", "beta", "gamma", "volume"):
            assert row[key] == pytest.approx(again[key], rel=1e-6)
        volumes = [
            abs(np.linalg.det(np.reshape(row[k], (3, 3))))
            for k in ("lattice", "conventional_lattice")
        ]
        assert volumes[0] == pytest.approx(row["volume"])
        assert volumes[1] / volumes[0] == pytest.approx(round(volumes[1] / volumes[0]))


def test_variants_keep_the_pattern_of_sites(crystals):
    parents = crystals.table.set_index("material_id")
    variants = crystals.table[crystals.table["source"] == "variant"]
    for row in variants.to_dict(orient="records"):
        parent = parents.loc[row["material_id"].rsplit("-", 1)[0]]
        pairs = set(zip(parent["numbers"], row["numbers"], strict=True))
        # one new element for each old one, and no two the same
        assert len(pairs) == len(set(parent["numbers"])) == len(set(row["numbers"]))
        assert any(old != new for old, new in pairs)


def test_same_seed_same_crystals():
    first, second, other = (load(max_crystals=330, seed=s).table for s in (3, 3, 4))
    pd.testing.assert_frame_equal(first, second)
    assert list(first["material_id"]) != list(other["material_id"])
    # all prototypes are in both
    assert set(first["prototype"]) == set(other["prototype"])


def test_smaller_sets_are_the_beginning_of_larger_ones(crystals):
    assert list(load(max_crystals=60).table["material_id"]) == list(
        crystals.table["material_id"][:60]
    )


def test_volume_limit():
    crystals = load(max_crystals=100, max_volume=60)
    assert (crystals.table["volume"] <= 60).all()
    assert len(crystals.skipped) > 100


def test_number_of_variants_is_limited():
    """Asking for more than there is ends, with every prototype at its limit or out of elements."""
    crystals = load(max_crystals=100_000, max_volume=16)
    variants = crystals.table[crystals.table["source"] == "variant"]
    assert parent_of(variants).value_counts().max() <= _MAX_VARIANTS
    assert len(crystals.table) < 288 * (_MAX_VARIANTS + 1)


def test_similar_elements():
    table = _similar_elements()
    for symbol, (others, shares) in table.items():
        assert symbol not in others
        assert not others or shares.sum() == pytest.approx(1)
        assert all(Element(other).Z <= 103 for other in others)
    assert set(table["Cl"][0]) >= {"F", "Br", "I"}
    assert set(table["C"][0]) == {"Ge", "Pb", "Si", "Sn"}
    assert "U" in table["Np"][0]


def test_variant_volume_follows_the_radii():
    salt = Structure.from_spacegroup(225, Lattice.cubic(5.64), ["Na", "Cl"], [[0] * 3, [0.5] * 3])
    larger = _make_variant(salt, {"Na": "K", "Cl": "Br"}, 225, 0.1)
    smaller = _make_variant(salt, {"Na": "Li", "Cl": "F"}, 225, 0.1)
    assert smaller.volume < salt.volume < larger.volume
    assert larger.lattice.a == pytest.approx(6.6, rel=0.1)


def test_variant_of_another_space_group_is_dropped():
    """Zinc blende with one element on both sites is diamond."""
    blende = Structure.from_spacegroup(216, Lattice.cubic(5.4), ["Zn", "S"], [[0] * 3, [0.25] * 3])
    assert _make_variant(blende, {"Zn": "Cd", "S": "Se"}, 216, 0.1) is not None
    assert _make_variant(blende, {"Zn": "Si", "S": "Si"}, 216, 0.1) is None


def test_every_prototype_can_be_standardised():
    parents, skipped = load_prototypes(0.1)
    assert len(parents) == 288
    assert skipped == ()
    assert {p.system for p in parents} == set(ALL_SYSTEMS)
