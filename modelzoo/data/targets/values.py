"""Numbers for each example."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from modelzoo.data.columns import PerRow, Rows, View
from modelzoo.data.inputs.input import Input
from modelzoo.data.targets.target import BoundInputs, BoundTarget, NamedTarget
from modelzoo.data.targets.vectors import BoundVector, number_names, parse_numbers
from modelzoo.fields.errors import UserError

_FLOAT32 = np.finfo(np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Values(NamedTarget):
    """One or several numbers for each example.

    Mean and standard deviation of each value are learned from the training examples, by their
    weights; a value that never changes has the standard deviation 1. `Regression` scales by them.

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
            rows, key, lambda numbers: abs(numbers) <= _FLOAT32.max, "a finite number of float32"
        )

    def find_names(self, train: Rows, used: Sequence[Rows], key: str) -> Sequence[str]:
        return number_names(train, train.columns[key])

    def fit(
        self, train: View, used: Sequence[Rows], key: str, inputs: BoundInputs
    ) -> "BoundValues":
        bound = super().fit(train, used, key, inputs)
        assert isinstance(bound, BoundValues)
        values, weights = bound.read_labels(train, key).astype(np.float64), train.rows.weights
        finite = np.isfinite(values).all(axis=0)
        if not finite.all():
            name = bound.names[int(finite.argmin())]
            raise UserError(
                f"{train.rows.where}: {name} has a number that is not finite; repair or remove it"
            )
        if weights is not None and (weights := weights[train.last]).any():
            values, weights = values[weights > 0], weights[weights > 0]
        else:
            weights = None
        # From the first value on, so that equal values have their own mean.
        mean = values[0] + np.average(values - values[0], axis=0, weights=weights)
        std = np.sqrt(np.average((values - mean) ** 2, axis=0, weights=weights))
        std[std < _FLOAT32.tiny] = 1.0
        return dataclasses.replace(bound, mean=tuple(mean.tolist()), std=tuple(std.tolist()))

    def inherit(
        self,
        trained: BoundTarget | None,
        train: View,
        used: Sequence[Rows],
        key: str,
        inputs: BoundInputs,
    ) -> tuple["BoundValues", str | None]:
        """Keeps mean and standard deviation if the values have the same names."""
        bound, remark = super().inherit(trained, train, used, key, inputs)
        assert isinstance(bound, BoundValues)
        if not isinstance(trained, BoundValues) or bound.names != trained.names:
            return bound, remark
        kept = dataclasses.replace(bound, mean=trained.mean, std=trained.std)
        said = f"mean and std of config.data.{key} are those of the initial weights"
        return kept, None if kept == bound else said

    def bind(self, names: tuple[str, ...], inputs: BoundInputs) -> "BoundValues":
        return BoundValues(self, names)

    def load(self, learned: Mapping[str, Any], folder: Path, inputs: BoundInputs) -> "BoundValues":
        names, mean, std = (tuple(learned[name]) for name in ("names", "mean", "std"))
        return BoundValues(self, names, mean, std)


@dataclasses.dataclass(frozen=True)
class BoundValues(BoundVector):
    """`Values` on given data: `label` is float32 `[n, values]`, not scaled.

    Attributes:
        mean: mean of each value in the training examples; None is 0.
        std: standard deviation of each value, 1 if it never changes; None is 1.
    """

    config: Values
    names: tuple[str, ...]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def _reordered(self, labels: tf.Tensor, given: Sequence[str]) -> tf.Tensor:
        missing = [name for name in self.names if name not in given]
        if missing:
            raise UserError(f"the data has no values {missing[0]!r}, which the model predicts")
        return super()._reordered(labels, given)

    def describe_name(self, number: int, count: int | None) -> str:
        if self.mean is None or self.std is None:
            return ""
        return f"mean {self.mean[number]:.4g} and standard deviation {self.std[number]:.4g}"

    def label_to_json(self, label: Any) -> dict[str, float]:
        return dict(zip(self.names, map(float, label), strict=True))

    def save(self, folder: Path) -> dict[str, Any]:
        return {**super().save(folder), "mean": self.mean, "std": self.std}

    def fingerprint(self) -> bytes:
        return repr((self.mean, self.std)).encode()
