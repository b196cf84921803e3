"""Errors that a user can correct: mistakes in general, and wrong values of config fields."""

import re


class UserError(Exception):
    """A mistake of the user, in one line: what is wrong, what was received, what to do.

    The commands print the line and exit with 1. In Python it is an ordinary exception, and a
    notebook shows only its line.
    """

    def __str__(self) -> str:
        # What it quotes may have line ends; other spaces may belong to a name.
        return re.sub(r"\s*\n\s*", " ", super().__str__().strip())

    def _render_traceback_(self) -> list[str]:
        """What IPython shows."""
        return [f"{type(self).__name__}: {self}"]


class FieldError(ValueError):
    """An impossible value of a config field, raised by the config's class.

    The code that builds the config adds the path before it: `config.train.steps must be at least 1,
    got 0`.

    Args:
        field: Name of the field.
        message: What the field must be and what it is, such as `must be at least 1, got 0`.

    Example:
        >>> str(FieldError("steps", "must be at least 1, got 0"))
        'steps must be at least 1, got 0'
    """

    def __init__(self, field: str, message: str):
        super().__init__(f"{field} {message}")
        self.field = field
        self.message = message


def format_error(error: Exception) -> str:
    """Returns the last meaningful line of an error, without TensorFlow's node names."""
    text = getattr(error, "message", None) or str(error)
    noise = r"\{\{.*?\}\}|\[\[.*?\]\]|\[Op:.*?\](?: name:.*)?"
    lines = [re.sub(noise, "", line) for line in text.splitlines()]
    lines = [" ".join(line.split()) for line in lines]
    lines = [re.sub(r"^assertion failed: \[(.*)\]$", r"\1", line) for line in lines]
    return next((line for line in reversed(lines) if len(line) > 1), type(error).__name__)
