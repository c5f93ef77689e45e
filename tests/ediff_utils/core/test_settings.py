"""Presets and settings: what is wrong is said in one line that names the file and the field."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ediff_utils.core import settings
from ediff_utils.core.errors import UserError
from ediff_utils.core.paths import PRESETS
from ediff_utils.core.settings import (
    CrystalSettings,
    FeatureSettings,
    ForestSettings,
    Preset,
    ProtocolSettings,
    ScanSettings,
    SimulationSettings,
    UnknownSettings,
    check,
    load_preset,
)

NAMES = sorted(path.stem for path in PRESETS.glob("*.yml"))


def test_there_are_presets():
    assert {"smoke", "quick", "paper"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_loads(name):
    values = load_preset(name)
    assert values == yaml.safe_load((PRESETS / f"{name}.yml").read_text())
    assert values == load_preset(PRESETS / f"{name}.yml")
    preset = check(Preset, **values)
    assert preset.orientations == values.get("orientations", 15)


def test_the_paper_preset_is_the_papers():
    from ediff_utils.paper import published

    preset = check(Preset, **load_preset("paper"))
    assert preset.orientations == published.ZONE_AXES.value
    assert preset.thicknesses == (10 * published.TRAINING_THICKNESS.value,)
    # table 1 but for what a split, a tree and a leaf see, which is measured in benchmarks/
    assert preset.tree_fraction == 1.0
    assert preset.random_orientations == published.ZONE_AXES.value
    assert preset.test_size == published.TEST_SHARE.value
    assert preset.energy == 1e3 * published.BEAM_ENERGY.value
    assert preset.q_max == published.Q_MAX.value
    assert preset.patterns_per_prediction == published.PATTERNS_PER_PREDICTION.value
    assert preset.tree_fraction == 1
    assert not preset.include_triclinic


def test_no_two_stages_mean_different_things_by_a_name():
    """The preset joins the settings of all stages: a shared name must have one default."""
    kinds = (CrystalSettings, SimulationSettings, FeatureSettings, ForestSettings)
    kinds += (ProtocolSettings, ScanSettings, UnknownSettings)
    for name, field in Preset.model_fields.items():
        owners = [kind.model_fields[name] for kind in kinds if name in kind.model_fields]
        assert owners
        assert {owner.default for owner in owners} == {field.default}


BAD = {
    "orientatoins: 20": ("orientatoins", "not a parameter"),
    "orientations: many": ("orientations", "integer"),
    "orientations: 2.5": ("orientations", "integer"),
    "orientations: 0": ("orientations", "greater than or equal to 1"),
    "orientations:": ("orientations", "integer"),
    "orientations: [1, 2]": ("orientations", "integer"),
    "thicknesses: [-200.0]": ("thicknesses", "above 0"),
    "thicknesses: [200.0, 0]": ("thicknesses", "above 0"),
    "thicknesses: [1.0e+6]": ("thicknesses", "100000"),
    "thicknesses: []": ("thicknesses", "at least 1"),
    "thicknesses: 200.0": ("thicknesses", "tuple"),
    "thicknesses: [.nan]": ("thicknesses", "finite"),
    "thicknesses: [.inf]": ("thicknesses", "finite"),
    "energy: .nan": ("energy", "finite"),
    "energy: 300": ("energy", "greater than or equal to 1000"),
    "q_max: -2.0": ("q_max", "greater than 0"),
    "thickness: -1": ("thickness", "greater than 0"),
    "max_features: 0.5": ("max_features", "not a parameter"),
    "grower: lightgbm": ("grower", "'own' or 'scikit-learn'"),
    "round_off: gone": ("round_off", "'zero' or 'kept'"),
    "position_noise: -1": ("position_noise", "greater than or equal to 0"),
    "tilt: 31": ("tilt", "less than or equal to 30"),
    "tree_fraction: 0": ("tree_fraction", "greater than 0"),
    "test_size: 1": ("test_size", "less than 1"),
    "split_by: chance": ("split_by", "'material' or 'prototype'"),
    "sampling: spiral": ("sampling", "'random' or 'zone'"),
    "scattering: kirkland": ("scattering", "'lobato'"),
    "normalisation: max": ("normalisation", "'scattered' or 'incident'"),
    "crystals: 5": ("crystals", "string"),
    "crystals: ''": ("crystals", "at least 1 character"),
    "include_triclinic: perhaps": ("include_triclinic", "boolean"),
    "jobs: 0": ("jobs", "-1 for one a core"),
    "jobs: -2": ("jobs", "greater than or equal to -1"),
    "seed: -1": ("seed", "greater than or equal to 0"),
    "seed: 2024-13-45": ("", "not a YAML file"),
    "- orientations\n- 20": ("", "'parameter: value'"),
    "20: orientations": ("", "'parameter: value'"),
    "just words": ("", "'parameter: value'"),
    "": ("", "'parameter: value'"),
    "orientations: [20": ("", "not a YAML file"),
    "orientations: 20\n\tseed: 1": ("", "not a YAML file"),
    "crystals: !!python/object/apply:os.getcwd []": ("", "not a YAML file"),
}


@pytest.mark.parametrize("text", BAD)
def test_a_preset_that_does_not_fit(tmp_path, text):
    field, expected = BAD[text]
    path = tmp_path / "mine.yml"
    path.write_text(text + "\n")
    with pytest.raises(UserError) as caught:
        load_preset(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: {field}")
    assert expected in message
    assert "\n" not in message
    assert caught.value.__cause__ is None


def test_a_preset_that_is_not_text(tmp_path):
    path = tmp_path / "mine.yml"
    path.write_bytes(b"\xff\xfe\x00\x01\x80")
    with pytest.raises(UserError, match="not a YAML file"):
        load_preset(path)


def test_no_such_preset(tmp_path):
    with pytest.raises(UserError) as caught:
        load_preset("fast")
    assert str(PRESETS / "fast.yml") in str(caught.value)
    assert all(name in str(caught.value) for name in NAMES)
    with pytest.raises(UserError, match=r"gone\.yml: no such preset"):
        load_preset(tmp_path / "gone.yml")
    (tmp_path / "folder.yml").mkdir()
    with pytest.raises(UserError, match=r"folder\.yml: no such preset"):
        load_preset(tmp_path / "folder.yml")


@given(value=st.floats(allow_nan=True, allow_infinity=True))
def test_thicknesses_are_taken_or_refused_by_their_value(value):
    if 0 < value <= 1e5:
        assert check(SimulationSettings, thicknesses=[value]).thicknesses == (value,)
    else:
        with pytest.raises(UserError, match=r"^here: thicknesses"):
            check(SimulationSettings, where="here: ", thicknesses=[value])


@given(
    name=st.sampled_from(sorted(SimulationSettings.model_fields)),
    value=st.one_of(st.none(), st.text(), st.floats(), st.lists(st.text(), max_size=2)),
)
def test_a_value_of_any_kind_is_taken_or_refused_in_one_line(name, value):
    try:
        message = f"file: {name} {check(SimulationSettings, where='file: ', **{name: value})}"
    except UserError as error:
        message = str(error)
    assert "\n" not in message
    assert message.startswith(f"file: {name}")


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(Exception, match="frozen"):
        settings.SimulationSettings().seed = 3


def test_an_error_of_several_lines_becomes_one():
    assert str(UserError("a:\n  wrong\tvalue\n")) == "a: wrong value"


def test_a_notebook_shows_one_line():
    """In a real IPython: no traceback, nothing but the message."""
    pytest.importorskip("IPython")
    code = "from ediff_utils.core.errors import UserError; raise UserError('q_max: expected\\n 2')"
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--colors=NoColor", "--no-banner", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    shown = (done.stdout + done.stderr).strip().splitlines()
    assert shown == ["Error: q_max: expected 2"]
