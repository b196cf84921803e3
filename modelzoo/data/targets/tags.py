"""Any number of tags for each example."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from modelzoo.data.columns import BadExample, Column, PerRow, Rows, Tensors, View, Wanted
from modelzoo.data.inputs.input import Input
from modelzoo.data.targets.labels import found_names, places
from modelzoo.data.targets.target import BoundInputs, NamedTarget
from modelzoo.data.targets.vectors import BoundVector, number_names, parse_numbers
from modelzoo.fields.errors import FieldError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tags(NamedTarget):
    """Any number of tags for each example.

    Attributes:
        columns: one column that holds all tags of an example, as lists, texts with a separator, or
            arrays of 0 and 1; or one column of 0 or 1 for each tag, named by the tag. () for the
            source's default, "label" in a table.
        separator: the text between the tags of one column, such as ";"; None if there is none.

    Example:
        >>> from modelzoo.data.targets.tags import Tags
        >>> Tags(columns=("genres",), separator=";").separator
        ';'
    """

    separator: str | None = None

    kind = noun = "tags"
    forms = ("list", "array", "text", "number")
    default_column = "label"
    can_mix = many = True

    def __post_init__(self):
        if self.separator is None:
            return
        if not self.separator:
            raise FieldError("separator", "must be None or the text between tags, got ''")
        if len(self.columns) > 1:
            raise FieldError(
                "separator", f"must be None with a column for each tag, got {self.separator!r}"
            )

    def wanted(self, key: str) -> Wanted:
        wanted = super().wanted(key)
        if self.separator is not None:
            return dataclasses.replace(wanted, forms=("text", "list"), many=False)
        if len(self.columns) > 1:
            return dataclasses.replace(wanted, forms=("text", "number"))
        return wanted

    def parse(self, rows: Rows, key: str, inputs: Mapping[str, Input]) -> PerRow | None:
        """The names of each row's tags, or 0 or 1 for each tag; None if read with a batch."""
        columns = rows.columns[key]
        if any(column.values is None for column in columns):
            return None
        if self._in_one(columns):
            return [self._split(cell, columns[0]) for cell in rows.values(columns[0])]
        if columns[0].form != "text":
            return parse_numbers(rows, key, lambda n: (n == 0) | (n == 1), "0 or 1")
        return [_flags(cells, columns) for cells in zip(*map(rows.values, columns), strict=True)]

    def _in_one(self, columns: Sequence[Column]) -> bool:
        """Whether one column holds the names of all tags."""
        return self.separator is not None or columns[0].form == "list"

    def _split(self, cell: Any, column: Column) -> tuple[str, ...] | BadExample:
        if column.names is not None:
            return tuple(column.names[number] for number in cell)
        if isinstance(cell, str) and self.separator is None:
            return BadExample(f"has {cell!r} in the column {column.name}, not a list of tags")
        tags = cell.split(self.separator) if isinstance(cell, str) else cell
        return tuple(tag for one in tags if (tag := str(one).strip()))

    def find_names(self, train: Rows, used: Sequence[Rows], key: str) -> Sequence[str]:
        columns = train.columns[key]
        if columns[0].names is None and self._in_one(columns):
            return found_names(used, key)
        return columns[0].names or number_names(train, columns)

    def bind(self, names: tuple[str, ...], inputs: BoundInputs) -> "BoundTags":
        return BoundTags(self, names)


@dataclasses.dataclass(frozen=True)
class BoundTags(BoundVector):
    """`Tags` on given data: `label` is float32 `[n, tags]`, 1 for the tags of an example."""

    config: Tags
    names: tuple[str, ...]

    def _labels(self, view: View, columns: Sequence[Column], parsed: list[Any]) -> np.ndarray:
        if not isinstance(parsed[0], tuple):
            return super()._labels(view, columns, parsed)
        given = sorted(set().union(*parsed))
        numbers = dict(zip(given, places(given, self.names, self.noun), strict=True))
        labels = np.zeros((len(parsed), len(self.names)), np.float32)
        for label, tags in zip(labels, parsed, strict=True):
            label[[numbers[tag] for tag in tags]] = 1
        return labels

    def _reader(self, rows: Rows, columns: Sequence[Column]) -> Callable[[Tensors], tf.Tensor]:
        column = columns[0]
        if column.form != "list":
            return super()._reader(rows, columns)
        given = column.names or ()
        return lambda raw: self._reordered(_present(raw[column.name], len(given)), given)

    def count_labels(self, batch: Tensors) -> tuple[np.ndarray, int]:
        labels = batch["label"].numpy()[batch["weight"].numpy() > 0]
        return (labels > 0).sum(axis=0), len(labels)

    def label_to_json(self, label: Any) -> list[str]:
        return [self.names[number] for number in np.flatnonzero(label)]


def _flags(cells: Sequence[str], columns: Sequence[Column]) -> np.ndarray | BadExample:
    for cell, column in zip(cells, columns, strict=True):
        if cell not in ("0", "1"):
            return BadExample(f"has {cell!r} in the column {column.name}, not 0 or 1")
    return np.array([cell == "1" for cell in cells], np.float32)


def _present(numbers: tf.RaggedTensor, count: int) -> tf.Tensor:
    """1 for each number below `count` in a row, else 0: float32 `[n, count]`."""
    places = tf.stack([numbers.value_rowids(), numbers.flat_values], axis=-1)
    zeros = tf.zeros([numbers.nrows(), count], tf.float32)
    return tf.tensor_scatter_nd_max(zeros, places, tf.ones_like(places[:, 0], tf.float32))
