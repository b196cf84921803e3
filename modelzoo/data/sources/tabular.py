"""Lines and cells of tabular files: CSV, TSV and JSON lines, in UTF-8."""

import csv
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TextIO

import numpy as np

from modelzoo.data.columns import BadExample
from modelzoo.fields.errors import UserError

_JSON = (".jsonl", ".ndjson", ".json")
_TABS = (".tsv", ".tab")
_DELIMITERS = (",", "\t", ";", "|")
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
        # A line that is not UTF-8 is reported by its number and does not affect the others.
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            if is_json(path):
                yield from _objects(file)
                return
            if delimiter == "tab" or (delimiter is None and path.lower().endswith(_TABS)):
                delimiter = "\t"
            delimiter = delimiter or _sniffed(file, needed, columns)
            yield from _delimited(path, file, needed, columns, header, delimiter)
    except OSError as error:
        raise UserError(
            f"cannot read the table {path}: {error.strerror}; check config.data.source.path"
        ) from None


def _delimited(
    path: str,
    file: TextIO,
    needed: Mapping[str, str],
    columns: tuple[str, ...] | None,
    header: bool,
    delimiter: str,
) -> Iterator[Line]:
    lines = _records(file, delimiter)
    names = columns or ()
    if header:
        _, first = next(lines, (0, []))
        if not first or isinstance(first, csv.Error):
            raise UserError(f"{path} has no header: its first line must name the columns")
        names = names or _names(first)
        if len(names) != len(first):
            raise UserError(
                f"{path} has {len(first)} columns and config.data.source.columns names {len(names)}"
            )
    for name, field in needed.items():
        if names.count(name) != 1:
            many = "more than one" if name in names else "no"
            raise UserError(
                f"{path} has {many} column {name!r} for {field}; its columns are "
                f"{', '.join(names)}".encode(errors="replace").decode()
            )
    known = "the header has" if columns is None else "config.data.source.columns names"
    for number, cells in lines:
        if isinstance(cells, csv.Error):
            yield Line(number, {}, f"is not a line of columns ({cells})")
        elif len(cells) != len(names):
            yield Line(number, {}, f"has {len(cells)} columns, {known} {len(names)}")
        else:
            found = dict(zip(names, cells, strict=True))
            yield Line(number, found, _not_utf8("".join(cells)))


def _sniffed(file: TextIO, needed: Mapping[str, str], columns: tuple[str, ...] | None) -> str:
    """The first delimiter of the first line that yields the needed columns, or several."""
    found = {}
    for delimiter in _DELIMITERS:
        _, cells = next(_records(file, delimiter), (0, []))
        found[delimiter] = () if isinstance(cells, csv.Error) else _names(cells)
        file.seek(0)
    if columns is not None:
        fits = [d for d, names in found.items() if len(names) == len(columns)]
    else:
        fits = [d for d, names in found.items() if names and set(needed) <= set(names)]
    return next(iter([*fits, *(d for d, names in found.items() if len(names) > 1)]), ",")


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


def _not_utf8(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return "is not UTF-8"
    return ""


def _objects(file: TextIO) -> Iterator[Line]:
    for number, line in enumerate(file, 1):
        if line.strip():
            try:
                cells = json.loads(line)
            except (ValueError, RecursionError):
                cells = None
            if isinstance(cells, dict):
                yield Line(number, cells, _not_utf8(json.dumps(cells, ensure_ascii=False)))
            else:
                yield Line(number, {}, _not_utf8(line) or "is not a JSON object")


def _records(file: TextIO, delimiter: str) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """Numbers and cells of the lines that are not empty; an error in place of malformed cells."""
    csv.field_size_limit(2**31 - 1)  # A text may be longer than Python's own limit.
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield number, error
            continue
        if cells:
            yield number, cells
