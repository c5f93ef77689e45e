"""Niggli cell, Bravais lattice and conventional cell of all 14 lattices."""

from __future__ import annotations

import numpy as np
import pytest
from lattice_patterns import CELLS, conventional_lattice, primitive_lattice
from pymatgen.core import Lattice
from scipy.spatial.transform import Rotation

from ediff_solve.lattice import cell_parameters, find_bravais, niggli_cell, same_lattice
from ediff_solve.lattice.kernels.two_folds import two_fold_obliquities
from ediff_utils.core.errors import UserError

#: Two-fold axes of each lattice system (Le Page 1982, table 1).
TWO_FOLDS = {"a": 0, "m": 1, "o": 3, "t": 5, "hR": 3, "hP": 7, "c": 9}
#: A basis as odd as any.
CHANGE = np.array([[1, 2, 0], [0, 1, -1], [1, 2, 1]])


def odd_basis(symbol: str) -> np.ndarray:
    turn = Rotation.from_euler("zyx", [20, 30, 40], degrees=True).as_matrix()
    return CHANGE @ primitive_lattice(symbol) @ turn


@pytest.mark.parametrize("symbol", CELLS)
def test_symbol_and_conventional_cell(symbol):
    found = find_bravais(odd_basis(symbol))
    assert found.symbol == symbol
    assert found.distortion < 1e-9
    assert np.isnan(found.errors).all()
    np.testing.assert_allclose(cell_parameters(found.conventional), found.parameters)
    assert found.volume == pytest.approx(abs(np.linalg.det(primitive_lattice(symbol))))
    if symbol == "aP":
        expected = Lattice(primitive_lattice(symbol)).get_niggli_reduced_lattice().parameters
        np.testing.assert_allclose(found.parameters[:3], expected[:3])
    elif symbol == "mC":
        # Another choice of a and c may be as good; the lattice is the same.
        assert found.parameters[1] == pytest.approx(CELLS[symbol][1])
    else:
        np.testing.assert_allclose(found.parameters, CELLS[symbol])


@pytest.mark.parametrize("symbol", CELLS)
def test_cells_span_the_lattice_that_was_given(symbol):
    lattice = odd_basis(symbol)
    found = find_bravais(lattice)
    for cell in (found.niggli, found.conventional):
        indices = cell @ np.linalg.inv(lattice)
        np.testing.assert_allclose(indices, np.rint(indices), atol=1e-6)
        assert np.linalg.det(cell) > 0
    ratio = np.linalg.det(found.conventional) / found.volume
    assert ratio == pytest.approx({"P": 1, "C": 2, "I": 2, "R": 3, "F": 4}[symbol[1]])


@pytest.mark.parametrize("symbol", CELLS)
def test_niggli_cell_is_pymatgens(symbol):
    lattice = odd_basis(symbol)
    expected = Lattice(lattice).get_niggli_reduced_lattice().parameters
    np.testing.assert_allclose(cell_parameters(niggli_cell(lattice))[:3], expected[:3], rtol=1e-6)


@pytest.mark.parametrize("symbol", CELLS)
def test_number_of_two_fold_axes(symbol):
    obliquities = two_fold_obliquities(niggli_cell(odd_basis(symbol)), 10)
    expected = TWO_FOLDS.get(symbol, TWO_FOLDS.get(symbol[0]))
    assert (np.diff(obliquities) >= 0).all()
    assert np.count_nonzero(obliquities < 1e-4) == expected


def test_nearly_symmetric_is_symmetric_within_its_errors_alone():
    lattice = np.diag([5.0, 5.02, 5.03])
    covariance = np.eye(6) * 1e-6
    assert find_bravais(lattice, covariance).symbol == "oP"
    found = find_bravais(lattice, covariance * 1e4)
    assert found.symbol == "cP"
    assert found.distortion == pytest.approx((5.03**2 - 5**2) / 25, rel=0.05)
    assert found.parameters[0] == pytest.approx(5.0167, abs=1e-3)


def test_errors_are_those_of_many_trials():
    rng = np.random.default_rng(0)
    lattice, sigma = conventional_lattice("mP"), 0.01
    metric = lattice @ lattice.T
    row, column = (0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)
    trials = []
    for _ in range(200):
        noise = np.zeros((3, 3))
        noise[row, column] = noise[column, row] = sigma * rng.normal(size=6)
        # The same setting every time: the tolerance takes it for monoclinic.
        moved = find_bravais(np.linalg.cholesky(metric + noise), tolerance=0.01)
        trials.append(moved.parameters)
    errors = find_bravais(lattice, np.eye(6) * sigma**2, tolerance=0.01).errors
    np.testing.assert_allclose(np.std(trials, axis=0), errors, rtol=0.2, atol=1e-9)
    assert errors[3] == pytest.approx(0, abs=1e-9)


def test_same_lattice():
    lattice = primitive_lattice("mC")
    assert same_lattice(lattice, odd_basis("mC"))
    assert same_lattice(lattice, lattice * 1.005)
    assert not same_lattice(lattice, lattice * 1.03)
    assert not same_lattice(lattice, np.diag([1, 1, 2]) @ lattice)
    assert not same_lattice(primitive_lattice("cF"), primitive_lattice("cI"))


@pytest.mark.parametrize(
    ("lattice", "message"),
    [
        (np.full((3, 3), np.nan), "three finite vectors"),
        (np.ones((2, 3)), "three finite vectors"),
        (np.diag([1.0, 1.0, 0.0]), "span a volume"),
        (np.zeros((3, 3)), "span a volume"),
    ],
)
def test_no_lattice(lattice, message):
    with pytest.raises(UserError, match=message):
        find_bravais(lattice)


def test_a_cell_that_one_step_of_reduction_does_not_settle():
    """A face-centred cubic cell, off by 4e-5, on which spglib 2.8 with eps 1e-5 finds nothing."""
    lattice = np.array(
        [
            [-1.0452722645175336, 2.908089826972303, 4.039176687179315],
            [-3.5144863840283005, -0.6971069593611938, -3.6094351495108743],
            [0.6007519097610617, 2.1293056701167417, -4.5791644809116185],
        ]
    )
    reduced = niggli_cell(lattice)
    np.testing.assert_allclose(cell_parameters(reduced)[:3], 5.0857, rtol=1e-4)
    assert np.linalg.det(reduced) == pytest.approx(93.0124, rel=1e-4)
    assert find_bravais(lattice).symbol == "cF"
