"""Requests: the examples to predict in files, read as training read its own."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from modelzoo.data.bound import BoundData, input_key
from modelzoo.data.columns import Bad, BadExample
from modelzoo.data.dataset import Dataset
from modelzoo.data.sources.files import printable
from modelzoo.data.sources.table import Table
from modelzoo.data.sources.tabular import is_json, is_table
from modelzoo.data.split import Split
from modelzoo.data.text_files import STDIN, read_text_lines
from modelzoo.fields.errors import UserError

Place = dict[str, Any]
"""Where an example is.

`file`; `line` of a row or of a text, the last one of a window; of a window, `horizon`, the number
of rows from that line to the row that is predicted, and `group` if the table has groups.
"""


class TableRequests(NamedTuple):
    """The examples in a table: opened, None if there are none, their places, and what is bad."""

    split: Split | None
    places: Sequence[Place]
    bad: Sequence[Bad]


class RequestReader:
    """Reads files with examples to predict.

    Args:
        data: the data that a model learned from, which need not exist any more.
        bound: what was learned.
    """

    def __init__(self, data: Dataset, bound: BoundData):
        self._data, self._bound = data, bound
        self._first = next(iter(bound.inputs.values()))
        self._alone = len(bound.inputs) == 1

    @property
    def takes_texts(self) -> bool:
        """Whether the only input is a text."""
        return self._alone and self._first.file_part == "text"

    @property
    def _by_line(self) -> bool:
        """Whether each line of a text is an example, not the whole file."""
        return self.takes_texts and not self._data.source.holds_files

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The suffixes of files that are an example each; () if a file holds several."""
        return self._first.config.suffixes if self._alone and not self._by_line else ()

    def is_table(self, path: str) -> bool:
        """Whether the examples in a file are the rows of a table."""
        source = self._data.source
        if not self._alone or self._first.file_part is None or is_table(path):
            return True
        if not isinstance(source, Table) or path == STDIN:
            return False
        return Path(path).suffix == Path(source.path).suffix

    def from_files(self, paths: Iterable[str]) -> Iterator[tuple[Place, Any]]:
        """Places and values of files that are no tables; a BadExample if one cannot be read."""
        if not self._by_line:
            for path, value in self._first.from_files(paths):
                yield {"file": printable(path)}, value
            return
        for path in paths:
            try:
                for line, value in enumerate(read_text_lines(path), 1):
                    yield {"file": printable(path), "line": line}, value
            except OSError as error:
                yield {"file": printable(path)}, BadExample(f"cannot be read ({error.strerror})")
            except UserError as error:
                yield {"file": printable(path)}, BadExample(str(error).removeprefix(f"{path} "))

    def from_table(self, path: str) -> TableRequests:
        """The examples in a table whose columns have the names of the training data.

        Raises:
            UserError: the table cannot be read or lacks a column.
        """
        inputs = {name: one.for_table() for name, one in self._bound.inputs.items()}
        configs = {name: one.config for name, one in inputs.items()}
        windows = [name for name, one in configs.items() if one.split_key == "time"]
        data = dataclasses.replace(
            self._data,
            source=self._table_like(path, bool(windows)),
            inputs=configs.get("", configs),
            target=None,
            train_split="train",
            validation_split=None,
            test_split=None,
            split_by=(),
            fold=None,
            on_bad="skip",
        )
        opened = data.open(BoundData(inputs, None))
        rows = opened.rows("train")
        name = next(iter([*windows, *configs]))
        view, bad = inputs[name].requests(rows, input_key(name), self._alone)
        if not len(view):
            return TableRequests(None, (), bad)
        split = opened.open_view(view, "train[:]")
        window = {"horizon": getattr(self._bound.inputs[name].config, "horizon", 0)}
        places: list[Place] = []
        for row in split.view.last:
            # As in "table.csv:17".
            places.append({"file": printable(path), "line": int(rows.ids[row].rpartition(":")[2])})
            places[-1] |= window if windows else {}
            if rows.groups is not None:
                places[-1]["group"] = rows.groups[row]
        return TableRequests(split, places, [*bad, *split.skipped[len(rows.bad) :]])

    def _table_like(self, path: str, windowed: bool) -> Table:
        """The table at `path`, read as the training table is.

        Only windows need the groups: no window may hold rows of two.
        """
        source = self._data.source
        kept: dict[str, Any] = {}
        if isinstance(source, Table):
            if not is_json(path) and not is_json(source.path):
                kept = {"columns": source.columns, "header": source.header}
                if Path(path).suffix == Path(source.path).suffix:
                    kept["delimiter"] = source.delimiter
            if windowed:
                kept["group"] = source.group
        return Table(path, **kept)


def place_name(place: Place) -> str:
    """A place in messages, such as "a.csv, line 2"."""
    line = f", line {place['line']}" if "line" in place else ""
    return f"{place['file']}{line}"
