"""Checks of field values, shared by the configs of all packages."""

import re
from collections.abc import Sequence

from modelzoo.fields.duration import Duration, parse_duration


def check_at_least(minimum: float, **fields: float | None) -> None:
    """Raises ValueError naming the first field whose value is set and below `minimum`."""
    for name, value in fields.items():
        if value is not None and not value >= minimum:
            raise ValueError(f"{name} must be at least {minimum}, got {value!r}")


def check_positive(**fields: float | None) -> None:
    """Raises ValueError naming the first field whose value is set and not above 0."""
    for name, value in fields.items():
        if value is not None and not value > 0:
            raise ValueError(f"{name} must be above 0, got {value!r}")


def check_durations(**fields: Duration | None) -> None:
    """Raises ValueError naming the first field that is no length above 0."""
    for name, value in fields.items():
        if value is None:
            continue
        try:
            number, _ = parse_duration(value)
        except ValueError as error:
            raise ValueError(f"{name} {error}") from None
        if number == 0:
            raise ValueError(f"{name} must be longer than 0, got {value!r}")


def check_patterns(**fields: Sequence[str]) -> None:
    """Raises ValueError naming the first field that holds what is no regular expression."""
    for name, patterns in fields.items():
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(
                    f"{name} must hold regular expressions, got {pattern!r} ({error})"
                ) from None
