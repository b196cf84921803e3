"""Slices of splits, written as TFDS writes them: "train", "train[:80%]", "test[-100:]+dev"."""

import glob
import hashlib
import os
import re
from collections.abc import Callable, Sequence

import numpy as np

from modelzoo.fields.errors import UserError

SPLIT = "{split}"
"""The placeholder for the name of a split in a path."""

_BOUND = r"\s*(?:(-?\d+)\s*(%?))?\s*"
_WRITTEN = re.compile(rf"([\w.-]+)(?:\[{_BOUND}:{_BOUND}\])?")


def split_parts(split: str) -> list[tuple[str, str]]:
    """Name and text of each part of a sum, such as "train+dev[:9]"; UserError if malformed."""
    return [(_match(part)[1], part.strip()) for part in split.split("+")]


def split_files(path: str) -> dict[str, str]:
    """The file of each split: all that match a path with `{split}`, else that of "train"."""
    path = os.path.expanduser(path)
    if SPLIT not in path:
        return {"train": path}
    before, after = map(re.escape, path.split(SPLIT, 1))
    files = sorted(glob.glob("*".join(map(glob.escape, path.split(SPLIT, 1)))))
    found = ((re.fullmatch(f"{before}([^/]*){after}", file), file) for file in files)
    return {match[1]: file for match, file in found if match}


def split_slice(
    split: str, num_examples: int, rows_before: Callable[[int], int] | None = None
) -> slice:
    """The rows of a slice such as "train[:80%]"; UserError if it is empty or reaches beyond them.

    `rows_before` maps a percentage from 0 to 100 to the number of rows before it; None rounds to
    the nearest row, as TFDS does.
    """
    match = _match(split)

    def row(number: str | None, percent: str | None, default: int) -> int:
        if number is None:
            return default
        value, from_end = int(number), number.startswith("-")
        if not percent:
            return num_examples + value if from_end else value
        if abs(value) <= 100 and rows_before:
            return rows_before(100 + value if from_end else value)
        rows = round(value * num_examples / 100)
        return num_examples + rows if from_end else rows

    start = row(match[2], match[3], 0)
    stop = row(match[4], match[5], num_examples)
    if not 0 <= start < stop <= num_examples:
        raise UserError(
            f"the split {split!r} is empty or reaches beyond the rows: "
            f"{match[1]} has {num_examples} examples"
        )
    return slice(start, stop)


def part_by_hash(split: str, keys: Sequence[str]) -> np.ndarray:
    """Numbers of the examples of a slice, int64, ordered by a hash of their keys.

    A percentage is a share of the range of hashes: "train[:80%]" takes about 80 % of the examples.
    Examples never move between slices when others are added or removed, and those with the same
    key stay together.
    """
    digests = [hashlib.blake2b(os.fsencode(key)).digest() for key in keys]
    order = sorted(range(len(keys)), key=lambda k: (digests[k], keys[k]))
    shares = np.frombuffer(b"".join(digests[k][:4] for k in order), ">u4") / 2**32

    def rows_before(percent: int) -> int:
        return int(np.searchsorted(shares, percent / 100))

    return np.array(order, np.int64)[split_slice(split, len(keys), rows_before)]


def _match(split: str) -> re.Match:
    match = _WRITTEN.fullmatch(split.strip())
    if not match:
        raise UserError(
            f"the split {split!r} is malformed; write 'train', 'train[:80%]' or 'train[-500:]+dev'"
        )
    return match
