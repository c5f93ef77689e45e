"""The predictor: checks of spots, boosters and their files, examples, and answers."""

from __future__ import annotations

import hashlib
import io
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lattice_patterns import synthetic_patterns
from other_code import edit
from predictor_world import CARD, make_world

from ediff_solve.lattice.nets import find_net
from ediff_solve.predictor import groups
from ediff_solve.predictor.answering import Predictor
from ediff_solve.predictor.boosting import soften
from ediff_solve.predictor.evidence import NAMES, compute_evidence
from ediff_solve.predictor.few import pool_few
from ediff_solve.predictor.indexing import compute_cells, compute_expected, compute_indexing
from ediff_solve.predictor.report import format_answer
from ediff_solve.predictor.spot_checks import MOST_SPOTS, check_pattern
from ediff_solve.predictor.store import load_models, read_card, save_models
from ediff_solve.predictor.training import examples as examples_module
from ediff_solve.predictor.training.boosting import (
    BoostingSettings,
    _fit_temperature,
    _train_booster,
    train_model,
)
from ediff_solve.predictor.training.card import (
    ONE_GRAIN,
    SURE,
    compute_growth,
    describe,
    find_least_indexed,
    find_thresholds,
    format_figures,
)
from ediff_solve.predictor.training.examples import (
    ExampleSettings,
    build_examples,
    choose_groups,
    read_examples,
)
from ediff_solve.predictor.training.fitting import train_predictor
from ediff_solve.predictor.training.judging import ask_dataset
from ediff_solve.predictor.zone_net import describe_net
from ediff_utils.core.errors import UserError
from ediff_utils.crystals.groups import LAST_GROUPS, NUMBERED_SYSTEMS, laue_group

#: Lattices of a small world with one space group each.
WORLD = {"cF": 225, "cP": 221, "hP": 191, "tP": 123, "oI": 71, "mC": 12}
SMALL = BoostingSettings(
    rounds=12, group_rounds=5, min_data_in_leaf=2, num_leaves=7, jobs=1, feature_fraction=0.5
)


class TestGroups:
    @given(st.lists(st.floats(0, 1), min_size=230, max_size=230).filter(lambda p: sum(p) > 0))
    def test_sums_agree(self, numbers):
        probabilities = np.array(numbers) / sum(numbers)
        systems = groups.sum_classes(probabilities, "system")
        first = np.array([0, *LAST_GROUPS[:-1]])
        sums = np.add.reduceat(probabilities, first)
        np.testing.assert_allclose([systems[name] for name in NUMBERED_SYSTEMS], sums, atol=1e-12)
        for kind in ("system", "laue_class", "bravais"):
            found = groups.sum_classes(probabilities, kind)
            assert sum(found.values()) == pytest.approx(1)
            assert list(found.values()) == sorted(found.values(), reverse=True)
        assert len(groups.sum_classes(probabilities, "laue_class")) == len(
            {laue_group(n) for n in range(1, 231)}
        )


class TestSpotChecks:
    def spots(self):
        return synthetic_patterns("oP", 1, seed=0)[0]

    def test_good_spots_stay_as_they_are(self):
        qx, qy, intensity = self.spots()
        found = check_pattern(qx, qy, intensity)
        assert found.usable
        assert not found.notes
        np.testing.assert_array_equal(found.qx, qx)
        np.testing.assert_array_equal(check_pattern(qx, qy).intensity, 1)

    def test_what_is_left_out_is_said(self):
        qx, qy, intensity = self.spots()
        n = len(qx)
        qx = np.concatenate([[0.001], qx, qx[:2], [0.5]])
        qy = np.concatenate([[0], qy, qy[:2], [0.123]])
        intensity = np.concatenate([[99], intensity, intensity[:2], [0]])
        found = check_pattern(qx, qy, intensity)
        assert len(found.qx) == n
        assert [note.split(" left out")[0] for note in found.notes] == [
            "direct beam",
            "1 spot of no intensity",
            "2 spots listed twice",
        ]

    @pytest.mark.parametrize("n", [0, 1, 4])
    def test_few_spots_tell_nothing(self, n):
        found = check_pattern(np.arange(1, n + 1) * 0.1, np.arange(n) * 0.2)
        assert not found.usable
        plural = "" if n == 1 else "s"
        assert f"cannot tell: {n} spot{plural}, expected at least 5" in found.notes[-1]

    def test_a_line_tells_nothing(self):
        q = np.linspace(-1, 1, 9)
        found = check_pattern(q, 2 * q)
        assert not found.usable
        assert "on one line" in found.notes[-1]

    @pytest.mark.parametrize(
        ("change", "line"),
        [
            (lambda x, y, i: (x * np.nan, y, i), "finite"),
            (lambda x, y, i: (x, y, -i), "not negative"),
            (lambda x, y, i: (x, y[1:], i), "one length"),
            (lambda x, y, i: (128 + 60 * x, 128 + 60 * y, i), "pixels"),
            (lambda x, y, i: (60 * x, 60 * y, i), "pixels, 1/nm or a factor 2 pi"),
            (lambda x, y, i: (10 * x, 10 * y, i), "1/nm"),
            (lambda x, y, i: (2 * np.pi * x, 2 * np.pi * y, i), "2 pi"),
            (lambda x, y, i: tuple(np.resize(a, MOST_SPOTS + 1) for a in (x, y, i)), "20001 spots"),
        ],
    )
    def test_mistakes_get_a_line(self, change, line):
        with pytest.raises(UserError, match=line) as caught:
            check_pattern(*change(*self.spots()), where="file.csv: ")
        assert str(caught.value).startswith("file.csv: ")
        assert "\n" not in str(caught.value)


