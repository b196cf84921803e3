"""The one exception that a user's mistake raises."""


class UserError(Exception):
    """A mistake of the user's, told in one line: what was wrong, what was received, what to do.

    The commands print the line and exit with 1; in Python it is an ordinary exception, of which
    a notebook shows the line alone.
    """

    def _render_traceback_(self) -> list[str]:
        """What IPython shows."""
        return [f"{type(self).__name__}: {self}"]
