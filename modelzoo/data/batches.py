"""The planned batches of training and evaluation: which rows, padded to which length.

A batch is a pure function of (seed, position, lengths of the rows), so that a run resumes anywhere
at no cost. Rows without lengths have the length 0.
"""

import bisect
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from modelzoo.data.order import Order
from modelzoo.data.source import Source
from modelzoo.fields.errors import UserError

_MULTIPLE = 8


class Batch(NamedTuple):
    """Rows and their epochs, int64 `[n]`, and the length that they are padded to."""

    rows: np.ndarray
    epochs: np.ndarray
    length: int


def batch_sizes(
    source: Source,
    batch_size: int | None = None,
    tokens_per_batch: int | None = None,
    parts: int = 1,
) -> dict[int, int]:
    """Rows of a batch by length, ascending: as many of each, or what a number of tokens holds.

    Pairs of texts are as long as the longer of their two lengths. The rows are rounded down to a
    multiple of 8 and of `parts`, replicas times micro-batches: so 1, 2, 4 and 8 parts divide the
    same batches. Raises UserError where nothing is left.
    """
    lengths = [0] if source.lengths is None else source.spec.lengths
    if tokens_per_batch is None:
        return dict.fromkeys(lengths, batch_size)
    multiple = math.lcm(_MULTIPLE, parts)
    widths = list(map(max, lengths, getattr(source.spec, "target_lengths", lengths)))
    sizes = {
        length: tokens_per_batch // width // multiple * multiple
        for length, width in zip(lengths, widths, strict=True)
    }
    if not min(sizes.values()):
        raise UserError(
            f"config.data.tokens_per_batch must hold {multiple} texts of {widths[-1]} tokens, "
            f"{multiple * widths[-1]}, got {tokens_per_batch}"
        )
    return sizes


def _by_length(source: Source, lengths: Sequence[int]) -> dict[int, np.ndarray]:
    """The rows that are padded to each length, where there are any."""
    if source.lengths is None:
        return {0: np.arange(source.num_examples)}
    places = np.searchsorted(lengths, source.lengths)
    found = {length: np.flatnonzero(places == k) for k, length in enumerate(lengths)}
    return {length: rows for length, rows in found.items() if len(rows)}


class TrainingBatches:
    """The endless stream of full batches of one split, each of rows of one length.

    The rows of each length are an endless stream of their own, a permutation for each of its
    epochs, cut into batches; the batches that end within an epoch come in an order of their own.
    Position `p` of the stream are the examples before a batch.

    Args:
        source: the opened training split.
        seed: any integer.
        sizes: rows of a batch by length, as of `batch_sizes`.
    """

    def __init__(self, source: Source, seed: int, sizes: dict[int, int]):
        self.num_examples = source.num_examples
        self.seed = seed
        self._rows = _by_length(source, list(sizes))
        self._sizes = {length: sizes[length] for length in self._rows}
        self._orders = {k: Order(seed + k, len(rows)) for k, rows in self._rows.items()}
        # Replaced as a whole: the pipeline's thread and the trainer's both ask.
        self._planned: tuple[int, list[Batch]] = (-1, [])

    @property
    def lengths(self) -> list[int]:
        """The lengths that batches have."""
        return list(self._sizes)

    @property
    def sizes(self) -> list[int]:
        """The numbers of rows that batches have, one for each of the lengths."""
        return list(self._sizes.values())

    @property
    def mean_size(self) -> float:
        """Mean number of rows of the batches of an epoch."""
        if len(self._sizes) == 1:
            return self.sizes[0]
        return self.num_examples / sum(len(r) / self._sizes[k] for k, r in self._rows.items())

    def _batches_before(self, epoch: int) -> dict[int, int]:
        """How many batches of each length have ended when that many epochs have."""
        return {k: epoch * len(rows) // self._sizes[k] for k, rows in self._rows.items()}

    def _examples_before(self, epoch: int) -> int:
        return sum(self._sizes[k] * number for k, number in self._batches_before(epoch).items())

    def take(self, first: int, count: int) -> tuple[list[Batch], int]:
        """The next batches from position `first` on, and the position after them.

        Where no batch begins at `first`, as of a run that changed its batches, from where the next
        one does.
        """
        if list(self._sizes) == [0]:
            size, end = self._sizes[0], first + count * self._sizes[0]
            pieces = (self._orders[0].rows(k, size) for k in range(first, end, size))
            return [Batch(*piece, 0) for piece in pieces], end
        epoch = first // self.num_examples
        while self._examples_before(epoch + 1) <= first:
            epoch += 1
        taken = []
        while len(taken) < count:
            batches = self._epoch(epoch)
            ends = np.cumsum([self._examples_before(epoch), *(len(b.rows) for b in batches)])
            start = bisect.bisect_left(ends, first)
            new = batches[start : start + count - len(taken)]
            taken += new
            first = int(ends[start + len(new)])
            epoch += 1
        return taken, first

    def _epoch(self, epoch: int) -> list[Batch]:
        """The batches that end within an epoch, in their order."""
        planned, batches = self._planned
        if planned == epoch:
            return batches
        batches = []
        before, after = self._batches_before(epoch), self._batches_before(epoch + 1)
        for length, size in self._sizes.items():
            number = after[length] - before[length]
            places, epochs = self._orders[length].rows(before[length] * size, number * size)
            rows = self._rows[length][places].reshape(number, size)
            batches += map(Batch, rows, epochs.reshape(number, size), itertools.repeat(length))
        # Of another key than those of the rows.
        order = Order(~self.seed, max(len(batches), 1)).permutation(epoch)
        batches = [batches[k] for k in order[: len(batches)]]
        self._planned = (epoch, batches)
        return batches


def evaluation_batches(source: Source, sizes: dict[int, int]) -> list[Batch]:
    """Every row once, by length and else in order; the last batch of a length padded with -1."""
    batches = []
    for length, rows in _by_length(source, list(sizes)).items():
        size = sizes[length]
        padded = np.full(-(-len(rows) // size) * size, -1, np.int64)
        padded[: len(rows)] = rows
        for part in padded.reshape(-1, size):
            batches.append(Batch(part, np.zeros(size, np.int64), length))
    return batches
