"""Numbers for each example."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from modelzoo.data.columns import Form, PerRow, Rows, View
from modelzoo.data.inputs.input import BoundInput, Input
from modelzoo.data.targets.names import checked
from modelzoo.data.targets.target import Target
from modelzoo.data.targets.vectors import BoundVector, number_names, parse_numbers
from modelzoo.fields.errors import UserError

_LARGEST = float(np.finfo(np.float32).max)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Values(Target):
    """One or several numbers for each example.

    Attributes:
        columns: the columns of the numbers, or one of arrays `[values]`; () for the source's
            default, "label" in a table.

    Example:
        >>> from modelzoo.data.targets.values import Values
        >>> Values(columns=("height", "width")).columns
        ('height', 'width')
    """

    kind: ClassVar[str] = "values"
    forms: ClassVar[tuple[Form, ...]] = ("array", "number")
    default_column: ClassVar[str] = "label"
    can_mix: ClassVar[bool] = True
    noun: ClassVar[str] = "values"
    many: ClassVar[bool] = True

    def parse(self, rows: Rows, key: str, inputs: Mapping[str, Input]) -> PerRow | None:
        """The numbers of each row, float32 `[values]`; None if they are read with a batch."""
        return parse_numbers(
            rows, key, lambda numbers: abs(numbers) <= _LARGEST, "a finite number of float32"
        )

    def fit(
        self, train: View, used: Sequence[Rows], key: str, inputs: Mapping[str, BoundInput]
    ) -> "BoundValues":
        names = number_names(train.rows, train.rows.columns[key])
        return BoundValues(self, checked(names, train.rows.where))

    def load(
        self, learned: Mapping[str, Any], folder: Path, inputs: Mapping[str, BoundInput]
    ) -> "BoundValues":
        return BoundValues(self, tuple(learned["names"]))


@dataclasses.dataclass(frozen=True)
class BoundValues(BoundVector):
    """`Values` on given data: `label` is float32 `[n, values]`."""

    config: Values
    names: tuple[str, ...]

    noun = "values"

    def _reordered(self, labels: tf.Tensor, given: Sequence[str]) -> tf.Tensor:
        missing = [name for name in self.names if name not in given]
        if missing:
            raise UserError(f"the data has no values {missing[0]!r}, which the model predicts")
        return super()._reordered(labels, given)

    def label_to_json(self, label: Any) -> dict[str, float]:
        return dict(zip(self.names, map(float, label), strict=True))
