"""One class for each example."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from modelzoo.data.augment import mixing
from modelzoo.data.columns import BadExample, Rows, Tensors, View
from modelzoo.data.inputs.input import Change, Input, Store
from modelzoo.data.targets.labels import LabelStore, count_numbers, found_names, places
from modelzoo.data.targets.target import BoundInputs, BoundTarget, NamedTarget
from modelzoo.fields.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassLabel(NamedTarget):
    """One class for each example.

    Classes are those that the source names, such as class folders or the feature of a TFDS data
    set; else the texts of the column in all splits in use, sorted.

    Attributes:
        columns: the column of the class; () for the source's default, "label" in a table.

    Example:
        >>> from modelzoo.data.targets.class_label import ClassLabel
        >>> ClassLabel(columns=("kind",)).columns
        ('kind',)
    """

    kind = "a class"
    forms = ("class", "text")
    default_column = "label"
    can_mix = True
    noun = "classes"

    def parse(self, rows: Rows, key: str, inputs: Mapping[str, Input]) -> Sequence[Any] | None:
        """Names of classes; None if the source numbers them."""
        (column,) = rows.columns[key]
        if column.form == "class":
            return None
        empty = BadExample(f"has nothing in the column {column.name}")
        return [text or empty for text in rows.values(column)]

    def stratify(
        self, view: View, used: Sequence[Rows], key: str
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        known = tuple(self.find_names(view.rows, used, key))
        return _numbers(view, key, known), known

    def find_names(self, train: Rows, used: Sequence[Rows], key: str) -> Sequence[str]:
        (column,) = train.columns[key]
        return found_names(used, key) if column.names is None else column.names

    def bind(self, names: tuple[str, ...], inputs: BoundInputs) -> "BoundClassLabel":
        return BoundClassLabel(self, names)


@dataclasses.dataclass(frozen=True)
class BoundClassLabel(BoundTarget):
    """`ClassLabel` on given data.

    `label` is int64 `[n]`, a place in `names`. After MixUp or CutMix, `label_2` is the partner's.
    """

    config: ClassLabel
    names: tuple[str, ...]

    exclusive = True

    def open(self, view: View, key: str, inputs: Mapping[str, Store], lazy: bool) -> Store:
        column = view.column(key)
        if not (lazy and column.form == "class" and column.values is None):
            return LabelStore(_numbers(view, key, self.names))
        _numbers(view.take(np.arange(1)), key, self.names)  # Checks that there are labels.
        order = tf.constant(places(column.names or (), self.names, self.noun))
        return LabelStore(read=lambda raw: tf.gather(order, raw[column.name]))

    def features(self, raw: Tensors, change: Change | None) -> Tensors:
        label = raw["label"]
        if change is None:
            return {"label": label}
        return {"label": label, "label_2": mixing.partners(label)}

    def count_labels(self, batch: Tensors) -> tuple[np.ndarray, int]:
        return count_numbers(batch["label"].numpy()[batch["weight"].numpy() > 0], len(self.names))

    def label_to_json(self, label: Any) -> str:
        return self.names[label]


def _numbers(view: View, key: str, known: Sequence[str]) -> np.ndarray:
    """The class of each example, int64 `[n]`; UserError without one that is known."""
    column, parsed = view.column(key), view.rows.parsed.get(key)
    if parsed is not None:
        found = [parsed[row] for row in view.target]
        given = sorted(set(found))
        numbers = dict(zip(given, places(given, known, "classes"), strict=True))
        return np.array([numbers[name] for name in found], np.int64)
    labels = np.asarray(view.rows.values(column, view.target), np.int64)
    order = places(column.names or (), known, "classes")
    wrong = np.flatnonzero((labels < 0) | (labels >= len(order)))
    if len(wrong):
        place = view.rows.place(int(view.target[wrong[0]]))
        raise UserError(
            f"{place}: the class is {labels[wrong[0]]}, but classes are numbers from 0 to "
            f"{len(order) - 1}; choose a split that has labels"
        )
    return order[labels]
