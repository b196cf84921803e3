"""Tables: CSV, TSV and JSON lines, by column."""

import dataclasses
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from modelzoo.data.columns import Bad, BadExample, Column, Form, Rows, Wanted
from modelzoo.data.slices import SPLIT, split_files
from modelzoo.data.sources.source import OpenSource, Source
from modelzoo.data.sources.tabular import Cells, Line, is_json, number_of, read_lines, text_of
from modelzoo.fields.errors import FieldError


@dataclasses.dataclass(frozen=True)
class Table(Source):
    """A table with a row per line: CSV, TSV or JSON lines, in UTF-8.

    The splits are files of their own if `path` contains `{split}`, else the values of
    `split_column`, else everything is the split "train", to be sliced: "train[:80%]" and
    "train[80%:]". A slice is a random part, the same each time: a range of hashes of the group if
    there are groups, else of what the first input reads. Rows with the same hash stay together, and
    none moves between slices when others are added.

    A bad line has too few or too many columns, is not UTF-8, lacks a key of JSON, or has a cell
    that is not what a field reads, such as "many" for a number. It is left out as a whole, and it
    alone.

    In a table with tabs, a quote is a character. Otherwise a cell may stand in quotes and then hold
    delimiters, doubled quotes and line ends. A quote that opens no such cell, because it is never
    closed or something else follows the closing one, costs its own line, and the next line is read.
    The same holds for a quote that is open for more than 10 lines, each of which has the columns of
    the table.

    Attributes:
        path: the file, such as "photos.csv" or "photos/{split}.csv". A name that ends in .jsonl,
            .ndjson or .json is read as JSON lines.
        columns: names of all columns, in place of the header's; None for those of the header.
        header: whether the first line of CSV or TSV is a header; without one, set `columns`.
        delimiter: the character between columns, or "tab"; None for a tab if the name ends in .tsv
            or .tab, else for the one of comma, tab, semicolon and vertical bar that the first line
            uses.
        split_column: the column that names the split of each row.
        group: the column that names the group of each row, such as a person; neither a slice nor a
            fold parts a group.
        weight: the column of the weight of each row, a number of at least 0; None for 1.

    Example:
        >>> import pathlib, tempfile
        >>> from modelzoo.data.sources.table import Table
        >>> path = pathlib.Path(tempfile.mkdtemp(), "texts.csv")
        >>> _ = path.write_text("text,label,part\\ngood,a,train\\nbad,b,test\\n")
        >>> Table(str(path), split_column="part").open().split_names
        ('test', 'train')
    """

    path: str
    _: dataclasses.KW_ONLY
    columns: tuple[str, ...] | None = None
    header: bool = True
    delimiter: str | None = None
    split_column: str | None = None
    group: str | None = None
    weight: str | None = None

    def __post_init__(self):
        if self.split_column is not None and SPLIT in self.path:
            raise FieldError(
                "split_column", f"must be None if path contains {SPLIT}, got {self.split_column!r}"
            )
        if is_json(self.path):
            given = (self.columns, self.header, self.delimiter)
            if given != (None, True, None):
                raise FieldError(
                    "columns",
                    "must be None, header true and delimiter None for JSON lines, whose "
                    f"objects name the columns, got {given[0]}, {str(given[1]).lower()} and "
                    f"{given[2]!r}",
                )
        if not self.header and not self.columns:
            raise FieldError(
                "columns", f"must name all columns without a header, got {self.columns}"
            )
        mark = self.delimiter
        if mark not in (None, "tab") and (len(mark) != 1 or mark in '"\r\n'):
            raise FieldError(
                "delimiter", f"must be None, 'tab' or one character, got {self.delimiter!r}"
            )

    def open(self) -> "OpenTable":
        return OpenTable(self)


_Row = tuple[int, list[Any], str | None, float, int]
"""A line's number, cells, group, weight, and how many rows are missing before it."""

_Reader = tuple[str, Form, Callable[[Cells], Any]]
"""A column that a field asked for: its name, its form, and a function from a line to its cell."""


