"""Tables read by column: CSV, TSV and JSON lines, their splits and bad lines."""

import csv
import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from modelzoo.data.splits import (
    SPLIT,
    MissingSplitError,
    part_by_hash,
    split_files,
    split_names,
)
from modelzoo.fields.errors import UserError

_JSON = (".jsonl", ".json")

Cells = dict[str, Any]
"""One line by column: texts, or JSON values."""


class BadLineError(Exception):
    """One line cannot be used; says why."""


class Row(NamedTuple):
    """One good line.

    id: the name of its file and its number, such as "train.csv:17". item: what the source has read
    from it. target: what `_target` says of it. group: None without
    groups. skipped: how many bad lines were read before it.
    """

    split: str
    id: str
    item: Any
    target: Any
    group: str | None
    skipped: int


class _Skipped(NamedTuple):
    """One bad line: the split that it is of, None where it does not tell, its place and why."""

    split: str | None
    line: str
    reason: str


class Rows(NamedTuple):
    """What was read of a table.

    path: that of the table. rows: the good lines of the splits that were read, in their order.
    skipped: the bad ones. known: names of the splits that there are, read or not.
    """

    path: str
    rows: list[Row]
    skipped: list[_Skipped]
    known: set[str]

    def of(self, split: str) -> list[Row]:
        """The rows of a split's name; raises MissingSplitError where there are none."""
        rows = [row for row in self.rows if row.split == split]
        if not rows:
            raise MissingSplitError(
                f"{self.path} has no split {split!r} or no good line in it; it has "
                f"{', '.join(sorted(self.known)) or 'none'}, and slices of them such as "
                "'train[:80%]'"
            )
        return rows

    def part(self, split: str, key: Callable[[Row], str]) -> list[Row]:
        """The rows that a split's text takes, ordered by a hash of their groups or else keys."""
        [name] = split_names(split)
        rows = self.of(name)
        return [rows[k] for k in part_by_hash(split, [row.group or key(row) for row in rows])]

    def skipped_in(self, split: str) -> list[tuple[str, str]]:
        """Place and reason of the bad lines that may be of a split's text."""
        mine = (None, *split_names(split))
        return [(bad.line, bad.reason) for bad in self.skipped if bad.split in mine]


