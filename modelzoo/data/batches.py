"""The planned batches of training and evaluation: which examples, in which bucket.

A batch is a pure function of (seed, position, buckets of the examples), so that a run resumes
anywhere at no cost.
"""

import bisect
import itertools
import math
from typing import NamedTuple

import numpy as np

from modelzoo.data.order import Order
from modelzoo.data.split import Split
from modelzoo.fields.errors import UserError

_MULTIPLE = 8


class Batch(NamedTuple):
    """Examples and their epochs, int64 `[n]`, and the bucket that says what they are padded to."""

    rows: np.ndarray
    epochs: np.ndarray
    bucket: int


def batch_sizes(
    split: Split,
    batch_size: int | None = None,
    tokens_per_batch: int | None = None,
    parts: int = 1,
) -> dict[int, int]:
    """Examples of a batch by bucket: the same number in each, or what a token budget holds.

    A token budget is divided by the largest width of a bucket and rounded down to a multiple of 8
    and of `parts`, replicas times micro-batches: so 1, 2, 4 and 8 parts divide the same batches. It
    must hold an example of each bucket, or a UserError is raised.
    """
    buckets = split.bound.buckets
    if tokens_per_batch is None:
        if batch_size is None:
            raise ValueError("batch_sizes needs batch_size or tokens_per_batch")
        return dict.fromkeys(range(len(buckets)), batch_size)
    multiple = math.lcm(_MULTIPLE, parts)
    widest = buckets.widest(len(buckets) - 1)
    if not widest:
        raise UserError(
            "config.train.tokens_per_batch must be none for data without sequences, got "
            f"{tokens_per_batch}"
        )
    sizes = {
        bucket: tokens_per_batch // buckets.widest(bucket) // multiple * multiple
        for bucket in range(len(buckets))
    }
    if not min(sizes.values()):
        raise UserError(
            f"config.train.tokens_per_batch must be at least {multiple * widest}, {multiple} "
            f"examples of {widest} tokens, got {tokens_per_batch}"
        )
    return sizes


def _by_bucket(split: Split) -> dict[int, np.ndarray]:
    """The examples of each bucket that has any."""
    return {k: np.flatnonzero(split.buckets == k) for k in np.unique(split.buckets).tolist()}


class TrainingBatches:
    """The endless stream of full batches of one split, each from one bucket.

    The examples of each bucket are an endless stream of their own, a permutation per epoch, cut
    into batches; the batches that end within an epoch are shuffled. A position in the stream is
    the number of examples before it.

    Args:
        split: the opened training split.
        seed: any integer.
        sizes: examples of a batch by bucket, see `batch_sizes`.
    """

    def __init__(self, split: Split, seed: int, sizes: dict[int, int]):
        self.num_examples = split.num_examples
        self.seed = seed
        self._rows = _by_bucket(split)
        self._sizes = {bucket: sizes[bucket] for bucket in self._rows}
        key = split.bound.buckets.order_key
        self._orders = {k: Order(seed + key(k), len(rows)) for k, rows in self._rows.items()}
        # Without sequences a batch may straddle two epochs.
        self._plain = not split.bound.buckets.widths
        # Replaced as a whole: the pipeline's thread and the trainer's both ask.
        self._planned: tuple[int, list[Batch]] = (-1, [])

    @property
    def buckets(self) -> list[int]:
        """The buckets that batches come from, ascending."""
        return list(self._sizes)

    @property
    def sizes(self) -> list[int]:
        """The sizes of batches, one for each of `buckets`."""
        return list(self._sizes.values())

    @property
    def mean_size(self) -> float:
        """Mean size of the batches of an epoch."""
        if len(self._sizes) == 1:
            return self.sizes[0]
        return self.num_examples / sum(len(r) / self._sizes[k] for k, r in self._rows.items())

    def _batches_before(self, epoch: int) -> dict[int, int]:
        """Number of batches of each bucket that end before an epoch."""
        return {k: epoch * len(rows) // self._sizes[k] for k, rows in self._rows.items()}

    def _examples_before(self, epoch: int) -> int:
        return sum(self._sizes[k] * number for k, number in self._batches_before(epoch).items())

    def take(self, first: int, count: int) -> tuple[list[Batch], int]:
        """The next batches from position `first` on, and the position after them.

        If no batch begins at `first`, as in a run whose batch sizes changed, the next one does.
        """
        if self._plain:
            size, end = self._sizes[0], first + count * self._sizes[0]
            pieces = (self._orders[0].rows(k, size) for k in range(first, end, size))
            return [Batch(*piece, 0) for piece in pieces], end
        epoch = first // self.num_examples
        while self._examples_before(epoch + 1) <= first:
            epoch += 1
        taken: list[Batch] = []
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
        """The batches that end within an epoch, in order."""
        planned, batches = self._planned
        if planned == epoch:
            return batches
        batches = []
        before, after = self._batches_before(epoch), self._batches_before(epoch + 1)
        for bucket, size in self._sizes.items():
            number = after[bucket] - before[bucket]
            places, epochs = self._orders[bucket].rows(before[bucket] * size, number * size)
            rows = self._rows[bucket][places].reshape(number, size)
            batches += map(Batch, rows, epochs.reshape(number, size), itertools.repeat(bucket))
        # Another key than those of the examples.
        order = Order(~self.seed, max(len(batches), 1)).permutation(epoch)
        batches = [batches[k] for k in order[: len(batches)]]
        self._planned = (epoch, batches)
        return batches


def evaluation_batches(split: Split, sizes: dict[int, int]) -> list[Batch]:
    """Every example once, by bucket and else in order; the last batch of each padded with -1."""
    batches = []
    for bucket, rows in _by_bucket(split).items():
        size = sizes[bucket]
        padded = np.full(-(-len(rows) // size) * size, -1, np.int64)
        padded[: len(rows)] = rows
        for part in padded.reshape(-1, size):
            batches.append(Batch(part, np.zeros(size, np.int64), bucket))
    return batches
