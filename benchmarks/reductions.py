"""Two ideas that could save work on a pattern of 20 nm, against what we use, one core.

    python benchmarks/reductions.py [--crystals table.parquet]

Bethe potentials: only strong beams are propagated, weak ones are folded into the couplings of the
strong ones to second order (De Graef 2003, section 5.5). Batches: the matrices of several
orientations of one crystal, filled up to one size, are multiplied together instead of one after the
other. Writes ``reductions`` into ``benchmarks/results.json``.
"""

from __future__ import annotations

import timing

timing.use_one_core()

import click
import numpy as np
import pandas as pd
from cases import (
    FLOOR,
    ONE,
    choose_crystals,
    choose_orientation,
    record,
)
from numba import njit

from ediff_utils.bloch.dataset.checks import dense_intensities
from ediff_utils.bloch.exit_wave import exit_waves
from ediff_utils.bloch.kernels.packed import ROWS, multiply, pack_matrix
from ediff_utils.bloch.orientations import random_orientations
from ediff_utils.bloch.simulation import (
    BlochCrystal,
    find_beams,
    full_matrix,
    prepare,
    propagate_beams,
)
from ediff_utils.crystals.crystal import Crystal

#: Fractions of the beams that are kept as strong.
FRACTIONS = (0.25, 0.5, 0.75)
#: Orientations that are multiplied together.
BATCH = 8
#: Products of one pattern of 20 nm, by Lanczos steps.
PRODUCTS = 89


