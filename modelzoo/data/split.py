"""An opened split: examples by number, inside and outside of a graph."""

import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from modelzoo.data.bound import TARGET, BoundData, tensor_prefix
from modelzoo.data.columns import Bad, BadExample, Rows, Tensors, View
from modelzoo.data.inputs.input import Store
from modelzoo.fields.errors import UserError

_BATCH = 1024
"""How many labels are read at once."""


class Split:
    """One split, opened; immutable.

    Attributes:
        bound: what the data knows: sizes, classes, vocabularies.
        ids: one name per example: a path relative to the folder, or such as "test/17".
        buckets: bucket of each example, int64 `[n]`, see `BoundData.buckets`.
        tokens: tokens of each example, int64 `[n]`, that the speed of training counts: those of
            the target text, or of the first sequence; None without sequences.
        groups: group of each example, of which cross-validation takes all or none; or None.
        references: target texts of each example, whole, for metrics; None without texts.
        view: the examples as rows of the source.
        skipped: the bad examples that were left out.
        remarks: what a person should know about the examples, such as how many are truncated.
        fingerprint: distinguishes data of other examples, classes or tokens.
    """

    def __init__(
        self,
        bound: BoundData,
        view: View,
        stores: Mapping[str, Store],
        kept: np.ndarray,
        skipped: Sequence[Bad],
        remarks: Sequence[str] = (),
    ):
        """kept: the examples of the view that are used, int64 `[n]`, in order."""
        self.bound, self._stores, self._kept = bound, stores, kept
        self.view = view.take(kept)
        rows, last = view.rows, self.view.last
        names = example_names(rows)
        self.ids = [names[row] for row in last]
        self.groups = None if rows.groups is None else [rows.groups[row] for row in last]
        self.skipped = tuple(skipped)
        self.remarks = tuple(remarks)
        lengths = {
            key: store.lengths[kept] for key, store in stores.items() if store.lengths is not None
        }
        self.buckets = bound.buckets.bucket(lengths, len(kept))
        self.tokens = lengths[TARGET] if TARGET in lengths else next(iter(lengths.values()), None)
        self.references = None
        if bound.target is not None:
            self.references = bound.target.references(self.view, TARGET)
        digest = hashlib.sha256("\0".join(map(str, self.ids)).encode(errors="surrogateescape"))
        digest.update(bound.fingerprint())
        digest.update(self.buckets.tobytes())
        if self.tokens is not None:
            digest.update(self.tokens.tobytes())
        self.fingerprint = digest.hexdigest()[:16]
        # On the host whatever accelerator there is: the pipeline reads them there.
        with tf.device("CPU:0"):
            self._example_table = None
            if len(kept) != len(view):
                self._example_table = tf.constant(kept, tf.int64)
            self._row_table = tf.constant(last, tf.int64)
            self._weights = None
            if rows.weights is not None:
                self._weights = tf.constant(rows.weights[last], tf.float32)
            self._widths = {
                key: tf.constant(widths, tf.int64) for key, widths in bound.buckets.widths.items()
            }

    @property
    def num_examples(self) -> int:
        """Number of examples."""
        return len(self.ids)

    @property
    def labels_in_memory(self) -> bool:
        """Whether `labels` reads no record."""
        return TARGET in self._stores and not self._stores[TARGET].lazy

    def labels(self, indices: tf.Tensor) -> Tensors:
        """Reads weights, numbers and labels of examples (int64 `[n]`), without their inputs."""
        return self.bound.labels(self.gather(indices, only_target=True))

    def label_batches(self) -> Iterator[Tensors]:
        """The `labels` of all examples, in batches."""
        for first in range(0, self.num_examples, _BATCH):
            yield self.labels(np.arange(first, min(first + _BATCH, self.num_examples)))

    @functools.cached_property
    def label_counts(self) -> tuple[np.ndarray, int] | None:
        """How many labels each name has, int64 `[names]`, and how many labels there are.

        These are examples, or tokens, with a positive weight. None if the target does not count
        labels, or they are not in memory.
        """
        target = self.bound.target
        if target is None or not self.labels_in_memory:
            return None
        counts, total = np.zeros(len(target.names), np.int64), 0
        for batch in self.label_batches():
            if (counted := target.count_labels(batch)) is None:
                return None
            counts, total = counts + counted[0], total + counted[1]
        return counts, total

    def gather(
        self,
        indices: tf.Tensor,
        bucket: int | tf.Tensor | None = None,
        only_target: bool = False,
    ) -> Tensors:
        """Reads examples, in a graph as well.

        Args:
            indices: int64 `[n]`; -1 is padding.
            bucket: scalar, what sequences are padded to; None for the last.
            only_target: whether to omit the inputs.

        Returns:
            The raw tensors of the inputs and the target, `weight` (float32 `[n]`, 0 for padding),
            `index`, the indices themselves, and `number` (int64 `[n]`), the examples' rows in the
            source, which do not depend on the split's order.
        """
        indices = tf.convert_to_tensor(indices, tf.int64)
        present = tf.maximum(indices, 0)
        examples = present
        if self._example_table is not None:
            examples = tf.gather(self._example_table, present)
        number = tf.gather(self._row_table, present)
        columns: Tensors = {}
        stores = {TARGET: self._stores[TARGET]} if only_target else self._stores
        read = self.view.rows.read
        if read is not None and any(store.lazy for store in stores.values()):
            columns = read(number)
        raw: Tensors = {}
        for key, store in stores.items():
            width = None
            if key in self._widths:
                width = self._widths[key][-1 if bucket is None else bucket]
            tensors = store.read(examples, columns, width)
            raw |= {tensor_prefix(key) + part: value for part, value in tensors.items()}
        weight = tf.cast(indices >= 0, tf.float32)
        if self._weights is not None:
            weight *= tf.gather(self._weights, present)
        return {**raw, "weight": weight, "index": indices, "number": number}

    def examine(self, indices: np.ndarray) -> None:
        """Raises UserError for the first of these examples that cannot be read or decoded."""
        for index in np.asarray(indices).ravel():
            if index < 0:
                continue
            for store in self._stores.values():
                try:
                    store.examine(int(self._kept[index]))
                except BadExample as error:
                    place = self.view.rows.place(int(self.view.last[index]))
                    raise UserError(bad_example(place, str(error))) from None


def example_names(rows: Rows) -> Sequence[str]:
    """Names of the rows as examples: that of its file if the first input is one."""
    first = next(iter(rows.columns.values()))
    return rows.ids if first[0].keys is None else first[0].keys


def bad_example(place: str, reason: str) -> str:
    """The message about an example that cannot be used."""
    return (
        f"{place}: {reason}; repair or remove it, or set config.data.on_bad=skip to leave such "
        "examples out"
    )
