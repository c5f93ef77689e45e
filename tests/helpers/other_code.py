"""The program as it would be with one of its modules edited."""

from __future__ import annotations

from ediff_utils.core.made_from import Stage


def edit(monkeypatch, module: str) -> None:
    """Let a module count as another one than it is, for all stages that depend on it."""
    true = Stage.code

    def edited(stage: Stage) -> dict[str, str]:
        return {name: "edited" if name == module else own for name, own in true(stage).items()}

    monkeypatch.setattr(Stage, "code", edited)