@dataclasses.dataclass(frozen=True)
class Lines:
    """Fields of the sources that read tables: CSV, TSV (both UTF-8) or JSON lines, by column.

    The splits are files of their own where `path` has `{split}` in it, else what a column says,
    else everything is the split "train", to be sliced: "train[:80%]" and "train[80%:]".

    Attributes:
        path: the file: an object a line where it ends in .jsonl or .json, tabs between columns
            where it ends in .tsv, else commas; such as "photos.csv" or "photos/{split}.csv", where
            `{split}` stands for the name of a split.
        split_column: the column that names the split of each line.
        group_column: the column that names the group of each line, such as a person, which
            cross-validation never parts; None for none.
        columns: names for all columns, in place of a header's; None for those of the header.
        header: whether the first line of CSV or TSV is a header; without one, give `columns`.
    """

    path: str
    split_column: str | None = None
    group_column: str | None = None
    columns: tuple[str, ...] | None = None
    header: bool = True

    def __post_init__(self):
        super().__post_init__()
        if self.split_column is not None and SPLIT in self.path:
            raise ValueError(
                f"split_column must be None where path has {SPLIT} in it, got {self.split_column!r}"
            )
        if self._is_json and not (self.columns is None and self.header):
            raise ValueError(
                "columns must be None and header true for JSON lines, which name their own, got "
                f"{self.columns} and {str(self.header).lower()}"
            )
        if not self.header and not self.columns:
            raise ValueError(f"columns must name all columns without a header, got {self.columns}")

    @property
    def _is_json(self) -> bool:
        return self.path.lower().endswith(_JSON)

    def _target(self, cells: Cells) -> Any:
        """What a line says that is learned, beside the row's item; raises BadLineError."""
        return None

    def _read_rows(
        self,
        used: set[str],
        fields: dict[str, tuple[str, ...]],
        take: Callable[[Cells], Any],
        on_bad: str,
    ) -> Rows:
        """Reads the lines of the splits of these names, of all where a column says the split.

        `fields` are the columns to be read, by the field that names them; `take` makes a row's item
        of a line or raises BadLineError; `on_bad` names the field that says what a bad line leads
        to: "error" or "skip".
        """
        path = os.path.expanduser(self.path)
        found = Rows(path, [], [], set())
        files = split_files(path)
        if SPLIT in path:
            found.known.update(files)
            files = {name: file for name, file in files.items() if name in used}
        fields = dict(fields)
        for field in ("split_column", "group_column"):
            if getattr(self, field) is not None:
                fields[field] = (getattr(self, field),)
        for name, file in files.items():
            self._read_file(file, name, fields, take, on_bad, found)
        found.known.update(row.split for row in found.rows)
        return found

    def _read_file(
        self,
        path: str,
        split: str,
        fields: dict[str, tuple[str, ...]],
        take: Callable[[Cells], Any],
        on_bad: str,
        found: Rows,
    ) -> None:
        try:
            # What is not UTF-8 is told by its line and harms no other.
            with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
                lines = _objects(file) if self._is_json else self._delimited(path, file, fields)
                for number, cells, reason in lines:
                    line, own = f"{path}, line {number}", split
                    if self.split_column is not None:
                        own = None
                    try:
                        if cells and self.split_column is not None:
                            own = text_of(cells, self.split_column)
                        if reason:
                            raise BadLineError(reason)
                        item, target, group = take(cells), self._target(cells), None
                        if self.group_column is not None:
                            group = filled(cells, self.group_column)
                        name = f"{os.path.basename(path)}:{number}"
                        found.rows.append(Row(own, name, item, target, group, len(found.skipped)))
                    except BadLineError as error:
                        if getattr(self, on_bad) == "error":
                            raise UserError(
                                f"{line}: {error}; repair or remove the line, or set "
                                f"config.data.{on_bad}='skip' to leave such lines out"
                            ) from None
                        found.skipped.append(_Skipped(own, line, str(error)))
        except OSError as error:
            raise UserError(
                f"cannot read the table {path}: {error.strerror}; check config.data.path"
            ) from None

    def _delimited(
        self, path: str, file: Iterator[str], fields: dict[str, tuple[str, ...]]
    ) -> Iterator[tuple[int, Cells, str]]:
        """Number, cells and what is wrong of the lines of CSV or TSV that are not empty."""
        lines = _lines(file, "\t" if path.lower().endswith(".tsv") else ",")
        names = self.columns
        if self.header:
            _, header = next(lines, (0, []))
            if not header or isinstance(header, csv.Error):
                raise UserError(f"{path} has no header: its first line must name the columns")
            names = names or tuple(name.strip() for name in header)
            if len(names) != len(header):
                raise UserError(
                    f"{path} has {len(header)} columns and config.data.columns names {len(names)}"
                )
        for field, wanted in fields.items():
            wrong = next((name for name in wanted if names.count(name) != 1), None)
            if wrong is not None:
                many = "no column" if wrong not in names else "more than one column"
                raise UserError(
                    f"{path} has {many} {wrong!r} for config.data.{field}; its columns are "
                    f"{', '.join(names)}".encode(errors="replace").decode()
                )
        known = "the header has" if self.columns is None else "config.data.columns names"
        for number, cells in lines:
            if isinstance(cells, csv.Error):
                yield number, {}, f"is no line of columns ({cells})"
            elif len(cells) != len(names):
                yield number, {}, f"has {len(cells)} columns, {known} {len(names)}"
            else:
                yield number, dict(zip(names, cells, strict=True)), _not_utf8("".join(cells))


def text_of(cells: Cells, name: str) -> str:
    """What a line has in a column, as text, "" for nothing; raises BadLineError without the column.

    Only an object of JSON lines can lack one.
    """
    if name not in cells:
        raise BadLineError(f"has no column {name!r}")
    cell = cells[name]
    if isinstance(cell, str):
        return cell.strip()
    return "" if cell is None else json.dumps(cell)


def filled(cells: Cells, name: str) -> str:
    """`text_of`, which is not empty; raises BadLineError where it is."""
    if text := text_of(cells, name):
        return text
    raise BadLineError(f"has nothing in the column {name}")


def _not_utf8(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return "is not UTF-8"
    return ""


def _objects(file: Iterator[str]) -> Iterator[tuple[int, Cells, str]]:
    """Number, cells and what is wrong of the JSON lines that are not empty."""
    for number, line in enumerate(file, 1):
        if line.strip():
            try:
                cells = json.loads(line)
            except (ValueError, RecursionError):
                cells = None
            if isinstance(cells, dict):
                yield number, cells, _not_utf8(json.dumps(cells, ensure_ascii=False))
            else:
                yield number, {}, _not_utf8(line) or "is no JSON object"


def _lines(file: Iterator[str], delimiter: str) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """Numbers and cells of the lines that are not empty; an error in place of what is malformed."""
    csv.field_size_limit(2**31 - 1)  # A text may be longer than Python's own limit.
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            cells = error
        if cells:
            yield number, cells
