"""Numeric series in the columns of a table, with what is learned of them in others."""

import dataclasses
from typing import Literal

import numpy as np
import tensorflow as tf

from modelzoo.data import folds
from modelzoo.data.config import Data
from modelzoo.data.rows import Cells, Row, Rows, text_of
from modelzoo.data.source import Source
from modelzoo.data.spec import SeriesSpec
from modelzoo.data.splits import split_name, split_names, split_slice
from modelzoo.data.table_targets import Table, number_of
from modelzoo.fields.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeriesTable(Table, Data):
    """Series of numbers that stand in a table, see `Table`.

    Where `layout` is "rows_are_steps", rows follow each other in time, and examples are windows of
    them, named by their last row. A slice is a stretch of time: "train[:80%]" is the first 80 % of
    a split's rows in the order of the file. Windows lie, with the row of their targets, wholly
    inside their part and group; a bad line breaks them.

    Where it is "columns_are_steps" or "rows_are_examples", a row is an example: its columns are the
    steps of one feature, or the features of one step. Rows are ordered by a hash of their features
    (or group), as those of `TextTable` are.

    The spec holds mean and standard deviation of each feature over the training rows, by which
    tasks scale; one that never changes has the deviation 1.

    Attributes:
        feature_columns: the columns of the numbers that a model sees.
        layout: what rows and columns are, see above.
        length: rows in a window.
        horizon: how many rows after the window's last one its targets stand; 0 for in that one.
        stride: rows from one window to the next.
        on_bad_line: what a line with too few or too many columns or without a number where one
            belongs leads to: "error" names it, "skip" leaves it out and counts it.
    """

    feature_columns: tuple[str, ...]
    layout: Literal["rows_are_steps", "columns_are_steps", "rows_are_examples"] = "rows_are_steps"
    length: int = 1
    horizon: int = 0
    stride: int = 1
    on_bad_line: Literal["error", "skip"] = "error"

    def __post_init__(self):
        super().__post_init__()
        if not self.feature_columns:
            raise ValueError("feature_columns must name columns, got ()")
        if self.targets not in ("class", "values"):
            raise ValueError(f"targets must be 'class' or 'values', got {self.targets!r}")
        for name, least, default in (("length", 1, 1), ("horizon", 0, 0), ("stride", 1, 1)):
            value = getattr(self, name)
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
            if value != default and self.layout != "rows_are_steps":
                raise ValueError(
                    f"{name} must be {default} where layout is {self.layout!r}, got {value}"
                )
        if self.fold and self.layout == "rows_are_steps" and self.group_column is None:
            raise ValueError(
                "group_column must name the series that folds are made of where layout is "
                "'rows_are_steps', for windows of one series tell of each other; got None"
            )

    def _open(self, split: str, spec: SeriesSpec | None = None) -> Source:
        """Opens a split; the scale is that of `spec`, or else of the training rows."""
        used = split_names(split, self.train_split, self.validation_split, self.test_split)
        fields = {"feature_columns": self.feature_columns}
        table = self._read_rows(used, fields, self._numbers, "on_bad_line")
        rows = self._part(table, split)
        where = f"table {table.path.replace('{split}', split_name(split))}"
        runs = [[row] for row in rows]
        if self.layout == "rows_are_steps":
            runs = _unbroken(table.rows, rows)
        span, start, windows = self.length + self.horizon, 0, []
        for run in runs:
            # Where each begins, the row that names it and the one of its targets.
            windows += [
                (start + k, run[k + self.length - 1], run[k + span - 1])
                for k in range(0, len(run) - span + 1, self.stride)
            ]
            start += len(run)
        if not windows:
            raise UserError(
                f"{where}: no stretch of {split!r} has the {span} rows that config.data.length and "
                "config.data.horizon ask for"
            )
        first, named, targets = zip(*windows, strict=True)
        groups = None if self.group_column is None else [row.group for row in named]
        names = self._names([row for row in table.rows if row.split in used])
        labels = self._labels(targets, names)
        flat = [row for run in runs for row in run]
        if spec is None and split != self.train_split:
            spec = self._open(self.train_split).spec
        if spec is None and self.fold:
            kept, _ = folds.parts(self.fold, self.targets, labels, names, groups)
            inside = np.add.outer(np.array(first)[kept], np.arange(self.length))
            rows = [flat[place] for place in np.unique(inside)]
        mean, std = self._scale(rows) if spec is None else (spec.mean, spec.std)
        across = self.layout == "columns_are_steps"
        try:
            spec = SeriesSpec(
                class_names=names,
                targets=self.targets,
                length=len(self.feature_columns) if across else self.length,
                features=("value",) if across else self.feature_columns,
                mean=mean,
                std=std,
                columns=() if self.layout == "rows_are_steps" else self.feature_columns,
            )
        except ValueError as error:
            raise UserError(f"{where}: {error}") from None
        # On the host whatever accelerator there is: the pipeline reads them there.
        with tf.device("CPU:0"):
            steps = tf.constant([row.item for row in flat], tf.float32)
            first = tf.constant(first, tf.int64)
            labels = tf.constant(labels)

        def read(indices: tf.Tensor) -> dict[str, tf.Tensor]:
            places = tf.gather(first, indices)[:, None] + tf.range(self.length, dtype=tf.int64)
            shape = [-1, spec.length, len(spec.features)]
            series = tf.reshape(tf.gather(steps, places), shape)
            return {"series": series, "label": tf.gather(labels, indices)}

        ids = [row.id for row in named]
        return Source(spec, ids, read, table.skipped_in(split), groups=groups)

    def _numbers(self, cells: Cells) -> tuple[float, ...]:
        return tuple(number_of(text_of(cells, name), name) for name in self.feature_columns)

    def _part(self, table: Rows, split: str) -> list[Row]:
        """The rows of a split's text."""
        if self.layout != "rows_are_steps":
            return table.part(split, lambda row: repr(row.item))
        rows = table.of(split_name(split))
        return rows[split_slice(split, len(rows))]

    def _scale(self, rows: list[Row]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each feature."""
        values = np.array([row.item for row in rows], np.float64)
        if self.layout == "columns_are_steps":
            values = values.reshape(-1, 1)
        std = np.where(values.min(axis=0) == values.max(axis=0), 1.0, values.std(axis=0))
        return tuple(values.mean(axis=0).tolist()), tuple(std.tolist())


def _unbroken(table: list[Row], part: list[Row]) -> list[list[Row]]:
    """The part's rows of each group that neither bad lines nor rows of other parts lie between."""
    inside = set(map(id, part))
    runs: list[list[Row]] = []
    # Of each group, the bad lines before its last row and the run of that.
    current: dict[str | None, tuple[int, list[Row]]] = {}
    for row in table:
        if id(row) not in inside:
            current.pop(row.group, None)
            continue
        if current.get(row.group, (None,))[0] != row.skipped:
            current[row.group] = (row.skipped, [])
            runs.append(current[row.group][1])
        current[row.group][1].append(row)
    return runs
