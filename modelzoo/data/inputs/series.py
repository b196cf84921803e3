"""Series: numbers that follow each other in time, scaled to mean 0 and standard deviation 1."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import tensorflow as tf

from modelzoo.data.columns import Bad, BadExample, PerRow, Rows, Tensors, View
from modelzoo.data.inputs.input import BoundInput, Change, Input, Store
from modelzoo.data.targets.target import Target
from modelzoo.fields.checks import check_at_least
from modelzoo.fields.errors import FieldError, UserError
from modelzoo.fields.input_specs import ArraySpec, InputSpec

_ROWS: Final = "rows_are_steps"
_COLUMNS: Final = "columns_are_steps"
_EXAMPLES: Final = "rows_are_examples"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series(Input):
    """A series of numbers, float32 `[length, features]`.

    With the layout "rows_are_steps", rows follow each other in time, and examples are windows of
    them; the last row names a window, and other inputs read that row. A slice is a stretch of time:
    "train[:80%]" is the first 80 % of a split's rows in stored order. A window and the row of its
    target lie in one slice and one group, and no bad example lies between their rows.

    With "columns_are_steps" or "rows_are_examples", a row is an example, and a slice hashes its
    numbers. Its columns are the steps of one feature, or the features of one step; a column of
    arrays `[length, features]` needs "rows_are_examples".

    Mean and standard deviation of each feature are learned from the training rows; a feature that
    never changes has the standard deviation 1.

    Attributes:
        columns: columns of numbers, or one column of arrays.
        layout: what rows and columns are.
        length: number of rows of a window.
        horizon: number of rows from the last one of a window to that of its target; 0 predicts the
            target of the last row.
        stride: number of rows from one window to the next.

    Example:
        >>> Series(columns=("load", "heat"), length=24, horizon=1).split_key
        'time'
    """

    layout: Literal["rows_are_steps", "columns_are_steps", "rows_are_examples"] = _ROWS
    length: int = 1
    horizon: int = 0
    stride: int = 1

    kind = "series"
    forms = ("number", "array")
    default_column = "value"
    noun = "series"
    many = True
    file_argument = "TABLE"

    def __post_init__(self):
        check_at_least(1, length=self.length)
        check_at_least(0, horizon=self.horizon)
        check_at_least(1, stride=self.stride)
        if self.layout == _ROWS:
            return
        for name, default in (("length", 1), ("horizon", 0), ("stride", 1)):
            if (value := getattr(self, name)) != default:
                raise FieldError(
                    name, f"must be {default} if layout is {self.layout!r}, got {value}"
                )

    @property
    def split_key(self) -> Literal["value", "time"]:
        return "time" if self.layout == _ROWS else "value"

    def parse(self, rows: Rows, key: str) -> PerRow:
        """The numbers of each row: a tuple of floats, or an array."""
        columns = rows.columns[key]
        if all(column.form == "number" for column in columns):
            # As Python's floats, for a slice hashes their repr.
            cells = [np.asarray(rows.values(column), np.float64).tolist() for column in columns]
            return list(zip(*cells, strict=True))
        if len(columns) > 1:
            raise UserError(
                f"config.data.{key}.columns must name columns of numbers or one column of arrays, "
                f"got {', '.join(f'{column.name} ({column.form})' for column in columns)}"
            )
        values = np.asarray(rows.values(columns[0]))
        finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if finite.all():
            return values
        bad = BadExample(f"has a number in {columns[0].name} that is not finite")
        return [value if good else bad for value, good in zip(values, finite, strict=True)]

    def view(self, rows: Rows, part: np.ndarray, key: str) -> View:
        if self.layout != _ROWS:
            return super().view(rows, part, key)
        span = self.length + self.horizon
        order, groups = _by_group(rows)
        inside = np.zeros(len(rows), bool)
        inside[part] = True
        inside, groups, gaps = inside[order], groups[order], _gaps(rows)[order]
        # An unbroken stretch starts at a row that does not follow its predecessor.
        follows = inside[1:] & inside[:-1]
        follows &= (groups[1:] == groups[:-1]) & (gaps[1:] == gaps[:-1])
        new = np.append(True, ~follows)[: len(rows)]
        starts, stretch = np.flatnonzero(inside & new), np.cumsum(new)
        sizes = np.bincount(stretch[inside])[stretch[starts]]
        # Stretches in the order of their first rows.
        windows = [
            np.arange(start, start + size - span + 1, self.stride)
            for _, start, size in sorted(zip(order[starts], starts, sizes, strict=True))
        ]
        first = np.concatenate([np.zeros(0, np.int64), *windows])
        if not len(first):
            raise UserError(
                f"{rows.where}: of the {len(part):,} rows in this part of {rows.split!r}, no "
                f"{span} follow each other, as config.data.{key}.length and horizon require"
            )
        last, target = order[first + self.length - 1], order[first + span - 1]
        return View(rows, order[first], last, target, part)

    def fit(self, train: View, key: str, target: Target | None) -> "BoundSeries":
        """Learns mean and standard deviation: over the slice, or over the examples of a fold."""
        parsed, names = train.rows.parsed_by(key), [c.name for c in train.rows.columns[key]]
        rows = train.part
        if rows is None:
            # Each once, in the order of the windows.
            rows = _windows(train, self.length).ravel()
            rows = rows[np.sort(np.unique(rows, return_index=True)[1])]
        values = np.array([parsed[row] for row in rows], np.float64)
        if isinstance(parsed[rows[0]], np.ndarray):
            names = [f"{names[0]}_{k}" for k in range(values.shape[-1])]
        if values.ndim > 2 and (values.ndim > 3 or self.layout != _EXAMPLES):
            raise UserError(
                f"config.data.{key}.layout must be {_EXAMPLES!r} with arrays [length, features], "
                f"got {self.layout!r} with arrays of shape {list(values.shape[1:])}"
            )
        length, features = self.length, tuple(names)
        if self.layout == _COLUMNS:
            length, features = len(names), ("value",)
        elif values.ndim == 3:
            length = values.shape[1]
        values = values.reshape(-1, len(features))
        std = np.where(values.min(axis=0) == values.max(axis=0), 1.0, values.std(axis=0))
        mean = tuple(values.mean(axis=0).tolist())
        return BoundSeries(self, tuple(names), length, features, mean, tuple(std.tolist()))

    def inherit(
        self, trained: BoundInput | None, train: View, key: str, target: Target | None
    ) -> tuple["BoundSeries", str | None]:
        """Keeps mean and standard deviation if there are as many features."""
        bound = self.fit(train, key, target)
        if not isinstance(trained, BoundSeries) or (
            (bound.mean, bound.std) == (trained.mean, trained.std)
        ):
            return bound, None
        if len(bound.mean) == len(trained.mean):
            kept = dataclasses.replace(bound, mean=trained.mean, std=trained.std)
            return kept, f"mean and std of config.data.{key} are those of the initial weights"
        return bound, (
            f"mean and std of config.data.{key} are learned from its {len(bound.mean)} features: "
            f"the initial weights have {len(trained.mean)}"
        )

    def load(self, learned: Mapping[str, Any], folder: Path) -> "BoundSeries":
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in learned.items()
        }
        return BoundSeries(config=self, **values)


@dataclasses.dataclass(frozen=True)
class BoundSeries(BoundInput):
    """A series with its size and its scale.

    Attributes:
        columns: names of the columns that a table must have.
        length: number of steps.
        feature_names: names of the features.
        mean: mean of each feature in the training rows.
        std: standard deviation of each feature, 1 if it never changes.

    Example:
        >>> BoundSeries(Series(), ("load",), 1, ("load",), (20.0,), (4.0,)).describe()
        'series of 1 steps, 1 features'
    """

    config: Series
    columns: tuple[str, ...]
    length: int
    feature_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def _shape(self) -> tuple[int, int]:
        return self.length, len(self.feature_names)

    def model_specs(self) -> dict[str, InputSpec]:
        return {"series": ArraySpec("series", self._shape)}

    def open(self, view: View, key: str, on_bad: str, whole: bool = False) -> "SeriesStore":
        return SeriesStore(view, key, self)

    def features(
        self, raw: Tensors, training: bool, seeds: tf.Tensor | None, weight: tf.Tensor | None
    ) -> tuple[Tensors, Change | None]:
        series = tf.cast(raw["series"], tf.float32)
        mean, std = (np.array(values, np.float32) for values in (self.mean, self.std))
        return {"series": (series - mean) / std}, None

    def serving(self) -> dict[str, tuple[str, tf.TensorSpec]]:
        """`serving_default`: `series`, float32 `[n, length, features]`, not scaled."""
        spec = tf.TensorSpec((None, *self._shape), tf.float32, name="series")
        return {"serving_default": ("series", spec)}

    def describe(self) -> str:
        return f"series of {self.length} steps, {len(self.feature_names)} features"

    def save(self, folder: Path) -> dict[str, Any]:
        learned = dataclasses.asdict(self)
        del learned["config"]
        return learned

    def fingerprint(self) -> bytes:
        return repr((self.columns, self._shape, self.mean, self.std)).encode()

    def for_table(self) -> "BoundSeries":
        """An example is a row if its columns hold all numbers, else a window of rows.

        A window needs no row for its target, which may lie beyond the table.
        """
        if self.config.layout != _ROWS and len(self.columns) == np.prod(self._shape):
            config = dataclasses.replace(self.config, columns=self.columns)
        else:
            config = Series(columns=self.columns, length=self.length)
        return dataclasses.replace(self, config=config)

    def requests(self, rows: Rows, key: str, alone: bool) -> tuple[View, Sequence[Bad]]:
        """The last rows of the table, or of each of its groups, if rows follow each other in time.

        Without groups, a bad line before these rows does not matter.
        """
        if self.config.layout != _ROWS or not alone:
            return super().requests(rows, key, alone)
        length, gaps, windows, bad = self.length, _gaps(rows), [], list(rows.bad)
        order, groups = _by_group(rows)
        for own in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
            last, name = own[-length:], rows.where
            whole = len(last) == length and gaps[last[0]] == gaps[last[-1]]
            if rows.groups is None:
                whole, bad = whole and gaps[last[-1]] == len(bad), bad[-1:]
            elif len(own):
                name += f", group {rows.groups[own[0]]}"
            if whole and rows.usable[last].all():
                windows.append(last)
                bad = [] if rows.groups is None else bad
            elif rows.groups is not None or not bad:
                short = f"has {len(own)} rows, the model needs {length}"
                broken = f"has a bad line among its last {length} rows"
                bad.append(Bad(rows.split, name, short if len(own) < length else broken))
        last = np.array(windows, np.int64).reshape(-1, length)
        return View(rows, last[:, 0], last[:, -1], last[:, -1]), bad


class SeriesStore(Store):
    """The numbers of the rows of a view, in memory: the raw tensor `series`, not scaled."""

    def __init__(self, view: View, key: str, bound: BoundSeries):
        self._length = bound.config.length
        self._shape = [-1, bound.length, len(bound.feature_names)]
        windows, parsed = _windows(view, self._length), view.rows.parsed_by(key)
        order, _ = _by_group(view.rows)
        # Rows of a window are neighbours in this order; each row is stored once.
        place = np.argsort(order)
        used, first = np.unique(place[windows], return_inverse=True)
        steps = np.array([parsed[row] for row in order[used]], np.float64).astype(np.float32)
        if self._length * steps[0].size != bound.length * len(bound.feature_names):
            raise UserError(
                f"config.data.{key}.columns must have the {bound.length} steps of "
                f"{len(bound.feature_names)} features that the model was trained on, a row has "
                f"{steps[0].size} numbers"
            )
        # On the host, where the pipeline reads them, whatever accelerator there is.
        with tf.device("CPU:0"):
            self._steps = tf.constant(steps)
            self._first = tf.constant(first.reshape(windows.shape)[:, 0], tf.int64)

    def read(self, examples: tf.Tensor, raw: Tensors, width: tf.Tensor | int | None) -> Tensors:
        steps = tf.range(self._length, dtype=tf.int64)
        places = tf.gather(self._first, examples)[:, None] + steps
        return {"series": tf.reshape(tf.gather(self._steps, places), self._shape)}


def _by_group(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """All rows by group, else in stored order; and the number of each row's group. Int64 `[n]`."""
    if rows.groups is None:
        return np.arange(len(rows)), np.zeros(len(rows), np.int64)
    _, groups = np.unique(np.array(rows.groups), return_inverse=True)
    return np.argsort(groups, kind="stable"), groups


def _gaps(rows: Rows) -> np.ndarray:
    """Number of bad examples up to each row, and of its group's rows elsewhere; int64 `[n]`."""
    gaps = np.cumsum(~rows.usable)
    return gaps if rows.bad_before is None else gaps + rows.bad_before


def _windows(view: View, length: int) -> np.ndarray:
    """The rows of each window, int64 `[n, length]`: the last ones of its group up to `last`."""
    order, _ = _by_group(view.rows)
    return order[np.argsort(order)[view.last][:, None] + np.arange(1 - length, 1)]
