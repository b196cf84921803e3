"""What tags and values have in common: a label of one number per name."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from modelzoo.data.augment import mixing
from modelzoo.data.columns import BadExample, Column, PerRow, Rows, Tensors, View
from modelzoo.data.inputs.input import Change, Store
from modelzoo.data.targets.labels import LabelStore, places, read_all
from modelzoo.data.targets.target import BoundTarget


class BoundVector(BoundTarget):
    """A target whose `label` is float32 `[n, names]`; MixUp and CutMix blend it."""

    def open(self, view: View, key: str, inputs: Mapping[str, Store], lazy: bool) -> Store:
        if lazy and view.rows.parsed.get(key) is None:
            return LabelStore(read=self._reader(view.rows, view.rows.columns[key]))
        return LabelStore(self.read_labels(view, key))

    def read_labels(self, view: View, key: str) -> np.ndarray:
        """The label of each example, float32 `[n, names]`."""
        columns, parsed = view.rows.columns[key], view.rows.parsed.get(key)
        if parsed is None:
            return read_all(view, self._reader(view.rows, columns))
        return self._labels(view, columns, [parsed[row] for row in view.target])

    def _labels(self, view: View, columns: Sequence[Column], parsed: list[Any]) -> np.ndarray:
        """Labels of examples whose cells are numbers, `[n, names]`."""
        return self._reordered(np.stack(parsed), number_names(view.rows, columns)).numpy()

    def _reader(self, rows: Rows, columns: Sequence[Column]) -> Callable[[Tensors], tf.Tensor]:
        """Makes labels of lazy columns that are numbers."""
        given = number_names(rows, columns)

        def read(raw: Tensors) -> tf.Tensor:
            cells = [tf.cast(raw[column.name], tf.float32) for column in columns]
            cells = [tf.reshape(cell, [tf.shape(cell)[0], -1]) for cell in cells]
            return self._reordered(tf.ensure_shape(tf.concat(cells, 1), [None, len(given)]), given)

        return read

    def _reordered(self, labels: tf.Tensor, given: Sequence[str]) -> tf.Tensor:
        """Labels `[n, given]` in the order of the names, 0 for a missing one; or UserError."""
        if tuple(given) == self.names:
            return tf.convert_to_tensor(labels)
        places(given, self.names, self.noun)
        order = [given.index(name) if name in given else len(given) for name in self.names]
        return tf.gather(tf.pad(labels, [[0, 0], [0, 1]]), order, axis=1)

    def features(self, raw: Tensors, change: Change | None) -> Tensors:
        label = raw["label"]
        return {"label": label if change is None else mixing.blend(label, change.mix_share)}


def number_names(rows: Rows, columns: Sequence[Column]) -> tuple[str, ...]:
    """Names of the numbers in columns: the source's for one column, else those of the columns."""
    if len(columns) == 1 and columns[0].names is not None:
        return columns[0].names
    found: list[str] = []
    for column in columns:
        name, size = column.name, np.size(rows.values(column, np.arange(1))[0])
        found += [name] if size == 1 else [f"{name}/{k}" for k in range(size)]
    return tuple(found)


def parse_numbers(
    rows: Rows, key: str, usable: Callable[[np.ndarray], np.ndarray], wanted: str
) -> PerRow | None:
    """The numbers of each row, float32 `[numbers]`, or a BadExample; None if they are lazy.

    `usable` selects the numbers that can be used, of float64 `[n, numbers]`; `wanted` names them.
    """
    columns = rows.columns[key]
    if any(column.values is None for column in columns):
        return None
    if not len(rows):
        return []
    cells = [np.asarray(column.values, np.float64).reshape(len(rows), -1) for column in columns]
    numbers = np.concatenate(cells, axis=1)
    good = usable(numbers)
    with np.errstate(over="ignore"):
        narrow = numbers.astype(np.float32)
    if good.all():
        return narrow
    names = number_names(rows, columns)
    parsed: list[Any] = list(narrow)
    for row in np.flatnonzero(~good.all(axis=1)):
        place = int(good[row].argmin())
        parsed[row] = BadExample(f"has {numbers[row, place]:g} in {names[place]}, not {wanted}")
    return parsed
