"""What is learned of the lines of a table: classes, tags, values or labels in its columns."""

import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from modelzoo.data.rows import BadLineError, Cells, Lines, Row, Rows, filled, text_of
from modelzoo.data.spec import Targets
from modelzoo.fields.errors import UserError

_LARGEST = float(np.finfo(np.float32).max)


@dataclasses.dataclass(frozen=True)
class Table(Lines):
    """Fields of the sources that read tables with targets in their columns, see `Lines`.

    Classes, labels and tags of one column are the texts of all splits that the config names,
    sorted.

    Attributes:
        targets: what is learned: "class", "tags", "values" or, of each token, "labels".
        target_columns: the column of the class or labels; the one column of the tags, or a column
            of 0 or 1 for each tag; the columns of the values, numbers.
        tag_separator: what stands between the tags of one column, such as ";"; None for a column
            for each tag or, in JSON lines, for one that holds lists.
    """

    targets: Targets = "class"
    target_columns: tuple[str, ...] = ("label",)
    tag_separator: str | None = None

    def __post_init__(self):
        super().__post_init__()
        one = self.targets in ("class", "labels") or self.tag_separator is not None
        if not self.target_columns or (one and len(self.target_columns) > 1):
            raise ValueError(
                f"target_columns must name {'one column' if one else 'columns'}, "
                f"got {self.target_columns}"
            )
        if self.tag_separator is not None and (self.targets != "tags" or not self.tag_separator):
            raise ValueError(
                "tag_separator must be None or the text between tags, where targets is 'tags', "
                f"got {self.tag_separator!r} where it is {self.targets!r}"
            )

    @property
    def _tags_in_one(self) -> bool:
        """Whether one column holds all tags."""
        lists = self._is_json and len(self.target_columns) == 1
        return self.targets == "tags" and (self.tag_separator is not None or lists)

    def _read_rows(
        self,
        used: set[str],
        fields: dict[str, tuple[str, ...]],
        take: Callable[[Cells], Any],
        on_bad: str,
    ) -> Rows:
        fields = {**fields, "target_columns": self.target_columns}
        return super()._read_rows(used, fields, take, on_bad)

    def _target(self, cells: Cells) -> str | tuple[str, ...] | tuple[float, ...]:
        name, cell = self.target_columns[0], cells.get(self.target_columns[0])
        texts = [text_of(cells, name) for name in self.target_columns]
        if self._tags_in_one and not isinstance(cell, list):
            if self.tag_separator is None:
                raise BadLineError(f"has {texts[0]!r} in the column {name}, no list of tags")
            cell = texts[0].split(self.tag_separator)
        if self._tags_in_one:
            return tuple(tag for t in cell if (tag := str(t).strip()))
        if self.targets == "labels":
            return tuple(map(str, cell)) if isinstance(cell, list) else tuple(texts[0].split())
        if self.targets == "class":
            return filled(cells, name)
        named = list(zip(self.target_columns, texts, strict=True))
        if self.targets == "values":
            return tuple(number_of(text, name) for name, text in named)
        wrong = next(((name, text) for name, text in named if text not in ("0", "1")), None)
        if wrong:
            raise BadLineError(f"has {wrong[1]!r} in the column {wrong[0]}, not 0 or 1")
        return tuple(name for name, text in named if text == "1")

    def _names(self, rows: Sequence[Row]) -> tuple[str, ...]:
        """Names of the classes, labels, tags or values."""
        if self.targets == "class":
            return tuple(sorted({row.target for row in rows}))
        if self.targets == "values" or (self.targets == "tags" and not self._tags_in_one):
            return self.target_columns
        names = tuple(sorted({name for row in rows for name in row.target}))
        if not names:
            kind = "tag" if self.targets == "tags" else "label"
            where = os.path.expanduser(self.path)
            raise UserError(f"{where} has no {kind} in the column {self.target_columns[0]}")
        return names

    def _labels(self, rows: Sequence[Row], names: tuple[str, ...]) -> np.ndarray | list[np.ndarray]:
        """Labels of the rows, as `targets` says; of "labels", int64 `[tokens]` for each row."""
        numbers = {name: number for number, name in enumerate(names)}
        if self.targets == "class":
            return np.array([numbers[row.target] for row in rows], np.int64)
        if self.targets == "values":
            return np.array([row.target for row in rows], np.float32)
        if self.targets == "labels":
            return [np.array([numbers[name] for name in row.target], np.int64) for row in rows]
        labels = np.zeros((len(rows), len(names)), np.float32)
        for label, row in zip(labels, rows, strict=True):
            label[[numbers[tag] for tag in row.target]] = 1
        return labels


def number_of(text: str, name: str) -> float:
    """A finite number of float32 from a column's text; raises BadLineError where it is none."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= _LARGEST:
        raise BadLineError(f"has {text!r} in the column {name}, no number of float32")
    return value
