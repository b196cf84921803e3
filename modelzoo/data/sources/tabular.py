"""Lines and cells of tabular files: CSV, TSV and JSON lines, in UTF-8."""

import csv
import io
import json
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from modelzoo.data.columns import BadExample
from modelzoo.data.text_files import check_text, not_utf8
from modelzoo.fields.errors import UserError

_JSON = (".jsonl", ".ndjson", ".json")
_TABS = (".tsv", ".tab")
_DELIMITERS = (",", "\t", ";", "|")
# So many lines of a quoted cell that are records of their own show that its quote is a mistake.
_ALIKE = 10
_LARGEST = float(np.finfo(np.float32).max)

Cells = dict[str, Any]
"""One line by column: texts, or JSON values."""


class Line(NamedTuple):
    """One line that is not empty.

    number: from 1. cells: by column; {} if they are unknown. reason: why it is bad, else "".
    """

    number: int
    cells: Cells
    reason: str = ""


def read_lines(
    path: str,
    needed: Mapping[str, str],
    columns: tuple[str, ...] | None = None,
    header: bool = True,
    delimiter: str | None = None,
) -> Iterator[Line]:
    """The lines of a file, read as `Table` says.

    `needed` maps columns that are read to the field of the config that names each. Raises UserError
    if the file cannot be read, or the header lacks a needed column.
    """
    try:
        with open(path, "rb") as stored:
            check_text(path, stored)
            # A line that is not UTF-8 is reported by its number and does not affect the others.
            file = io.TextIOWrapper(stored, "utf-8-sig", "surrogateescape", newline="")
            if is_json(path):
                yield from _objects(path, file, needed)
                return
            if delimiter == "tab" or (delimiter is None and path.lower().endswith(_TABS)):
                delimiter = "\t"
            delimiter = delimiter or _sniffed(file, needed, columns)
            yield from _delimited(path, file, needed, columns, header, delimiter)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"cannot read the table {path}: {reason}; check config.data.source.path"
        ) from None


def _delimited(
    path: str,
    file: io.TextIOWrapper,
    needed: Mapping[str, str],
    columns: tuple[str, ...] | None,
    header: bool,
    delimiter: str,
) -> Iterator[Line]:
    known = "the header has" if columns is None else "config.data.source.columns names"
    lines, names = _Lines(file, delimiter), columns or ()
    records = _records(lines, delimiter, known)
    if header:
        record = next(records, None)
        if record is None or record.reason:
            reason = "" if record is None else f", and {record.reason}"
            raise UserError(f"{path} has no header: its first line must name the columns{reason}")
        names = names or _names(record.cells)
        if len(names) != len(record.cells):
            raise UserError(
                f"{path} has {len(record.cells)} columns and config.data.source.columns names "
                f"{len(names)}"
            )
    for name, field in needed.items():
        if names.count(name) != 1:
            raise _missing(path, name, field, names)
    lines.width = len(names)
    for number, cells, reason in records:
        found = {} if reason else dict(zip(names, cells, strict=True))
        yield Line(number, found, reason or not_utf8("".join(cells)))


def _missing(path: str, name: str, field: str, names: Sequence[str]) -> UserError:
    many = "more than one" if name in names else "no"
    known = ", ".join(names)[:1000].encode(errors="replace").decode()
    return UserError(f"{path} has {many} column {name!r} for {field}; its columns are {known}")


def _sniffed(
    file: io.TextIOWrapper, needed: Mapping[str, str], columns: tuple[str, ...] | None
) -> str:
    """The first delimiter of the first line that yields the needed columns, or several."""
    found = {}
    for delimiter in _DELIMITERS:
        record = next(_records(_Lines(file, delimiter), delimiter), _Record(1, [], "is missing"))
        found[delimiter] = _names(record.cells)
        file.seek(0)
    if columns is not None:
        fits = [d for d, names in found.items() if len(names) == len(columns)]
    else:
        fits = [d for d, names in found.items() if names and set(needed) <= set(names)]
    return next(iter([*fits, *(d for d, names in found.items() if len(names) > 1)]), ",")


