"""What holds for all tests: one thread each, no deadline, one process at a time imports orix."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

# Before numba or BLAS start: tests run side by side, and each keeps to one core.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import pytest
from hypothesis import settings as hypothesis_settings
from sample_crystals import CRYSTALS, make_crystal

# First of all that imports orix, because it does so in one process at a time.
import ediff_solve.scans.files  # noqa: F401
from ediff_utils.core.errors import UserError
from ediff_utils.crystals.crystal import Crystal

# Compilation makes the first example slow; a deadline would only measure that.
hypothesis_settings.register_profile("ediff", deadline=None, derandomize=True)
hypothesis_settings.load_profile("ediff")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run whose worker processes all died, which is otherwise said to have passed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    told = reporter is None or reporter.stats or session.config.option.collectonly
    if not told and not hasattr(session.config, "workerinput"):
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR


#: What the core does without; where one is not installed, tests that need it are skipped.
_EXTRAS = {"distributed", "emdfile", "ipywidgets", "lightgbm", "mp_api", "papermill", "py4DSTEM"}


@contextmanager
def _without_extras() -> Iterator[None]:
    try:
        yield
    except (ModuleNotFoundError, UserError) as error:
        name = getattr(error, "name", None) or str(error).partition(":")[0]
        if name.split(".")[0] not in _EXTRAS or find_spec(name.split(".")[0]) is not None:
            raise
        pytest.skip(f"{name} is not installed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    with _without_extras():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with _without_extras():
        return (yield)


@pytest.fixture(params=sorted(CRYSTALS))
def any_crystal(request) -> Crystal:
    return make_crystal(request.param)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The file that takes longest comes first, so that no worker is left alone with it."""
    items.sort(key=lambda item: item.path.name != "test_notebooks.py")
