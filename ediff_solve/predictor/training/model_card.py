"""A predictor's card in words: what it was made of, how far to trust it, where it fails."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ediff_solve.predictor.training.card import LINES, LOWEST, SURE, ZONE, format_line
from ediff_utils.core.paths import atomic_write
from ediff_utils.crystals.groups import NUMBERED_SYSTEMS

README = "README.md"
_LIMITS = """
- Nothing that it looks at tells enantiomorphic pairs, such as P3_121 and P3_221, apart: of two
  hands one is named by chance.
- The camera length's error goes into the cell in full.
- Patterns at other energies than those of the simulation, or of crystals with many defects, were
  not tried.
- Confidences hold for crystals as the Materials Project has them, in its proportions.
"""


def format_card(card: Mapping[str, Any]) -> str:
    """Markdown of a card of :func:`ediff_solve.predictor.training.pipeline.build_predictor`."""
    conditions = list(card["detectors"])
    shown = [n for name in conditions for n in (name, name.replace(ZONE, LOWEST)) if n in card]
    shown = list(dict.fromkeys(shown))
    materials = card["materials"]
    parts = [
        "# Model card",
        "Boosted trees (LightGBM) on evidence from spot patterns: crystal system, Bravais lattice, "
        "Laue class, space group. Written with the predictor, from [`card.json`](card.json); "
        "`ediff predictor check` computes its figures again from `answers.parquet`, and some "
        "answers from the spots in `test_patterns.parquet`.",
        f"**Data.** {card['source']}. {materials['train']:,} crystals to train on, "
        f"{materials['test']:,} others to test, divided by {card['split_by']}. "
        "Bloch-wave patterns, "
        + "; ".join(_simulation(name, card["simulation"][name]) for name in conditions)
        + ". *Detector*: "
        + _detector(card["detectors"].get("detector", {})),
        "**Answers** are those of `Predictor.predict`. *Cannot tell*, where spots are too few or "
        "no lattice explains them, counts as wrong. Calibration errors are those of the others.",
        _table(["", *shown], _figures(card, shown)),
        "**By crystal system**, one pattern and ten, then what else ten patterns are taken for.",
        _table(["", *_heads(conditions), "taken for"], _systems(card, conditions)),
        "**One pattern, by its number of spots and by thickness.**",
        _table(
            ["", *conditions],
            [*_ranges(card, "by_spots", " spots"), *_ranges(card, "by_thickness", " \u00c5")],
        ),
        _confidence(card),
        "**Where it fails.**" + _weakest(card, conditions) + _LIMITS.rstrip(),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def write_readme(card: Mapping[str, Any], folder: Path) -> Path:
    """Write :func:`format_card` beside the predictor; a UserError where that cannot be done."""
    path = Path(folder) / README
    with atomic_write(path) as partial:
        partial.write_text(format_card(card), encoding="utf-8")
    return path


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _heads(conditions: list[str]) -> list[str]:
    return [f"{name}, {n}" for name in conditions for n in ("one", "ten")]


def _simulation(name: str, made: Mapping[str, Any]) -> str:
    low_high = made["thickness_range"] or made["thicknesses"]
    # Angstrom to nanometre.
    thickness = " to ".join(f"{value / 10:g}" for value in low_high)
    where = {
        "grid": "on the paper's grid",
        "random": "at any orientation",
        "zone": f"up to {made.get('tilt', 0):g} degrees off zone axes with indices up to 3",
    }[made["sampling"]]
    return f"*{name}*: {where}, {thickness} nm, {made['energy'] / 1e3:g} kV"


def _detector(settings: Mapping[str, Any]) -> str:
    if not settings:
        return "not asked."
    low, high = settings["q_max_range"]
    parts = ("missing", "spurious", "intensity_noise", "ellipticity", "scale_error")
    missing, spurious, noise, ellipse, scale = (f"{100 * settings[name]:g} %" for name in parts)
    return (
        f"{settings['position_noise']:g} 1/\u00c5 of position noise, q_max from {low:g} to "
        f"{high:g} 1/\u00c5, {missing} of the spots missing, {spurious} spurious, intensities off "
        f"by {noise}, nothing below {settings['dynamic_range']:g} of the strongest, ellipse up to "
        f"{ellipse}, scale within {scale}, centre off by {settings['centre_error']:g} 1/\u00c5."
    )


def _figures(card: Mapping[str, Any], conditions: list[str]) -> list[list[str]]:
    """Rows of the first table."""
    figures = {name: card[name] for name in conditions}
    return [
        [label, *format_line(figures, key, form)]
        for label, (key, form) in LINES.items()
        if any(key in found for found in figures.values())
    ]


def _systems(card: Mapping[str, Any], conditions: list[str]) -> list[list[str]]:
    rows = []
    for system in NUMBERED_SYSTEMS:
        found = [card[name]["by_system"].get(system) for name in conditions]
        if not any(found):
            continue
        numbers = [f"{100 * f[n]:.0f} %" if f else "-" for f in found for n in ("one", "ten")]
        last = found[-1] or {}
        others = sorted(last.get("said_ten", {}).items(), key=lambda pair: -pair[1])
        said = [
            f"{name} {share:.0%}".replace("%", " %") for name, share in others if name != system
        ]
        size = f"{system} ({max(f['materials'] for f in found if f)})"
        rows.append([size, *numbers, ", ".join(said[:2]) or "-"])
    return rows


def _ranges(card: Mapping[str, Any], key: str, unit: str) -> list[list[str]]:
    conditions = list(card["detectors"])
    found = {name: {(r["from"], r["to"]): r for r in card[name][key]} for name in conditions}
    rows = []
    for low, high in sorted({r for name in conditions for r in found[name]}, key=lambda r: r[0]):
        label = f"from {low}{unit}" if high is None else f"{low} to {high}{unit}"
        cells = [found[name].get((low, high)) for name in conditions]
        shown = [f"{100 * c['accuracy']:.0f} % of {c['n']:,}" if c else "-" for c in cells]
        rows.append([label, *shown])
    return rows


def _confidence(card: Mapping[str, Any]) -> str:
    limits = card["thresholds"]
    text = (
        f"**Sure** is said from a confidence of {limits['single']:.2f} for one pattern, "
        f"{limits['zone']:.2f} where it shows one zone alone, and {limits['several']:.2f} for "
        f"several, from which {100 * SURE:.0f} % or more were right on crystals that no tree was "
        "grown on."
    )
    rows = [
        [
            f"{condition}, {kind}",
            *(f"{100 * found[key]:.0f} %" for key in ("noticed", "false_alarms", "sure_and_wrong")),
        ]
        for condition, kinds in card.get("second_grain", {}).items()
        for kind, found in kinds.items()
    ]
    if not rows:
        return text
    heads = ["second grain in every pattern", "noticed", "false alarms", "sure and wrong"]
    return f"{text}\n\n{_table(heads, rows)}"


def _weakest(card: Mapping[str, Any], conditions: list[str]) -> str:
    by = card[conditions[-1]]["by_system"]
    order = sorted(by, key=lambda system: by[system]["ten"])[:2]
    worst = " and ".join(f"{name} ({100 * by[name]['ten']:.0f} %)" for name in order)
    return f" Ten patterns, {conditions[-1]}: weakest are {worst}.\n"
