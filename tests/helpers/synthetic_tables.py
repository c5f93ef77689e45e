"""Random but realistic tables of predictions and aggregates, for tests of metrics and figures."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ediff_utils.crystals.groups import ALL_SYSTEMS, SYSTEMS

TREES = 80
SHARES = (0.16, 0.13, 0.09, 0.16, 0.26, 0.20, 0.08)
SPACE_GROUPS = {
    "cubic": (225, 227, 221, 216),
    "hexagonal": (194, 191, 186),
    "trigonal": (166, 167, 164),
    "tetragonal": (139, 123, 129, 136),
    "orthorhombic": (62, 63, 71, 64),
    "monoclinic": (14, 12, 15),
    "triclinic": (2, 1),
}
#: How sure the votes are of the right system, and the error of the lengths [angstrom].
SKILL = dict(zip(ALL_SYSTEMS, (9.0, 4.5, 3.0, 3.5, 2.5, 2.0, 0.6), strict=True))
BLUR = dict(zip(ALL_SYSTEMS, (0.04, 0.15, 0.2, 0.2, 1.0, 1.3, 1.5), strict=True))


def _lattice(system: str, rng: np.random.Generator) -> np.ndarray:
    a, b, c = rng.uniform(3, 6), rng.uniform(4, 8), rng.gamma(6, 1.5) + 2.5
    if system == "cubic":
        return np.array([a, a, a])
    if system in ("hexagonal", "trigonal", "tetragonal"):
        return np.array([a, a, c])
    return np.array([a, b, c])


def _looks_like(system: str, rng: np.random.Generator, systems: tuple[str, ...]) -> np.ndarray:
    """Draw how strongly a material looks like each system; some look like another one."""
    strength = rng.gamma(0.6, 1.0, len(systems))
    strength[systems.index(system)] += SKILL[system] * rng.gamma(1.2)
    strength[systems.index("orthorhombic")] += 0.8
    return strength


def _pattern(system: str, lattice: np.ndarray, group: int, strength, rng, systems) -> dict:
    votes = rng.multinomial(TREES, rng.dirichlet(strength))
    order = np.argsort(-votes, kind="stable")
    label = systems[order[0]]
    right = label == system
    blur = BLUR[system] * (1.0 if right else 2.5) * rng.standard_exponential(3)
    lengths = np.abs(lattice + blur * rng.choice([-1, 1], 3) + 0.3 * blur)
    if label in ("hexagonal", "trigonal", "tetragonal", "cubic"):
        lengths[1] = lengths[0]
    if label == "cubic":
        lengths[2] = lengths[0]
    hit = right and rng.random() < 0.7
    row = {f"votes_{s}": int(v) for s, v in zip(systems, votes, strict=True)}
    row |= {"n_trees": TREES, "system": label, "vote_share": votes[order[0]] / TREES}
    row["confidence"] = (votes[order[0]] - votes[order[1]]) / TREES
    row["space_group"] = group if hit else int(rng.choice(SPACE_GROUPS[label]))
    row["space_group_confidence"] = rng.random()
    row |= dict(zip("abc", lengths, strict=True))
    given = group if rng.random() < 0.7 else SPACE_GROUPS[system][0]
    row["space_group_given"] = given
    row |= {f"{axis}_given": lattice[i] + 0.05 for i, axis in enumerate("abc")}
    return row


def make_predictions(
    n_materials: int = 60, n_patterns: int = 10, *, seed: int = 0, triclinic: bool = False
) -> pd.DataFrame:
    """Draw a table of predictions, ``n_patterns`` a material."""
    rng = np.random.default_rng(seed)
    systems = ALL_SYSTEMS if triclinic else SYSTEMS
    shares = np.array(SHARES[: len(systems)]) / sum(SHARES[: len(systems)])
    rows = []
    for material in range(n_materials):
        system = str(rng.choice(systems, p=shares))
        lattice = _lattice(system, rng)
        group = int(rng.choice(SPACE_GROUPS[system]))
        truth = {"material_id": f"m-{material:05d}", "true_system": system}
        truth |= {"true_space_group": group}
        strength = _looks_like(system, rng, systems)
        truth |= {f"true_{axis}": lattice[i] for i, axis in enumerate("abc")}
        for pattern in range(n_patterns):
            prediction = _pattern(system, lattice, group, strength, rng, systems)
            rows.append(truth | {"pattern": pattern} | prediction)
    return pd.DataFrame(rows)


def make_aggregates(predictions: pd.DataFrame) -> pd.DataFrame:
    """Aggregate all patterns of each material by their differences of votes."""
    systems = [s for s in ALL_SYSTEMS if f"votes_{s}" in predictions.columns]
    rows = []
    for material, group in predictions.groupby("material_id", sort=True):
        first = group.iloc[0]
        weights = {s: float(group.loc[group["system"] == s, "confidence"].sum()) for s in systems}
        label = max(weights, key=weights.get)
        same = group[group["system"] == label]
        total = sum(weights.values())
        row = {"material_id": material, "n_patterns": len(group)}
        row |= {c: first[c] for c in predictions.columns if c.startswith("true_")}
        row |= {"system": label, "confidence": weights[label] / total if total else 0.0}
        row |= {f"weight_{s}": w for s, w in weights.items()}
        row |= {"space_group": int(same["space_group"].mode().iloc[0])}
        row |= {"space_group_confidence": 0.5}
        row |= {axis: float(group[axis].median()) for axis in "abc"}
        rows.append(row)
    return pd.DataFrame(rows)


def make_spots(seed: int = 0, n: int = 60) -> np.ndarray:
    """Draw a lattice of spots: qx, qy [1/angstrom] and intensity; shape (m, 3)."""
    rng = np.random.default_rng(seed)
    basis = np.array([[0.3, 0.0], [0.12, 0.34]]) + rng.normal(0, 0.03, (2, 2))
    i, j = np.mgrid[-8:9, -8:9]
    q = np.stack([i.ravel(), j.ravel()], axis=1) @ basis
    radius = np.hypot(*q.T)
    q = q[(radius > 0) & (radius < 2)]
    intensity = np.exp(-3 * np.hypot(*q.T)) * rng.exponential(0.1, len(q))
    return np.column_stack([q, intensity])[: 4 * n]
