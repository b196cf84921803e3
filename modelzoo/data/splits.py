"""Slices of splits, written as TFDS writes them: "train", "train[:80%]", "test[-100:]"."""

import re

from modelzoo.errors import UserError

_BOUND = r"\s*(?:(-?\d+)\s*(%?))?\s*"
_SPLIT = re.compile(rf"([\w.-]+)(?:\[{_BOUND}:{_BOUND}\])?")


def split_name(split: str) -> str:
    """The name before the brackets; raises UserError for what is no split."""
    return _match(split)[1]


def split_slice(split: str, num_examples: int) -> slice:
    """The rows that a split's text takes of the `num_examples` of its name.

    A percentage is rounded to the nearest row, as in TFDS. Raises UserError where nothing is left
    or a row is named that is not there.
    """
    match = _match(split)
    start = _row(match[2], match[3], num_examples, 0)
    stop = _row(match[4], match[5], num_examples, num_examples)
    if not 0 <= start < stop <= num_examples:
        raise UserError(
            f"the split {split!r} takes no rows or more than there are: "
            f"{match[1]} has {num_examples} images"
        )
    return slice(start, stop)


def _match(split: str) -> re.Match:
    match = _SPLIT.fullmatch(split.strip())
    if not match:
        raise UserError(
            f"cannot understand the split {split!r}; write such as 'train', 'train[:80%]' or "
            "'train[-500:]'"
        )
    return match


def _row(number: str | None, percent: str | None, num_examples: int, default: int) -> int:
    if number is None:
        return default
    value = round(int(number) * num_examples / 100) if percent else int(number)
    from_end = number.startswith("-")
    return num_examples + value if from_end else value
