"""The planned batches of training and evaluation: which examples, in which bucket.

A batch is a pure function of (seed, position, buckets of the examples), so that a run resumes
anywhere at no cost.
"""

import bisect
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
    """The endless stream of full batches of one split, which holds every example once an epoch.

    The stream is the examples of all epochs, cut into batches. An epoch has its examples in a
    planned order: a permutation of each bucket, the longest bucket first. A batch with examples of
    several buckets or epochs is padded to the longest. The last examples of an epoch, too few for a
    batch of their own bucket, fill batches of longer buckets, which are smaller under a token
    budget; what is left begins the first batch of the next epoch. The other batches that end in an
    epoch follow that one in random order.

    A bucket with fewer examples than a batch is mixed with shorter ones, into as many batches as it
    has examples, if this at most doubles the padded tokens of an epoch. All of them in one batch
    would teach a model little.

    Without sequences, batches follow the permutation of the examples. A position in the stream is
    the number of examples before it.

    Args:
        split: the opened training split.
        seed: any integer.
        sizes: examples of a batch by bucket, not rising, see `batch_sizes`.
    """

    def __init__(self, split: Split, seed: int, sizes: dict[int, int]):
        self.num_examples = split.num_examples
        self.seed = seed
        table, rows = split.bound.buckets, _by_bucket(split)
        keys = {k: seed + table.order_key(k) for k in reversed(rows)}
        self._plain = not table.widths
        self._orders = [(rows[k], Order(key, len(rows[k]))) for k, key in keys.items()]
        # The bucket of each place of an epoch, and the first places and orders of mixed examples.
        plan, self._mixed = np.sort(split.buckets)[::-1], []
        widths = np.array([table.widest(k) for k in range(len(table))])
        spare = widths[plan].sum()
        for bucket, key in keys.items():
            own = np.flatnonzero(plan == bucket)
            if len(own) and len(rows[bucket]) < sizes[bucket]:
                padded = plan[own[0] :]
                wasted = np.cumsum(widths[bucket] - widths[padded])
                count = min(len(own) * sizes[bucket], int(np.searchsorted(wasted, spare, "right")))
                if count > len(own):
                    spare -= wasted[count - 1]
                    padded[:count] = bucket
                    self._mixed.append((own[0], Order(~key, count)))
        self._sizes = {k: sizes[k] for k in np.unique(plan).tolist()}
        # Batches of a bucket are cut until so many examples of the epoch are left.
        self._stops = [
            (self.buckets[-1], self.num_examples),
            *((k, int(np.count_nonzero(plan < k))) for k in reversed(self.buckets)),
            *((k, 0) for k in self.buckets),
        ]
        # By epoch: the number of batches that end before it, and of examples left for it.
        self._before = {0: (0, 0)}
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

    def count(self, examples: float) -> float:
        """Number of batches that hold the first `examples`; linear within an epoch."""
        if len(set(self.sizes)) == 1:
            return examples / self.sizes[0]
        epoch, rest = divmod(examples, self.num_examples)
        ends = (self._count_before(int(epoch) + k) for k in range(2))
        first, last = (number + left / self.sizes[-1] for number, left in ends)
        return first + rest / self.num_examples * (last - first)

    def _count_before(self, epoch: int) -> tuple[int, int]:
        """Numbers of batches that end before an epoch, and of examples left for it."""
        for known in range(len(self._before) - 1, epoch):
            number, left = self._before[known]
            cuts, left = self._cut(left)
            self._before[known + 1] = (number + sum(n for _, n in cuts), left)
        return self._before[epoch]

    def _cut(self, left: int) -> tuple[list[tuple[int, int]], int]:
        """Cuts an epoch, and `left` examples before it, into batches.

        Returns buckets with numbers of consecutive batches, and the number of examples left.
        """
        cuts = []
        left += self.num_examples
        for bucket, stop in self._stops:
            size = self._sizes[bucket]
            number = min(-(-(left - stop) // size), left // size)
            if number > 0:
                cuts.append((bucket, number))
                left -= number * size
        return cuts, left

    def _examples_before(self, epoch: int) -> int:
        return epoch * self.num_examples - self._count_before(epoch)[1]

    def take(self, first: int, count: int) -> tuple[list[Batch], int]:
        """The next batches from position `first` on, and the position after them.

        If no batch begins at `first`, as in a run whose batch sizes changed, the next one does.
        """
        if self._plain:
            size, end = self._sizes[0], first + count * self._sizes[0]
            ((_, order),) = self._orders
            pieces = (order.rows(k, size) for k in range(first, end, size))
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

    def _rows(self, epoch: int) -> np.ndarray:
        """The examples of an epoch in their planned order, int64 `[num_examples]`."""
        rows = np.concatenate([own[order.permutation(epoch)] for own, order in self._orders])
        for first, order in self._mixed:
            part = rows[first : first + order.num_examples]
            part[:] = part[order.permutation(epoch)]
        return rows

    def _epoch(self, epoch: int) -> list[Batch]:
        """The batches that end within an epoch, in order."""
        planned, batches = self._planned
        if planned == epoch:
            return batches
        left = self._count_before(epoch)[1]
        # The examples left may be of several epochs.
        epochs = np.arange(epoch - -(-left // self.num_examples), epoch + 1)
        rows = np.concatenate([self._rows(now) for now in epochs.tolist()])
        stream = np.stack([rows, np.repeat(epochs, self.num_examples)])
        stream, batches = stream[:, -left - self.num_examples :], []
        for bucket, number in self._cut(left)[0]:
            size = self._sizes[bucket]
            for piece in np.split(stream[:, : number * size], number, axis=1):
                batches.append(Batch(piece[0], piece[1], bucket))
            stream = stream[:, number * size :]
        if batches:
            # Another key than those of the examples.
            order = Order(~self.seed, len(batches)).permutation(epoch).tolist()
            # The batch that begins in the epoch before comes first.
            batches = [batches[k] for k in sorted(order, key=lambda k: k > 0 or not left)]
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
