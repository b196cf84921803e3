"""Durations of training in steps, epochs or examples, and their conversion into steps."""

import math
import re
from collections.abc import Callable

Duration = int | str
"""A number of steps, or text such as `"30 epochs"`, `"50_000 examples"`, `"200 steps"`."""

_PATTERN = re.compile(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*(step|epoch|example)s?\s*")


def parse_duration(duration: Duration) -> tuple[float, str]:
    """Splits a duration into its number and unit (`step`, `epoch` or `example`).

    Raises:
        ValueError: The duration is not a non-negative number of one of the three.
    """
    if isinstance(duration, int) and not isinstance(duration, bool) and duration >= 0:
        return duration, "step"
    match = _PATTERN.fullmatch(duration) if isinstance(duration, str) else None
    if match:
        return float(match[1].replace("_", "")), match[2]
    if isinstance(duration, str) and duration.strip().isdigit():
        return int(duration), "step"
    raise ValueError(
        f"must be a number of steps or text like '30 epochs', '5000 examples', got {duration!r}"
    )


def to_steps(duration: Duration, count: Callable[[float], float], examples_per_epoch: int) -> int:
    """Converts a duration into whole steps, rounded up; `count` maps examples to batches."""
    number, unit = parse_duration(duration)
    if unit == "epoch":
        number = count(number * examples_per_epoch)
    elif unit == "example":
        number = count(number)
    # The subtraction prevents an extra step from rounding, as in 15_000.000000000002 steps.
    return math.ceil(number - 1e-9)