@njit
def pack_dense(matrix: np.ndarray, planes: int) -> tuple[np.ndarray, np.ndarray]:
    """Pack a Hermitian matrix as :func:`ediff_utils.bloch.kernels.packed.pack_matrix` does."""
    n = matrix.shape[0]
    n_blocks = (n + ROWS - 1) // ROWS
    blocks = np.zeros(planes * ROWS * ROWS * (n_blocks * (n_blocks - 1) // 2), np.float32)
    corners = np.zeros((n_blocks, planes, ROWS, ROWS), np.float32)
    offset = 0
    for block in range(n_blocks):
        first = ROWS * block
        for plane in range(planes):
            for r in range(ROWS):
                if first + r < n:
                    for j in range(min(first + ROWS, n)):
                        entry = matrix[first + r, j]
                        value = entry.imag if plane else entry.real
                        if j < first:
                            blocks[offset + j] = value
                        else:
                            corners[block, plane, r, j - first] = value
                offset += first
    return blocks, corners


def find_strong(
    matrix: np.ndarray, excitation_error: np.ndarray, by: str, fraction: float
) -> np.ndarray:
    """Which beams are strong: the direct one and those that rank first.

    Parameters
    ----------
    matrix : ndarray, shape (n, n)
    excitation_error : ndarray, shape (n,)
        [1/angstrom]
    by : {"excitation error", "coupling"}
        Small |s_g|, or small |s_g| against the coupling to the direct beam.
    fraction : float
        Of the beams that are kept.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    rank = np.abs(excitation_error)
    if by == "coupling":
        rank = rank / (np.abs(matrix[:, 0]) + 1e-9)
    rank[0] = -1
    strong = np.zeros(len(rank), bool)
    strong[np.argsort(rank)[: max(2, round(fraction * len(rank)))]] = True
    return strong


def bethe_waves(
    bloch: BlochCrystal, orientation: np.ndarray, by: str, fraction: float
) -> tuple[np.ndarray, np.ndarray]:
    """Strong beams, as rows of what ``find_beams`` returns, and their exit waves."""
    index, error = find_beams(bloch, orientation)
    matrix = full_matrix(bloch, index, error)
    strong = find_strong(matrix, error, by, fraction)
    kept, weak = np.flatnonzero(strong), np.flatnonzero(~strong)
    between = matrix[np.ix_(kept, weak)]
    # A_ss + A_sw (E - D_w)^-1 A_ws, where D_w holds the weak beams' excitation errors and E = 0.
    scaled = between / -error[weak].astype(np.float32)
    effective = matrix[np.ix_(kept, kept)] + scaled @ between.conj().T
    planes = len(bloch.planes)
    blocks, corners = pack_dense(effective, planes)
    diagonal = np.ascontiguousarray(np.diag(effective).real)
    return kept, exit_waves(blocks, corners, diagonal, ONE.thicknesses)


def compare_bethe(crystal: Crystal, orientation: np.ndarray) -> list[dict[str, object]]:
    """Times and errors of Bethe potentials for several fractions of strong beams."""
    bloch = prepare(crystal, ONE)

    def everything() -> np.ndarray:
        return propagate_beams(bloch, *find_beams(bloch, orientation), ONE.thicknesses)

    whole = timing.measure(everything)
    dense = dense_intensities(bloch, orientation, ONE.thicknesses[0])[1]
    rows = []
    for by in ("excitation error", "coupling"):
        for fraction in FRACTIONS:
            kept, waves = bethe_waves(bloch, orientation, by, fraction)
            reduced = np.zeros(len(dense))
            reduced[kept] = np.abs(waves[0]) ** 2
            counted = (dense > FLOOR) & (np.arange(len(dense)) > 0)
            error = np.abs(reduced - dense)[counted]
            seconds = timing.measure(lambda b=by, f=fraction: bethe_waves(bloch, orientation, b, f))
            rows.append(
                {
                    "material_id": crystal.material_id,
                    "beams": len(dense),
                    "strong_by": by,
                    "fraction": fraction,
                    "seconds": seconds,
                    "times_faster": whole / seconds,
                    "max_intensity_error": float(error.max(initial=0)),
                    "spots": int(counted.sum()),
                    "spots_lost": int((counted & (reduced == 0)).sum()),
                }
            )
    return rows


@njit(fastmath=True)
def multiply_in_step(
    blocks: np.ndarray, corners: np.ndarray, x: np.ndarray, out: np.ndarray, products: int
) -> None:
    """All matrices' first products, then all second ones, and so on."""
    for _ in range(products):
        for m in range(blocks.shape[0]):
            multiply(blocks[m], corners[m], x[m], out[m])


@njit(fastmath=True)
def multiply_in_turn(
    blocks: np.ndarray, corners: np.ndarray, x: np.ndarray, out: np.ndarray, products: int
) -> None:
    """All products of the first matrix, then all of the second, and so on: what we do."""
    for m in range(blocks.shape[0]):
        for _ in range(products):
            multiply(blocks[m], corners[m], x[m], out[m])


def multiply_stack(stack: np.ndarray, x: np.ndarray, out: np.ndarray, products: int) -> None:
    """Products of full matrices, filled up to one size, by numpy's batched product."""
    for _ in range(products):
        np.matmul(stack, x, out=out)


def compare_batches(crystal: Crystal) -> dict[str, object]:
    """Time the products of several orientations together and one after the other."""
    bloch = prepare(crystal, ONE)
    orientations = random_orientations(BATCH, np.random.default_rng(2))
    beams = [find_beams(bloch, orientation) for orientation in orientations]
    sizes = [len(index) for index, _ in beams]
    size = -(-max(sizes) // ROWS) * ROWS
    planes = len(bloch.planes)
    stack = np.zeros((BATCH, size, size), bloch.coupling.dtype)
    packed = []
    for number, (index, error) in enumerate(beams):
        n = len(index)
        stack[number, :n, :n] = full_matrix(bloch, index, error)
        packed.append(pack_dense(stack[number], planes))
    blocks = np.array([pair[0] for pair in packed])
    corners = np.array([pair[1] for pair in packed])
    x = np.random.default_rng(3).random((BATCH, planes * size), np.float32)
    vector = x[:, :size, None].astype(stack.dtype)
    out, product = np.empty_like(x), np.empty_like(vector)
    own = [pack_matrix(bloch.hkl[index], error, bloch.planes) for index, error in beams]
    starts = [x[0, : c.shape[1] * ROWS * len(c)].copy() for _, c in own]

    def unfilled() -> None:
        for (b, c), start in zip(own, starts, strict=True):
            multiply_in_turn(b[None], c[None], start[None], out[:1, : len(start)], PRODUCTS)

    turn = timing.measure(unfilled)
    step = timing.measure(lambda: multiply_in_step(blocks, corners, x, out, PRODUCTS))
    filled = timing.measure(lambda: multiply_in_turn(blocks, corners, x, out, PRODUCTS))
    matmul = timing.measure(lambda: multiply_stack(stack, vector, product, PRODUCTS))
    return {
        "material_id": crystal.material_id,
        "beams_smallest": min(sizes),
        "beams_largest": max(sizes),
        "orientations": BATCH,
        "one_after_other_seconds": turn,
        "filled_up_times_faster": turn / filled,
        "numba_stack_times_faster": turn / step,
        "numpy_stack_times_faster": turn / matmul,
    }


@click.command()
@click.option("--crystals", default="embedded", help="a Parquet table that holds the crystals")
def main(crystals: str) -> None:
    """Measure Bethe potentials and batches and write benchmarks/results.json."""
    chosen, orientation = choose_crystals(crystals), choose_orientation()
    bethe = [row for crystal in chosen for row in compare_bethe(crystal, orientation)]
    batches = [compare_batches(crystal) for crystal in chosen]
    record(reductions={"bethe": bethe, "batches": batches})
    for rows in (bethe, batches):
        click.echo(pd.DataFrame(rows).to_string(index=False, float_format=lambda x: f"{x:.3g}"))
        click.echo("")


if __name__ == "__main__":
    main()
