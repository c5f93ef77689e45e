"""The one exception that a user's mistake raises."""

from importlib import import_module
from typing import Any


class UserError(Exception):
    """A mistake that the user can mend: one line that names the file or field and what is expected.

    The command line prints it without a traceback, and so does a notebook: IPython asks an
    exception for ``_render_traceback_`` before it builds its own.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))

    def _render_traceback_(self) -> list[str]:
        return [f"Error: {self}"]


def import_extra(name: str) -> Any:
    """Import a module that the core does without; a UserError says what to install."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{error.name}: not installed; pip install 'ediff-utils[reproduce]' brings it"
        ) from None
