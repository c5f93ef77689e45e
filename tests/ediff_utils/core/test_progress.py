"""Progress in a log file, and the notice while functions are compiled."""

from __future__ import annotations

import io

import pytest

from ediff_utils.core import progress
from ediff_utils.core.errors import UserError, import_extra


def test_a_log_file_gets_whole_lines(monkeypatch):
    log = io.StringIO()
    with progress._Lines(total=50, desc="things", file=log) as bar:
        for _ in range(50):
            bar.update()
            bar.set_postfix_str("more")
    assert log.getvalue().count("\n") == 1
    assert log.getvalue().startswith("things: 100%")
    assert "\r" not in log.getvalue()
    monkeypatch.setattr(progress, "_PAUSE", 0.0)
    log = io.StringIO()
    with progress._Lines(total=3, desc="things", file=log, mininterval=0) as bar:
        for _ in range(3):
            bar.update()
    lines = log.getvalue().splitlines()
    assert len(lines) >= 4
    assert all(line.startswith("things: ") for line in lines)
    log = io.StringIO()
    with progress._Lines(total=3, file=log, disable=True) as bar:
        bar.update()
    assert not log.getvalue()


def test_an_extra_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "papermill", None)
    with pytest.raises(UserError, match=r"^papermill: not installed; pip install 'ediff-utils\["):
        import_extra("papermill")
    assert import_extra("json").dumps(1) == "1"