class OpenTable(OpenSource):
    """An opened table; files are read by `read`."""

    def __init__(self, config: Table):
        self._config = config
        self._path = os.path.expanduser(config.path)
        self._folder = os.path.dirname(os.path.abspath(self._path))
        self._files = split_files(self._path)
        self.where = f"table {self._path}"
        self.split_names = tuple(sorted(self._files))
        if config.split_column is not None:
            names = {
                text_of(line.cells, config.split_column)
                for line in self._lines(self._path, {})
                if not line.reason and config.split_column in line.cells
            }
            self.split_names = tuple(sorted(names - {""}))

    def _lines(self, path: str, needed: Mapping[str, str]) -> Iterator[Line]:
        """The lines of a file; the table's own columns are needed too."""
        config, needed = self._config, dict(needed)
        for field in ("split_column", "group", "weight"):
            if getattr(config, field) is not None:
                needed[getattr(config, field)] = f"config.data.source.{field}"
        return read_lines(path, needed, config.columns, config.header, config.delimiter)

    def read(self, wanted: Sequence[Wanted], splits: Collection[str]) -> Mapping[str, Rows]:
        readers = [self._reader(one, name) for one in wanted for name in one.columns]
        needed = {name: one.field for one in reversed(wanted) for name in one.columns}
        found: dict[str, list[_Row]] = {split: [] for split in splits}
        bad: list[Bad] = []
        for split, path in self._files.items():
            own = None if self._config.split_column is not None else split
            if own is None or own in found:
                self._read_file(path, own, needed, readers, found, bad)
        return {split: self._rows(split, found[split], wanted, readers, bad) for split in splits}

    def _read_file(
        self,
        path: str,
        split: str | None,
        needed: Mapping[str, str],
        readers: Sequence[_Reader],
        found: Mapping[str, list[_Row]],
        bad: list[Bad],
    ) -> None:
        """Adds the lines of a file to `found` and `bad`; `split` None reads the split's column."""
        config = self._config
        # Rows of each group, in all splits and in each.
        total: Counter[str | None] = Counter()
        own: Counter[tuple[str | None, str | None]] = Counter()
        for number, cells, reason in self._lines(path, needed):
            base, group = split, None
            try:
                if split is None and config.split_column is not None and cells:
                    base = text_of(cells, config.split_column)
                if reason:
                    raise BadExample(reason)
                values = [read(cells) for _, _, read in readers]
                if config.group is not None:
                    group = text_of(cells, config.group)
                    if not group:
                        raise BadExample(f"has nothing in the column {config.group}")
                weight = 1.0 if config.weight is None else _weight(cells, config.weight)
            except BadExample as error:
                bad.append(Bad(base, f"{path}, line {number}", str(error)))
                continue
            total[group] += 1
            own[base, group] += 1
            if base is not None and base in found:
                missing = len(bad) + total[group] - own[base, group]
                found[base].append((number, values, group, weight, missing))

    def _rows(
        self,
        split: str,
        found: Sequence[_Row],
        wanted: Sequence[Wanted],
        readers: Sequence[_Reader],
        bad: Sequence[Bad],
    ) -> Rows:
        path, config = self._files.get(split, self._path), self._config
        numbers, cells, groups, weights, missing = zip(*found, strict=True) if found else [()] * 5
        each = zip(*cells, strict=True) if cells else [()] * len(readers)
        columns = map(self._column, readers, each)
        name = os.path.basename(path)
        return Rows(
            split=split,
            where=f"table {path}",
            ids=[f"{name}:{number}" for number in numbers],
            place=lambda row: f"{path}, line {numbers[row]}",
            columns={one.key: tuple(next(columns) for _ in one.columns) for one in wanted},
            groups=None if config.group is None else list(groups),
            weights=None if config.weight is None else np.array(weights, np.float32),
            bad=tuple(one for one in bad if one.split in (None, split)),
            bad_before=np.array(missing, np.int64),
        )

    def _reader(self, wanted: Wanted, name: str) -> _Reader:
        """Reads a column in the first accepted form that a table has."""
        stored = ("text", "number", "file", *(("list",) if is_json(self._path) else ()))
        form = self.form_of(wanted, name, stored)
        # Lists and texts beside each other, in any order of the forms.
        mixed = form in ("list", "text") and {"list", "text"} <= {*stored} & {*wanted.forms}
        form = "list" if mixed else form

        def read(cells: Cells) -> Any:
            if form == "list" and isinstance(cells.get(name), list):
                return cells[name]
            text = text_of(cells, name)
            if form == "list" and not mixed:
                raise BadExample(f"has {text!r} in the column {name}, not a list")
            if form == "number":
                return number_of(text, name)
            if form == "file" and not os.path.isfile(os.path.join(self._folder, text)):
                raise BadExample(f"there is no file {text!r} in {self._folder}")
            return text

        return name, form, read

    def _column(self, reader: _Reader, cells: Sequence[Any]) -> Column:
        name, form, _ = reader
        if form == "number":
            return Column(name, form, np.array(cells, np.float64))
        if form == "file":
            return Column(name, form, [os.path.join(self._folder, c) for c in cells], keys=cells)
        if form == "list" and not any(isinstance(cell, list) for cell in cells):
            form = "text"
        return Column(name, form, cells)


def _weight(cells: Cells, name: str) -> float:
    weight = number_of(text_of(cells, name), name)
    if weight < 0:
        raise BadExample(f"has {weight} in the column {name}, not a weight of at least 0")
    return weight
