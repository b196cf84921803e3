"""Checks of field values, shared by the configs of all packages; each raises FieldError."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from modelzoo.fields.duration import Duration, parse_duration
from modelzoo.fields.errors import FieldError
from modelzoo.fields.field_types import literal_values


def check_at_least(minimum: float, **fields: float | None) -> None:
    """Requires each field that is not None to be at least `minimum`."""
    for name, value in fields.items():
        if value is not None and not value >= minimum:
            raise FieldError(name, f"must be at least {minimum}, got {value!r}")


def check_positive(**fields: float | None) -> None:
    """Requires each field that is not None to be above 0."""
    for name, value in fields.items():
        if value is not None and not value > 0:
            raise FieldError(name, f"must be above 0, got {value!r}")


def check_share(**fields: float) -> None:
    """Requires each field to be from 0 to 1."""
    for name, value in fields.items():
        if not 0 <= value <= 1:
            raise FieldError(name, f"must be between 0 and 1, got {value!r}")


def check_rate(**fields: float) -> None:
    """Requires each field to be at least 0 and below 1: dropout rates, decays of moving means."""
    for name, value in fields.items():
        if not 0 <= value < 1:
            raise FieldError(name, f"must be at least 0 and below 1, got {value!r}")


def check_choice(choices: Sequence[str | None], **fields: str | None) -> None:
    """Requires each field to be one of `choices`, of which the message leaves out None."""
    for name, value in fields.items():
        if value not in choices:
            quoted = " or ".join(f'"{choice}"' for choice in choices if choice is not None)
            raise FieldError(name, f"must be {quoted}, got {value!r}")


def check_sizes(least: int, **fields: Sequence[int]) -> None:
    """Requires each field to hold numbers above 0, at least `least` of them."""
    for name, values in fields.items():
        if len(values) < least or min(values, default=1) < 1:
            wanted = f"{least} or more numbers" if least else "numbers"
            raise FieldError(name, f"must be {wanted} above 0, got {values}")


def check_choices(config: Any) -> None:
    """Requires each field that is annotated with a Literal to have one of its values."""
    for field in dataclasses.fields(config):
        if choices := literal_values(field.type):
            check_choice(choices, **{field.name: getattr(config, field.name)})


def check_durations(**fields: Duration | None) -> None:
    """Requires each field that is not None to be a duration above 0."""
    for name, value in fields.items():
        if value is None:
            continue
        try:
            number, _ = parse_duration(value)
        except ValueError as error:
            raise FieldError(name, str(error)) from None
        if number == 0:
            raise FieldError(name, f"must be longer than 0, got {value!r}")


def check_patterns(**fields: Sequence[str]) -> None:
    """Requires each field to hold regular expressions."""
    for name, patterns in fields.items():
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise FieldError(
                    name, f"must hold regular expressions, got {pattern!r} ({error})"
                ) from None