class TestBoosting:
    @given(st.floats(0.5, 2.5))
    def test_temperature_is_found_again(self, temperature):
        rng = np.random.default_rng(0)
        true = rng.dirichlet(np.full(4, 0.7), size=4000)
        truth = np.array([rng.choice(4, p=p) for p in true])
        spoilt = soften(true, 1 / temperature)
        assert _fit_temperature(spoilt, truth) == pytest.approx(temperature, rel=0.15)

    def test_one_class_needs_no_trees(self):
        booster = _train_booster(np.zeros((5, 3)), np.full(5, 7), np.zeros(5, bool), SMALL)
        assert booster.trees is None
        np.testing.assert_array_equal(booster.probabilities(np.zeros((2, 3))), 1)
        with pytest.raises(UserError, match="to train on"):
            _train_booster(np.zeros((2, 3)), np.ones(2), np.ones(2, bool), SMALL)

    def test_probabilities_of_groups(self):
        rng = np.random.default_rng(1)
        truth = np.repeat([2, 14, 62, 225, 221], 60)
        vectors = rng.normal(size=(300, 6)) + 3 * (np.arange(300)[:, None] // 60)
        held_out = rng.random(300) < 0.2
        model = train_model(vectors.astype(np.float32), truth, held_out, SMALL)
        found = model.probabilities(vectors[held_out])
        np.testing.assert_allclose(found.sum(axis=1), 1)
        assert set(np.flatnonzero(found.any(axis=0)) + 1) == set(truth)
        systems = model.systems(vectors[held_out])
        first = [0, *LAST_GROUPS[:-1]]
        np.testing.assert_allclose(systems, np.add.reduceat(found, first, axis=1), atol=1e-12)
        assert model.systems(vectors[:0]).shape == (0, len(NUMBERED_SYSTEMS))
        assert (1 + found.argmax(axis=1) == truth[held_out]).mean() > 0.7

    def test_the_same_seed_gives_the_same_trees(self):
        rng = np.random.default_rng(2)
        vectors, truth = rng.normal(size=(80, 5)), np.repeat([10, 20], 40)
        one, other = (
            _train_booster(vectors, truth, np.zeros(80, bool), SMALL).trees for _ in range(2)
        )
        for own, its in zip(one, other, strict=True):
            np.testing.assert_array_equal(own, its)


@pytest.fixture(scope="module")
def world():
    """Examples of a small world: index, vectors, crystals and split."""
    return make_world(WORLD, 10)


@pytest.fixture(scope="module")
def models(world):
    return train_predictor(*world, SMALL)


class TestTraining:
    def test_unseen_materials_are_told(self, world, models):
        index, vectors, crystals, split = world
        test = index["material_id"].isin(split.loc[split["part"] == "test", "material_id"])
        rows = np.flatnonzero(test & (index["patterns"] == 3))
        truth = crystals.set_index("material_id").loc[index["material_id"].iloc[rows]]
        said = models["several"].probabilities(vectors[rows]).argmax(axis=1) + 1
        assert len(rows) == 12
        assert (said == truth["space_group"]).mean() > 0.7

    def test_rounds_are_told(self, world):
        seen = []
        train_predictor(*world, SMALL, on_round=lambda kind, n: seen.append((kind, n)))
        assert {kind for kind, _ in seen} == {"single", "several"}
        assert max(n for _, n in seen) <= SMALL.rounds

    def test_no_examples(self, world):
        index, vectors, crystals, split = world
        with pytest.raises(UserError, match="found none of training materials for 'single'"):
            train_predictor(index.iloc[:0], vectors[:0], crystals, split, SMALL)

    def test_trees_are_gone_on_from(self, world):
        """The first trees stay as they are, others are added, and a kind without examples stays."""
        index, vectors, crystals, split = world
        first = train_predictor(index, vectors, crystals, split, SMALL)
        alone = (index["patterns"] == 1).to_numpy()
        more = train_predictor(
            index[alone], vectors[alone], crystals, split, SMALL, start=first, on_round=None
        )
        assert more["several"] is first["several"]
        own, other = first["single"].system.trees, more["single"].system.trees
        assert len(other.leaves) > len(own.leaves)
        for before, after in zip(own, other, strict=True):
            np.testing.assert_array_equal(after[: len(before)], before)
        # The further ones ask for the net of a zone alone.
        added = other.feature[len(own.feature) :]
        assert all(NAMES[n].startswith("net_") for n in added)
        np.testing.assert_array_equal(more["single"].system.classes, first["single"].system.classes)


class TestGrowth:
    def test_shares_of_right_answers(self):
        table = pd.DataFrame(
            {
                "material_id": list("abcabc"),
                "condition": "clean",
                "patterns": [1, 1, 1, 1, 10, 10],
                "true_system": "cubic",
                "system": ["cubic", "cubic", "cubic", "trigonal", "cubic", "trigonal"],
                "confidence": 0.5,
                "rank": [1, 2, 6, 9, 1, 5],
            }
        )
        found = compute_growth(table).set_index(["condition", "patterns"])
        assert found.loc[("clean", 1), ["system", "space_group", "first_five", "n"]].tolist() == [
            0.75, 0.25, 0.5, 4,
        ]  # fmt: skip
        assert found.loc[("clean", 10), "first_five"] == 1
        # Wilson (1927): three of four at 95 %.
        assert found.loc[("clean", 1), "system_low"] == pytest.approx(0.3006, abs=1e-3)
        assert found.loc[("clean", 1), "system_high"] == pytest.approx(0.9544, abs=1e-3)


class TestDescribe:
    def test_cannot_tell_is_wrong_and_counted_apart(self):
        """Four patterns: sure and right, not sure and right, not sure and wrong, cannot tell."""
        nothing, wrong = None, "trigonal"
        table = pd.DataFrame(
            {
                "material_id": list("abcd") * 2,
                "condition": "clean",
                "patterns": [1] * 4 + [10] * 4,
                "spots": 20.0,
                "thickness": 200.0,
                "status": ["sure", "not sure", "not sure", "cannot tell"] * 2,
                "true_system": "cubic",
                "system": ["cubic", "cubic", wrong, nothing] * 2,
                "confidence": [0.9, 0.6, 0.5, 0.0] * 2,
                "rank": [1, 2, 6, 231] * 2,
                **dict.fromkeys(("length_1", "length_2", "length_3"), 4.0),
                **dict.fromkeys(("error_1", "error_2", "error_3"), [0.04, 0.04, 0.04, np.inf] * 2),
            }
        )
        found = describe(table)["clean"]
        for name in ("one", "ten"):
            assert found[name] == 0.5
            assert found[f"cannot_tell_{name}"] == 0.25
            assert found[f"right_of_told_{name}"] == pytest.approx(2 / 3)
            assert found[f"sure_{name}"] == 0.25
            assert found[f"right_of_sure_{name}"] == 1
            assert found[f"space_group_top1_{name}"] == 0.25
            assert found[f"space_group_top5_{name}"] == 0.5
            # Of three answers, each in a bin of its own.
            assert found[f"ece_{name}"] == pytest.approx((0.1 + 0.4 + 0.5) / 3)
        assert found["axes_relative_ten"] == pytest.approx(0.01)
        assert found["by_system"]["cubic"]["said_ten"]["cannot tell"] == 0.25
        assert found["by_spots"] == [{"from": 15, "to": 30, "accuracy": 0.5, "n": 4}]
        lines = format_figures({"clean": found})
        assert f"{'cannot tell, one pattern':40}    25.0 %" in lines
        never = describe(table.assign(status="not sure"))["clean"]
        assert never["right_of_sure_one"] is None
        assert f"{'right where it is sure, one pattern':40}         -" in format_figures(
            {"x": never}
        )


class TestThresholds:
    @given(st.integers(0, 50))
    @settings(max_examples=10, deadline=None)
    def test_answers_as_confident_as_the_threshold_are_right_so_often(self, seed):
        """Nine in ten of calibrated answers are right where their confidence is 0.9."""
        rng = np.random.default_rng(seed)
        confidence = rng.uniform(0.3, 1, 20_000)
        right = rng.random(len(confidence)) < confidence
        table = pd.DataFrame(
            {
                "material_id": "a",
                "patterns": rng.integers(1, 3, len(confidence)),
                "true_system": "cubic",
                "system": np.where(right, "cubic", "trigonal"),
                "confidence": confidence,
                "one_zone": False,
            }
        )
        found = find_thresholds(table)
        # Even where most answers are right, those of low confidence are not sure.
        assert found["single"] == pytest.approx(SURE, abs=0.04)
        assert found["several"] == pytest.approx(SURE, abs=0.04)
        never = table.assign(system="trigonal")
        assert find_thresholds(never) == {"single": 1.0, "zone": 1.0, "several": 1.0}

    def test_patterns_of_one_zone_have_a_threshold_of_their_own(self):
        rng = np.random.default_rng(5)
        confidence, flat = rng.uniform(0.3, 1, 20_000), rng.random(20_000) < 0.5
        # Too confident by a tenth where one zone is all that is seen.
        right = rng.random(len(confidence)) < confidence - 0.1 * flat
        columns = {"patterns": 1, "true_system": "cubic", "confidence": confidence}
        table = pd.DataFrame(columns).assign(one_zone=flat)
        found = find_thresholds(table.assign(system=np.where(right, "cubic", "trigonal")))
        assert found["zone"] - found["single"] == pytest.approx(0.1, abs=0.05)

    def test_least_indexed_is_of_each_kind(self):
        table = pd.DataFrame({"patterns": [1] * 101 + [10] * 101})
        table["one_zone"] = False
        table["indexed"] = [*np.linspace(0, 1, 101), *np.linspace(0.5, 1, 101)]
        found = find_least_indexed(table)
        assert found["single"] == pytest.approx(ONE_GRAIN)
        assert found["several"] == pytest.approx(0.5 + ONE_GRAIN / 2)


class TestOneZone:
    """Of a pattern of one zone alone its net is told, and no cell."""

    @pytest.fixture(scope="class")
    def predictor(self):
        return Predictor.load()

    @staticmethod
    def molybdite(rng, shear=0.0):
        """Spots of alpha-MoO3 along its long axis, sheared by an angle [degree].

        a 3.963, b 13.855, c 3.696 angstrom (Sitepu, Powder Diffraction 24, 315, 2009). Out to
        1.1 1/angstrom the plane's spots alone are near the Ewald sphere.
        """
        step = np.array([1 / 3.963, 1 / 3.696])
        hk = np.array([(h, k) for h in range(-4, 5) for k in range(-4, 5) if h or k])
        points = hk * step
        points = points[np.hypot(*points.T) < 1.1]
        points = points @ np.array([[1, 0], [np.tan(np.radians(shear)), 1]])
        angle = rng.uniform(0, 2 * np.pi)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        measured = points @ turn + rng.normal(0, 0.0015, points.shape)
        return (*measured.T, rng.exponential(1, len(points)) * np.exp(-((points**2).sum(axis=1))))

    @pytest.mark.parametrize("shear", [0.0, 3.0])
    @pytest.mark.parametrize("seed", range(4))
    def test_the_net_is_printed_and_no_long_axis(self, predictor, shear, seed):
        """A pattern of MoO3 along [010] had a cell with an axis of 102 angstrom."""
        answer = predictor.predict([self.molybdite(np.random.default_rng(seed), shear)])
        assert answer.lattice is None
        assert answer.net.lengths == pytest.approx([1 / 3.963, 1 / 3.696], rel=0.01)
        assert answer.net.angle == pytest.approx(90 - shear, abs=0.4)
        assert answer.net.share > 0.9
        text = format_answer(answer)
        assert "third axis       not seen" in text
        assert "cell solved" not in text
        packed = answer.to_dict()
        assert packed["lattice"] is None
        assert packed["net"]["third_axis"] == "not seen"
        json.dumps(packed)

    def test_spots_of_other_layers_are_a_cell(self, predictor):
        answer = predictor.predict([synthetic_patterns("tP", 1, seed=4)[0]])
        assert answer.net is None
        assert answer.lattice is not None

    @pytest.mark.parametrize(
        ("two", "angle", "shape", "group"),
        [
            (0.2, 90, "square", "p4mm"),
            (0.2, 60, "hexagonal", "p6mm"),
            (0.31, 90, "rectangular", "p2mm"),
            (0.2, 75, "centred rectangular", "c2mm"),
            (0.31, np.degrees(np.arccos(0.1 / 0.31)), "centred rectangular", "c2mm"),
            (0.31, 82, "oblique", "p2"),
        ],
    )
    def test_shapes_of_nets(self, two, angle, shape, group):
        """Nets of plane lattices as International Tables A, 2.1.3, has them."""
        a = np.array([0.2, 0.0])
        b = two * np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
        hk = np.array([(h, k) for h in range(-4, 5) for k in range(-4, 5) if h or k])
        rng = np.random.default_rng(2)
        points = hk @ np.array([a, b]) + rng.normal(0, 5e-4, hk.shape)
        points = points[np.hypot(*points.T) < 1.0]
        net = find_net(*points.T, rng.exponential(1, len(points)), 300e3)
        found = describe_net(net, 300e3)
        assert (found.shape, found.plane_group) == (shape, group)
        assert found.lengths == pytest.approx([0.2, two], rel=3e-3)


class TestStore:
    def test_round_trip(self, world, models, tmp_path):
        save_models(models, CARD | {"about": "a small world"}, tmp_path / "small")
        found, card = load_models(tmp_path / "small")
        assert card["about"] == "a small world"
        for kind, model in models.items():
            np.testing.assert_array_equal(
                found[kind].probabilities(world[1]), model.probabilities(world[1])
            )
        before = {p.name: p.read_bytes() for p in (tmp_path / "small").iterdir()}
        save_models(models, CARD | {"about": "a small world"}, tmp_path / "small")
        assert {p.name: p.read_bytes() for p in (tmp_path / "small").iterdir()} == before

    def broken(self, models, tmp_path, change):
        save_models(models, CARD, tmp_path)
        change(tmp_path)
        with pytest.raises(UserError) as caught:
            load_models(tmp_path)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_truncated(self, models, tmp_path):
        def cut(folder):
            path = folder / "single.npz"
            path.write_bytes(path.read_bytes()[:-100])

        assert "single.npz: cut short" in self.broken(models, tmp_path, cut)

    def test_exchanged(self, models, tmp_path):
        def exchange(folder):
            (folder / "single.npz").write_bytes((folder / "several.npz").read_bytes())

        assert "not the one that card.json" in self.broken(models, tmp_path, exchange)

    def test_foreign(self, models, tmp_path):
        def replace(folder):
            archive = io.BytesIO()
            np.savez_compressed(archive, **{"system.classes": np.arange(7)})
            data = archive.getvalue()
            (folder / "single.npz").write_bytes(data)
            card = json.loads((folder / "card.json").read_text())
            card["sha256"]["single"] = hashlib.sha256(data).hexdigest()
            (folder / "card.json").write_text(json.dumps(card))

        assert "not a predictor's boosters" in self.broken(models, tmp_path, replace)

    @pytest.mark.parametrize(
        ("name", "value"), [("features", "other"), ("evidence", 0), ("evidence", None)]
    )
    def test_of_another_version(self, models, tmp_path, name, value):
        def age(folder):
            card = json.loads((folder / "card.json").read_text())
            card[name] = value
            card["packages"]["ediff-utils"] = "0.0.1"
            (folder / "card.json").write_text(json.dumps(card))

        assert "made by version 0.0.1" in self.broken(models, tmp_path, age)

    def test_missing(self, models, tmp_path):
        with pytest.raises(UserError, match="no predictor there"):
            read_card(tmp_path / "nowhere")
        assert "missing" in self.broken(
            models, tmp_path, lambda folder: (folder / "several.npz").unlink()
        )
        (tmp_path / "card.json").write_text("{")
        with pytest.raises(UserError, match="damaged"):
            read_card(tmp_path)


class TestFew:
    @given(st.integers(2, 4), st.integers(0, 99))
    def test_pool(self, n, seed):
        rng = np.random.default_rng(seed)
        together, *alone = rng.dirichlet(np.full(230, 0.3), n + 1)
        found = pool_few(together, np.array(alone), n)
        assert found.sum() == pytest.approx(1)
        # Order does not matter, and what all agree upon wins.
        np.testing.assert_allclose(pool_few(together, np.array(alone[::-1]), n), found, rtol=1e-9)
        agreed = pool_few(together, np.tile(together, (n, 1)), n)
        assert agreed.argmax() == together.argmax()

    def test_no_pattern_alone_rules_out_what_the_others_say(self):
        sure = np.zeros(230)
        sure[224] = 1.0
        other = np.zeros(230)
        other[0] = 1.0
        found = pool_few(sure, np.array([sure, sure, other]), 3)
        assert found.argmax() == 224
        assert found[224] < 1


class TestPredictor:
    @pytest.fixture(scope="class")
    def predictor(self, models):
        return Predictor(models, CARD)

    def test_two_lines(self, models, tmp_path):
        save_models(models, CARD, tmp_path)
        answer = Predictor.load(tmp_path).predict(synthetic_patterns("cF", 3, seed=77))
        assert answer.system == "cubic"

    @pytest.mark.parametrize("n", [1, 4])
    def test_an_answer(self, predictor, n):
        patterns = synthetic_patterns("tP", n, seed=55)
        answer = predictor.predict(patterns)
        assert answer.status == "sure"
        assert answer.system == "tetragonal"
        assert next(iter(answer.bravais_lattices)) == "tP"
        assert answer.space_groups[0][:2] == (123, "P4/mmm")
        assert len(answer.space_groups) == 5
        assert answer.indexed > 0.9
        if n > 1:
            np.testing.assert_allclose(answer.lattice.parameters[:3], [4.29, 4.29, 6.13], rtol=1e-3)
        packed = json.loads(json.dumps(answer.to_dict()))
        assert packed["system"] == "tetragonal"
        assert packed["lattice"]["bravais"] == answer.lattice.symbol

    @pytest.mark.parametrize("n", [2, 3, 4, 5])
    def test_few_patterns_count_alone_and_together(self, models, predictor, n):
        patterns = synthetic_patterns("oI", n, seed=5)
        found = predictor.predict(patterns).probabilities
        together = models["several"].probabilities(compute_evidence(patterns).vector[None])[0]
        singles = [compute_evidence([pattern]).vector for pattern in patterns]
        alone = models["single"].probabilities(np.array(singles))
        expected = together if n > 4 else pool_few(together, alone, n)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)
        assert found.sum() == pytest.approx(1)
        assert n > 4 or not np.allclose(found, together)

    def test_poor_patterns_beside_good_ones(self, predictor):
        patterns = synthetic_patterns("tP", 3, seed=55)
        answer = predictor.predict([(np.array([0.3, 0.5]), np.ones(2)), *patterns])
        assert answer.system == "tetragonal"
        assert np.isnan(answer.fits[0])
        assert np.isfinite(answer.fits[1:]).all()
        assert answer.notes[0].startswith("pattern 1: cannot tell")

    def test_nothing_to_tell(self, predictor):
        answer = predictor.predict([(np.arange(4) * 0.2, np.ones(4) * 0.1)])
        assert (answer.status, answer.system, answer.confidence) == ("cannot tell", None, 0.0)
        assert json.loads(json.dumps(answer.to_dict()))["lattice"] is None
        with pytest.raises(UserError, match="expected 1 to"):
            predictor.predict([])
        with pytest.raises(UserError, match="pattern 2: spots"):
            predictor.predict([(np.ones(3), np.ones(3)), (np.ones(5), np.ones(4))])

    def test_noise_is_not_a_confident_answer(self, predictor):
        rng = np.random.default_rng(0)
        patterns = [tuple(rng.uniform(-1.5, 1.5, (2, 60))) for _ in range(4)]
        answer = predictor.predict(patterns)
        assert answer.status != "sure" or any("do not fit" in note for note in answer.notes)

    def test_a_low_confidence_is_not_sure(self, models):
        careful = Predictor(
            models, CARD | {"thresholds": {"single": 1.01, "several": 1.01, "zone": 1.01}}
        )
        assert careful.predict(synthetic_patterns("tP", 3, seed=55)).status == "not sure"


