"""Slices of splits, written as TFDS writes them: "train", "train[:80%]", "test[-100:]"."""

import glob
import hashlib
import os
import re
from collections.abc import Callable, Sequence

import numpy as np

from modelzoo.fields.errors import UserError

SPLIT = "{split}"
"""Stands for the name of a split in a path."""

_BOUND = r"\s*(?:(-?\d+)\s*(%?))?\s*"
_WRITTEN = re.compile(rf"([\w.-]+)(?:\[{_BOUND}:{_BOUND}\])?")


def split_name(split: str) -> str:
    """The name before the brackets; raises UserError for what is no split."""
    return _match(split)[1]


def split_names(*splits: str | None) -> set[str]:
    """The names of those splits that are not None."""
    return {split_name(split) for split in splits if split}


def split_files(path: str) -> dict[str, str]:
    """The file of each split: those that there are where `{split}` is in the path, else "train"."""
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
    """The rows that a split's text takes of the `num_examples` of its name.

    `rows_before` gives the rows that lie before a percentage from 0 to 100; without it that is
    rounded to the nearest row, as in TFDS. Raises UserError where nothing is left or a row is named
    that is not there.
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
            f"the split {split!r} takes no rows or more than there are: "
            f"{match[1]} has {num_examples} examples"
        )
    return slice(start, stop)


def by_hash(keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The order of examples by a hash of their keys, the same whatever others there are.

    Keys are such as the paths of files. Returns the numbers of the examples in that order, int64
    `[n]`, and beside them their hashes as fractions of the largest, float64 `[n]`.
    """
    digests = [hashlib.blake2b(os.fsencode(key)).digest() for key in keys]
    order = sorted(range(len(keys)), key=lambda k: (digests[k], keys[k]))
    places = np.frombuffer(b"".join(digests[k][:4] for k in order), ">u4") / 2**32
    return np.array(order, np.int64), places


def part_by_hash(split: str, keys: Sequence[str]) -> np.ndarray:
    """Numbers of the examples that a split's text takes of all of its name, ordered by a hash.

    A percentage is one of the range of hashes: "train[:80%]" takes about 80 % of the examples, and
    none of them changes sides when others are added or removed, nor are those of one key parted.
    """
    order, places = by_hash(keys)
    return order[
        split_slice(split, len(keys), lambda percent: int(np.searchsorted(places, percent / 100)))
    ]


def _match(split: str) -> re.Match:
    match = _WRITTEN.fullmatch(split.strip())
    if not match:
        raise UserError(
            f"cannot understand the split {split!r}; write such as 'train', 'train[:80%]' or "
            "'train[-500:]'"
        )
    return match
