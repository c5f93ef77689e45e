"""The one exception that a user's mistake raises."""


class UserError(Exception):
    """A mistake that the user can mend: one line that names the file or field and what is expected.

    The command line prints it without a traceback, and so does a notebook: IPython asks an
    exception for ``_render_traceback_`` before it builds its own.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))

    def _render_traceback_(self) -> list[str]:
        return [f"Error: {self}"]