class TestExamples:
    @pytest.fixture
    def dataset(self, tmp_path):
        """Two crystals of five patterns, in two row groups."""
        folder = tmp_path / "patterns"
        folder.mkdir()
        tables = []
        for symbol in ("cP", "oI"):
            spots = synthetic_patterns(symbol, 5, seed=3)
            columns = {
                "material_id": [symbol] * 5,
                "pattern": np.arange(5, dtype=np.int32),
                "thickness": np.full(5, 200.0, np.float32),
                "zone_axis_cartesian": pa.array([[0.0, 0.0, 1.0]] * 5, pa.list_(pa.float32(), 3)),
            }
            for k, name in enumerate(("qx", "qy", "intensity")):
                columns[name] = pa.array([p[k].astype(np.float32) for p in spots])
            tables.append(pa.table(columns))
        with pq.ParquetWriter(folder / "part-00000.parquet", tables[0].schema) as writer:
            for table in tables:
                writer.write_table(table)
        return folder

    def test_build_and_go_on(self, dataset, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(examples_module, "part_files", lambda f: sorted(f.glob("part-*")))
        settings = ExampleSettings(singles=2, together=(3,), random_sizes=(2, 4))
        folder = build_examples(dataset, tmp_path / "out", settings, jobs=1, progress=False)
        index, vectors = read_examples(folder)
        assert vectors.shape == (len(index), len(NAMES))
        assert index.groupby("material_id")["patterns"].apply(list).map(sorted).map(
            lambda sizes: sizes[:2]
        ).tolist() == [[1, 1], [1, 1]]
        assert (index["thickness"] == 200).all()
        # What is there is left alone; what is gone is made again, and is the same.
        files = sorted(folder.iterdir())
        before = files[1].read_bytes()
        stamp = files[0].stat().st_mtime_ns
        files[1].unlink()
        build_examples(dataset, tmp_path / "out", settings, jobs=1, progress=False)
        assert files[1].read_bytes() == before
        assert files[0].stat().st_mtime_ns == stamp
        # So is what other code or other patterns made.
        assert capsys.readouterr().err == ""
        edit(monkeypatch, "ediff_solve.lattice.bravais")
        build_examples(dataset, tmp_path / "out", settings, jobs=1, progress=False)
        line = "examples: made again, since ediff_solve.lattice.bravais has changed\n"
        assert capsys.readouterr().err == line
        assert files[0].stat().st_mtime_ns != stamp
        part = dataset / "part-00000.parquet"
        pq.write_table(pq.read_table(part), part, row_group_size=5, compression="zstd")
        build_examples(dataset, tmp_path / "out", settings, jobs=1, progress=False)
        assert capsys.readouterr().err == "examples: made again, since patterns are others\n"
        # Other settings make all of it anew.
        build_examples(
            dataset,
            tmp_path / "out",
            settings.model_copy(update={"condition": "detector"}),
            jobs=1,
            progress=False,
        )
        assert set(read_examples(folder)[0]["condition"]) == {"detector"}
        with pytest.raises(UserError, match="clean, detector"):
            build_examples(dataset, tmp_path, ExampleSettings(condition="other"))
        with pytest.raises(UserError, match="no examples"):
            read_examples(tmp_path / "nowhere")

    @given(st.integers(1, 30), st.integers(0, 10), st.integers(0, 4))
    def test_groups(self, n, singles, drawn):
        settings = ExampleSettings(singles=singles, together=(10,), random_groups=drawn)
        found = choose_groups(n, settings, "mp-1")
        assert sum(len(g) == 1 for g in found) == min(singles, n)
        assert all(len(np.unique(g)) == len(g) and g.max() < n for g in found)
        again = choose_groups(n, settings, "mp-1")
        assert [g.tolist() for g in found] == [g.tolist() for g in again]

    def test_answers_are_those_of_predict(self, models, dataset, tmp_path, monkeypatch):
        """Asked block by block, and of a table of no more patterns than are needed."""
        monkeypatch.setattr(examples_module, "part_files", lambda f: sorted(f.glob("part-*")))
        save_models(models, CARD, tmp_path / "model")
        predictor = Predictor.load(tmp_path / "model")
        settings = ExampleSettings(singles=2, together=(3,), random_sizes=(2, 3))
        labels = pd.DataFrame({"material_id": ["cP", "oI"], "space_group": [221, 71]})
        labels = labels.assign(a=4.0, b=5.0, c=6.0)
        labels["conventional_lattice"] = [np.diag([4.0, 5.0, 6.0]).ravel()] * 2

        def ask(patterns, folder="answers"):
            where = (tmp_path / "model", patterns, tmp_path / folder, settings, labels)
            return ask_dataset(*where, jobs=1, progress=False)

        # Of one of the patterns too few spots are left to tell anything.
        table = pq.read_table(dataset / "part-00000.parquet")
        blind = choose_groups(5, settings, "cP")[0][0]
        columns = {name: table[name].to_pylist() for name in table.column_names}
        for name in ("qx", "qy", "intensity"):
            columns[name][blind] = columns[name][blind][:2]
        table = pa.table(columns, schema=table.schema)
        pq.write_table(table, dataset / "part-00000.parquet", row_group_size=5)
        found = ask(dataset)
        assert found["material_id"].tolist() == ["cP"] * 4 + ["oI"] * 4
        for name, own in found.groupby("material_id"):
            part = table.filter(pa.compute.equal(table["material_id"], name)).to_pydict()
            for chosen, row in zip(
                choose_groups(5, settings, name), own.to_dict("records"), strict=True
            ):
                spots = [
                    [np.array(part[k][j], float) for k in ("qx", "qy", "intensity")] for j in chosen
                ]
                said = predictor.predict(spots)
                assert row["status"] == said.status
                assert row["confidence"] == pytest.approx(said.confidence, abs=1e-6)
                if said.system is None:
                    assert pd.isna(row["system"])
                    assert (row["space_group"], row["rank"]) == (0, 231)
                    assert row["error_1"] == np.inf
                    continue
                assert (row["system"], row["space_group"]) == (said.system, said.space_groups[0][0])
                order = np.argsort(-said.probabilities, kind="stable").tolist()
                assert order[row["rank"] - 1] == row["true_space_group"] - 1
                errors = np.abs(np.sort(said.lattice.parameters[:3]) - [4, 5, 6])
                assert [row[f"error_{k}"] for k in (1, 2, 3)] == pytest.approx(errors, abs=1e-5)
        assert found["status"].iloc[0] == "cannot tell"
        # No more patterns than are needed, which say which they are.
        thin = tmp_path / "thin"
        thin.mkdir()
        for n, name in enumerate(("cP", "oI")):
            part = table.filter(pa.compute.equal(table["material_id"], name))
            used = np.unique(np.concatenate(choose_groups(5, settings, name)))
            part = part.take(used).append_column("position", pa.array(used))
            part = part.append_column("of", pa.array([5] * len(used)))
            pq.write_table(part, thin / f"part-{n:05d}.parquet")
        pd.testing.assert_frame_equal(ask(thin, "others"), found)
        # What is there is not asked again, but where the predictor is another.
        stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "answers").iterdir()}
        ask(dataset)
        assert {p: p.stat().st_mtime_ns for p in (tmp_path / "answers").iterdir()} == stamps
        never = CARD | {"thresholds": {"single": 1.1, "several": 1.1, "zone": 1.1}}
        save_models(models, never, tmp_path / "model")
        assert set(ask(dataset)["status"]) == {"not sure", "cannot tell"}


