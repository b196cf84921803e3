"""Rows and columns: what a source gives and what inputs and targets ask for."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import tensorflow as tf

from modelzoo.fields.errors import UserError

Form = Literal["file", "bytes", "text", "array", "number", "list", "class"]
"""How a cell is stored.

"file": path of a file, an absolute str. "bytes": the content of a file. "text": a str, stripped.
"array": numbers of a fixed shape. "number": one finite number. "list": a list of values, or a str
in a table whose field accepts "text" too. "class": an integer, the place in `Column.names`.
"""

Tensors = dict[str, tf.Tensor]

PerRow = Sequence[Any] | np.ndarray
"""One value per row."""

_PIECE = 1024


class BadExample(Exception):  # noqa: N818 (a state of the data, not a failure of the program)
    """An example cannot be used; the message is the reason, such as "has no text"."""


class Bad(NamedTuple):
    """A bad example.

    split: name of its base split; None if the place does not say, so that it counts in all splits.
    place: where it is, such as "train.csv, line 17". reason: why it is bad.
    """

    split: str | None
    place: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What one input or target asks of a source; see `Field`.

    `key` is its place behind `config.data.`, such as "inputs" or "target"; `columns` is () for the
    source's default; `default` is that of a table.
    """

    key: str
    columns: tuple[str, ...]
    default: str
    forms: tuple[Form, ...]
    suffixes: tuple[str, ...] = ()
    noun: str = "examples"
    many: bool = False

    @property
    def is_target(self) -> bool:
        return self.key == "target"

    @property
    def field(self) -> str:
        """The field of the config that names the columns, for messages."""
        return f"config.data.{self.key}" + ".columns" * (self.key != "split_by")


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of a base split.

    Attributes:
        name: its name in the source, and in what `Rows.read` returns.
        form: how its cells are stored.
        values: the cells of all rows, in memory; None if only `Rows.read` gives them.
        names: names of the classes, of the forms "class" and "list"; names of the numbers in a
            cell, of the forms "array" and "number"; None if the source has none.
        keys: the paths of files as the source writes them, of the form "file".
        shape: of the form "bytes" with images, the shape that all have, with None for what differs;
            None if the source does not know it.
    """

    name: str
    form: Form
    values: Sequence[Any] | np.ndarray | None = None
    names: tuple[str, ...] | None = None
    keys: Sequence[str] | None = None
    shape: tuple[int | None, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Rows:
    """One base split of a source, read once, in stored order.

    Attributes:
        split: name of the base split.
        where: the source in messages, such as "table train.csv".
        ids: name of each row, such as "train.csv:17".
        place: where a row is, for a message.
        columns: by `Wanted.key`, the columns that it asked for, in its order.
        parsed: by `Wanted.key`, one value per row that the input or target made of the cells, or a
            BadExample; None if it reads its cells later, such as images.
        read: reads the lazy columns of rows (int64 `[n]`) in one call, in a graph as well.
        groups: group of each row, which no split parts; None without groups.
        weights: weight of each row, float32 `[n]`; None for 1.
        bad: bad examples that the source left out.
        bad_before: how many of them come before each row, plus how many rows of its group in other
            base splits, int64 `[n]`. Rows of a group with unequal numbers do not follow each other;
            None if all do.
        remarks: what a person should know about the rows, such as how many files are left out.
    """

    split: str
    where: str
    ids: Sequence[str]
    place: Callable[[int], str]
    columns: Mapping[str, tuple[Column, ...]]
    parsed: Mapping[str, PerRow | None] = dataclasses.field(default_factory=dict)
    read: Callable[[tf.Tensor], Tensors] | None = None
    groups: Sequence[str] | None = None
    weights: np.ndarray | None = None
    bad: tuple[Bad, ...] = ()
    bad_before: np.ndarray | None = None
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def concat(cls, parts: "Sequence[Rows]") -> "Rows":
        """The rows of several base splits, no window of which goes from one to the next."""
        if len(parts) == 1:
            return parts[0]
        first, starts = parts[0], np.cumsum([0, *map(len, parts)])
        reads = [one.read for one in parts if one.read is not None]
        split = "+".join(one.split for one in parts)
        gap, breaks, weights = 0, [], []
        for one in parts:
            before = np.zeros(len(one), np.int64) if one.bad_before is None else one.bad_before
            breaks.append(before + gap)
            gap += 1 + max(before, default=0)
            weights.append(np.ones(len(one), np.float32) if one.weights is None else one.weights)

        def place(row: int) -> str:
            part = int(np.searchsorted(starts, row, "right")) - 1
            return parts[part].place(row - int(starts[part]))

        return cls(
            split=split,
            where=" and ".join(dict.fromkeys(one.where for one in parts)),
            ids=_joined([one.ids for one in parts]),
            place=place,
            columns={
                key: tuple(
                    _joined_column(each, f"{first.where}, {split}")
                    for each in zip(*(one.columns[key] for one in parts), strict=True)
                )
                for key in first.columns
            },
            parsed={key: _joined([one.parsed[key] for one in parts]) for key in first.parsed},
            read=_joined_read(reads, starts) if reads else None,
            groups=_joined([one.groups for one in parts]),
            weights=None if all(one.weights is None for one in parts) else np.concatenate(weights),
            bad=tuple(dict.fromkeys(bad for one in parts for bad in one.bad)),
            bad_before=np.concatenate(breaks),
            remarks=tuple(remark for one in parts for remark in one.remarks),
        )

    def parsed_by(self, key: str) -> PerRow:
        """What the input or target of that key made of the cells, which it has read."""
        values = self.parsed[key]
        if values is None:
            raise ValueError(f"the cells of {key} are read with a batch")
        return values

    @property
    def usable(self) -> np.ndarray:
        """Which rows no input and no target found bad, bool `[n]`."""
        usable = np.ones(len(self), bool)
        for values in self.parsed.values():
            if values is not None and not isinstance(values, np.ndarray):
                usable &= np.array([not isinstance(value, BadExample) for value in values], bool)
        return usable

    def values(self, column: Column, rows: np.ndarray | None = None) -> PerRow:
        """Cells of a column, of all rows or of some (int64 `[n]`), read in pieces if lazy."""
        if column.values is not None:
            if rows is None:
                return column.values
            if isinstance(column.values, np.ndarray):
                return column.values[rows]
            return [column.values[row] for row in rows]
        read = self.read
        if read is None:
            raise ValueError(f"column {column.name!r} has no values and its source reads none")
        wanted = np.arange(len(self)) if rows is None else np.asarray(rows, np.int64)
        found: list[Any] = []
        for piece in in_pieces(lambda index: read(index)[column.name], wanted):
            found += piece.to_list() if isinstance(piece, tf.RaggedTensor) else list(piece.numpy())
        return found


def in_pieces(read: Callable[[tf.Tensor], Any], rows: np.ndarray) -> tf.data.Dataset:
    """What `read` returns for rows, in pieces; in a graph, which reads only what is needed."""
    return tf.data.Dataset.from_tensor_slices(rows).batch(_PIECE).map(read)


def _joined(parts: Sequence[Any]) -> Any:
    """Values of several base splits; None if a part is None."""
    if any(part is None for part in parts):
        return None
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts)
    return list(itertools.chain.from_iterable(parts))


def _joined_column(columns: Sequence[Column], where: str) -> Column:
    cells = {
        (one.form, one.names, one.shape, getattr(one.values, "shape", ())[1:]) for one in columns
    }
    if len(cells) > 1:
        raise UserError(
            f"{where}: the column {columns[0].name} has other classes or values in one split than "
            "in the others"
        )
    values, keys = ([getattr(one, field) for one in columns] for field in ("values", "keys"))
    return dataclasses.replace(columns[0], values=_joined(values), keys=_joined(keys))


def _joined_read(
    reads: Sequence[Callable[[tf.Tensor], Tensors]], starts: np.ndarray
) -> Callable[[tf.Tensor], Tensors]:
    def read(rows: tf.Tensor) -> Tensors:
        part = tf.searchsorted(starts[1:], rows, side="right")
        own = tf.dynamic_partition(rows - tf.gather(starts, part), part, len(reads))
        found = [one(some) for one, some in zip(reads, own, strict=True)]
        places = tf.dynamic_partition(tf.range(tf.shape(rows)[0]), part, len(reads))
        order = tf.ensure_shape(tf.math.invert_permutation(tf.concat(places, 0)), rows.shape)
        return {
            name: tf.gather(tf.concat([one[name] for one in found], 0), order) for name in found[0]
        }

    return read


class View(NamedTuple):
    """The examples of one part of a base split.

    An input reads the rows from `first` to `last` of an example (equal if a row is an example), a
    target the row `target`; `last` names the example. All are int64 `[n]`. With groups, a window
    skips the rows of other groups.

    `part` has all rows of a slice, int64, even those outside of all examples; None if the view is
    of some examples of a slice, such as those of a fold.
    """

    rows: Rows
    first: np.ndarray
    last: np.ndarray
    target: np.ndarray
    part: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.last)

    def take(self, examples: np.ndarray) -> "View":
        """The view of some of the examples."""
        return View(self.rows, self.first[examples], self.last[examples], self.target[examples])

    def column(self, key: str) -> Column:
        """The only column that the input or target of that key asked for."""
        (column,) = self.rows.columns[key]
        return column
