"""Numbers for each example."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from modelzoo.data.columns import PerRow, Rows
from modelzoo.data.inputs.input import Input
from modelzoo.data.targets.target import BoundInputs, NamedTarget
from modelzoo.data.targets.vectors import BoundVector, number_names, parse_numbers
from modelzoo.fields.errors import UserError

_LARGEST = float(np.finfo(np.float32).max)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Values(NamedTarget):
    """One or several numbers for each example.

    Attributes:
        columns: the columns of the numbers, or one of arrays `[values]`; () for the source's
            default, "label" in a table.

    Example:
        >>> from modelzoo.data.targets.values import Values
        >>> Values(columns=("height", "width")).columns
        ('height', 'width')
    """

    kind = noun = "values"
    forms = ("array", "number")
    default_column = "label"
    can_mix = many = True

    def parse(self, rows: Rows, key: str, inputs: Mapping[str, Input]) -> PerRow | None:
        """The numbers of each row, float32 `[values]`; None if they are read with a batch."""
        return parse_numbers(
            rows, key, lambda numbers: abs(numbers) <= _LARGEST, "a finite number of float32"
        )

    def find_names(self, train: Rows, used: Sequence[Rows], key: str) -> Sequence[str]:
        return number_names(train, train.columns[key])

    def bind(self, names: tuple[str, ...], inputs: BoundInputs) -> "BoundValues":
        return BoundValues(self, names)


@dataclasses.dataclass(frozen=True)
class BoundValues(BoundVector):
    """`Values` on given data: `label` is float32 `[n, values]`."""

    config: Values
    names: tuple[str, ...]

    def _reordered(self, labels: tf.Tensor, given: Sequence[str]) -> tf.Tensor:
        missing = [name for name in self.names if name not in given]
        if missing:
            raise UserError(f"the data has no values {missing[0]!r}, which the model predicts")
        return super()._reordered(labels, given)

    def label_to_json(self, label: Any) -> dict[str, float]:
        return dict(zip(self.names, map(float, label), strict=True))