class TestIndexing:
    @pytest.mark.parametrize("n", [1, 4])
    def test_spots_lie_where_the_lattice_has_them(self, n):
        patterns = synthetic_patterns("oP", n, seed=21)
        evidence = compute_evidence(patterns)
        table = compute_indexing(evidence, n - 1)
        qx, _, intensity = patterns[n - 1]
        np.testing.assert_allclose(table["qx"], qx[table["spot"]])
        np.testing.assert_allclose(table["intensity"], intensity[table["spot"]])
        fits = table[table["indexed"]]
        assert len(fits) > 0.9 * len(table)
        assert fits["distance"].max() < 1e-3
        assert fits["excitation_error"].abs().max() < 0.05
        reciprocal = 1 / evidence.bravais.parameters[:3]
        g = np.linalg.norm(fits[["h", "k", "l"]].to_numpy(float) * reciprocal, axis=1)
        if n > 1:
            np.testing.assert_allclose(g, np.hypot(fits["qx"], fits["qy"]), rtol=0.02)
        expected = compute_expected(evidence, n - 1, slab=0.03)
        near = np.abs(expected[:, None] - fits[["qx", "qy"]].to_numpy()).max(axis=2).min(axis=0)
        assert (near < 2e-3).mean() > 0.9

    @pytest.mark.parametrize("n", [1, 3])
    def test_cells_that_were_found(self, n):
        evidence = compute_evidence(synthetic_patterns("tP", n, seed=23))
        cells = compute_cells(evidence)
        assert len(cells) == max(len(evidence.candidates), 1 + len(evidence.rivals) if n > 1 else 0)
        first = cells.iloc[0]
        assert first["bravais"] == evidence.bravais.symbol == "tP"
        assert first["c"] == pytest.approx(6.13, rel=0.01)
        assert first["volume"] == pytest.approx(first["a"] ** 2 * first["c"], rel=1e-3)
        assert 0.9 < first["indexed"] <= 1
        assert first["gain"] == cells["gain"].max()

    def test_mistakes(self):
        evidence = compute_evidence([(np.arange(3.0), np.ones(3), np.ones(3))])
        with pytest.raises(UserError, match="no lattice"):
            compute_indexing(evidence)
        evidence = compute_evidence(synthetic_patterns("cP", 1, seed=0))
        with pytest.raises(UserError, match="expected 0 to 0, got 3"):
            compute_expected(evidence, 3)