def is_table(path: str) -> bool:
    """Whether a file is a table, by its name."""
    return path.lower().endswith((".csv", *_TABS, *_JSON))


def is_json(path: str) -> bool:
    """Whether a file holds an object per line, by its name."""
    return path.lower().endswith(_JSON)


def text_of(cells: Cells, name: str) -> str:
    """A cell as text, stripped; BadExample without that column, which only JSON can lack."""
    if name not in cells:
        raise BadExample(f"has no column {name!r}")
    cell = cells[name]
    if isinstance(cell, str):
        return cell.strip()
    return "" if cell is None else json.dumps(cell)


def number_of(text: str, name: str) -> float:
    """The number that a cell of the column `name` holds; finite in float32, or a BadExample."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= _LARGEST:
        raise BadExample(f"has {text!r} in the column {name}, not a number of float32")
    return value


def _names(cells: list[str]) -> tuple[str, ...]:
    return tuple(name.strip() for name in cells)


def _objects(path: str, file: io.TextIOWrapper, needed: Mapping[str, str]) -> Iterator[Line]:
    seen: dict[str, None] = {}
    for number, line in enumerate(file, 1):
        if line.strip():
            try:
                cells = json.loads(line)
            except (ValueError, RecursionError):
                cells = None
            if isinstance(cells, dict):
                seen |= dict.fromkeys(cells)
                yield Line(number, cells, not_utf8(json.dumps(cells, ensure_ascii=False)))
            else:
                yield Line(number, {}, not_utf8(line) or "is not a JSON object")
    for name, field in needed.items():
        if seen and name not in seen:
            raise _missing(path, name, field, list(seen))


class _Record(NamedTuple):
    """A record that begins in line `number`: its cells, or the reason why that line is bad."""

    number: int
    cells: list[str]
    reason: str = ""


class _Lines:
    """The lines of a file, which a record takes, and gives back if they are none.

    Attributes:
        taken: the lines of the record.
        width: number of columns that all records must have; None for any.
    """

    def __init__(self, file: Iterator[str], delimiter: str):
        self.taken: list[str] = []
        self.width: int | None = None
        self._file, self._delimiter = file, delimiter
        self._again: deque[str] = deque()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self.taken) == _ALIKE and self._alike():
            raise StopIteration
        line = self._again.popleft() if self._again else next(self._file)
        self.taken.append(line)
        return line

    def _alike(self) -> bool:
        """Whether each line of the record has the columns of a record of its own."""
        marks = (self.width or 1) - 1
        return marks > 0 and all(line.count(self._delimiter) == marks for line in self.taken)

    def keep_first(self) -> None:
        """Gives back all lines but the first."""
        self._again.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]


def _records(lines: _Lines, delimiter: str, known: str = "") -> Iterator[_Record]:
    """The records of CSV or TSV, without empty lines; `known` says where their width is from.

    With a tab between columns, a record is a line. Else a cell in quotes may go on over several
    lines; if what begins with it is no record, its first line is bad, and the next one is read
    again.
    """
    csv.field_size_limit(2**31 - 1)  # A text may be longer than Python's own limit.
    # Cells are stripped, and a quote may follow a space.
    spaces = delimiter != " "
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=spaces)
    number = 1
    while True:
        lines.taken.clear()
        reason = ""
        try:
            if delimiter == "\t":
                line = next(lines).rstrip("\r\n")
                cells = line.split("\t") if line else []
            else:
                cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            cells, reason = [], f"is not a line of columns ({error})"
            if "end of data" in str(error):
                reason = "opens a quote that is not closed"
        if not reason and lines.width and cells and len(cells) != lines.width:
            reason = f"has {len(cells)} columns, {known} {lines.width}"
        if reason and len(lines.taken) > 1:
            last = number + len(lines.taken) - 1
            if cells or "closed" not in reason:
                reason = f"opens a quote; with the lines up to {last}, it {reason}"
            lines.keep_first()
        if reason or cells:
            yield _Record(number, cells, reason)
        number += len(lines.taken)
