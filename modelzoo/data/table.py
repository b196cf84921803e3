"""Images that a table names, with what is learned of them in its columns."""

import csv
import dataclasses
import glob
import math
import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from modelzoo.data.files import FileImages, Files, by_hash
from modelzoo.data.source import Source
from modelzoo.data.spec import Targets
from modelzoo.data.splits import MissingSplitError, split_name, split_slice
from modelzoo.errors import UserError

_SPLIT = "{split}"
_LARGEST = float(np.finfo(np.float32).max)


class _Row(NamedTuple):
    """One good line: the image's path relative to the folder, and what its target columns say."""

    split: str
    file: str
    target: str | tuple[str, ...] | tuple[float, ...]


class _Columns(NamedTuple):
    """How many columns there are, and the numbers of those that are read."""

    count: int
    image: int
    targets: tuple[int, ...]
    split: int | None

    def split_of(self, cells: list[str] | csv.Error, default: str) -> str | None:
        """The split of a line: the default without a column for it, None where none can be read."""
        if self.split is None:
            return default
        whole = not isinstance(cells, csv.Error) and len(cells) == self.count
        return cells[self.split].strip() if whole else None


class _Skipped(NamedTuple):
    """One bad line: the split that it is of, None where it does not tell, its place and why."""

    split: str | None
    where: str
    reason: str


class _BadLineError(Exception):
    """One line cannot be used; says why."""


@dataclasses.dataclass(frozen=True)
class ImageTable(FileImages):
    """PNG, JPEG, GIF and BMP files of any size that a CSV or TSV file (UTF-8, with a header) names.

    The splits are files of their own where `path` has `{split}` in it, else what a column says,
    else everything is the split "train", to be sliced: "train[:80%]" and "train[80%:]". Rows are
    ordered by a hash of their image's path, so that a slice is a random part, the same each time; a
    percentage is one of the range of hashes, see `ImageFolder`. Classes, and tags of one column,
    are the texts of all splits that the config names, sorted.

    A line with too few or too many columns, a missing image file, a target that is none, or bytes
    that are not UTF-8 is a bad image: `on_bad_image` leaves it out too. It counts in every slice of
    its split, and in all splits where it does not tell its own.

    Attributes:
        path: the file, tabs between columns where it ends in .tsv and else commas; such as
            "photos.csv" or "photos/{split}.csv", where `{split}` stands for the name of a split.
        image_column: the column of the images' paths, relative to the table's folder.
        targets: what is learned: "class", "tags" or "values".
        target_columns: the column of the class; the one column of the tags, or a column of 0 or 1
            for each tag; the columns of the values, numbers.
        tag_separator: what stands between the tags of one column, such as ";"; None for a column
            for each tag.
        split_column: the column that names the split of each line.
    """

    path: str
    image_column: str = "path"
    targets: Targets = "class"
    target_columns: tuple[str, ...] = ("label",)
    tag_separator: str | None = None
    split_column: str | None = None

    def __post_init__(self):
        super().__post_init__()
        one = self.targets == "class" or self.tag_separator is not None
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
        if self.split_column is not None and _SPLIT in self.path:
            raise ValueError(
                f"split_column must be None where path has {_SPLIT} in it, "
                f"got {self.split_column!r}"
            )

    def _open(self, split: str, encoded: bool = False) -> Source:
        path, name = os.path.expanduser(self.path), split_name(split)
        texts = (self.train_split, self.validation_split, self.test_split)
        used = {name, *(split_name(text) for text in texts if text)}
        rows, skipped, known = self._read_splits(path, used)
        mine = [row for row in rows if row.split == name]
        if not mine:
            raise MissingSplitError(
                f"{path} has no split {name!r} or no good line in it; it has "
                f"{', '.join(sorted(known)) or 'none'}, and slices of them such as 'train[:80%]'"
            )
        order, places = by_hash([row.file for row in mine])

        def rows_before(percent: int) -> int:
            return int(np.searchsorted(places, percent / 100))

        part = split_slice(split, len(mine), rows_before)
        chosen = [mine[k] for k in order[part]]
        names = self._names(row for row in rows if row.split in used)
        if not names:
            raise UserError(f"{path} has no tag in the column {self.target_columns[0]}")

        def first() -> Sequence[str]:
            # The training images' whichever split is opened.
            base = split_name(self.train_split)
            files = [row.file for row in rows if row.split == base] or [row.file for row in mine]
            return [files[k] for k in by_hash(files)[0]]

        found = Files(
            where=f"table {path.replace(_SPLIT, name)}",
            root=os.path.dirname(path),
            files=[row.file for row in chosen],
            labels=self._labels(chosen, names),
            class_names=names,
            targets=self.targets,
        )
        source = self._open_files(found, first, encoded)
        source.skipped[:0] = [
            (bad.where, bad.reason) for bad in skipped if bad.split in (None, name)
        ]
        return source

    def _read_splits(
        self, path: str, used: set[str]
    ) -> tuple[list[_Row], list[_Skipped], set[str]]:
        """Good lines, bad lines, names of the splits that there are."""
        rows: list[_Row] = []
        skipped: list[_Skipped] = []
        if _SPLIT not in path:
            self._read(path, "train", rows, skipped)
            return rows, skipped, {row.split for row in rows}
        before, after = map(re.escape, path.split(_SPLIT, 1))
        files = {
            match[1]: file
            for file in sorted(glob.glob("*".join(map(glob.escape, path.split(_SPLIT, 1)))))
            if (match := re.fullmatch(f"{before}([^/]*){after}", file))
        }
        for name in sorted(used & files.keys()):
            self._read(files[name], name, rows, skipped)
        return rows, skipped, set(files)

    def _read(self, path: str, split: str, rows: list[_Row], skipped: list[_Skipped]) -> None:
        """Appends the lines of one file."""
        try:
            # What is not UTF-8 is told by its line and harms no other.
            with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
                lines = _lines(file, "\t" if path.lower().endswith(".tsv") else ",")
                _, header = next(lines, (0, []))
                columns = self._columns(path, header)
                for number, cells in lines:
                    try:
                        rows.append(self._row(os.path.dirname(path), split, columns, cells))
                    except _BadLineError as error:
                        if self.on_bad_image == "error":
                            raise UserError(
                                f"{path}, line {number}: {error}; repair or remove the line, or "
                                "set config.data.on_bad_image='skip' to leave such lines out"
                            ) from None
                        own = columns.split_of(cells, split)
                        skipped.append(_Skipped(own, f"{path}, line {number}", str(error)))
        except OSError as error:
            raise UserError(
                f"cannot read the table {path}: {error.strerror}; check config.data.path"
            ) from None

    def _columns(self, path: str, header: list[str] | csv.Error) -> _Columns:
        if not header or isinstance(header, csv.Error):
            raise UserError(f"{path} has no header: its first line must name the columns")
        header = [name.strip() for name in header]
        fields = {
            "image_column": (self.image_column,),
            "target_columns": self.target_columns,
            "split_column": () if self.split_column is None else (self.split_column,),
        }
        for field, names in fields.items():
            wrong = next((name for name in names if header.count(name) != 1), None)
            if wrong is not None:
                many = "no column" if wrong not in header else "more than one column"
                raise UserError(
                    f"{path} has {many} {wrong!r} for config.data.{field}; its columns are "
                    f"{', '.join(header)}".encode(errors="replace").decode()
                )
        image, targets, split = (tuple(map(header.index, names)) for names in fields.values())
        return _Columns(len(header), image[0], targets, split[0] if split else None)

    def _row(
        self, folder: str, split: str, columns: _Columns, cells: list[str] | csv.Error
    ) -> _Row:
        if isinstance(cells, csv.Error):
            raise _BadLineError(f"is no line of columns ({cells})")
        try:
            "".join(cells).encode()
        except UnicodeEncodeError:
            raise _BadLineError("is not UTF-8") from None
        if len(cells) != columns.count:
            raise _BadLineError(f"has {len(cells)} columns, the header has {columns.count}")
        file = cells[columns.image].strip()
        if not os.path.isfile(os.path.join(folder, file)):
            raise _BadLineError(f"there is no image file {file!r} in {folder or '.'}")
        return _Row(
            columns.split_of(cells, split),
            file,
            self._target([cells[k].strip() for k in columns.targets]),
        )

    def _target(self, texts: list[str]) -> str | tuple[str, ...] | tuple[float, ...]:
        if self.targets == "class":
            if not texts[0]:
                raise _BadLineError(f"has nothing in the column {self.target_columns[0]}")
            return texts[0]
        if self.tag_separator is not None:
            return tuple(tag for t in texts[0].split(self.tag_separator) if (tag := t.strip()))
        if self.targets == "tags":
            for name, text in zip(self.target_columns, texts, strict=True):
                if text not in ("0", "1"):
                    raise _BadLineError(f"has {text!r} in the column {name}, not 0 or 1")
            return tuple(
                name for name, text in zip(self.target_columns, texts, strict=True) if text == "1"
            )
        values = []
        for name, text in zip(self.target_columns, texts, strict=True):
            try:
                values.append(float(text))
            except ValueError:
                values.append(math.nan)
            if not abs(values[-1]) <= _LARGEST:
                raise _BadLineError(f"has {text!r} in the column {name}, no number of float32")
        return tuple(values)

    def _names(self, rows: Iterator[_Row]) -> tuple[str, ...]:
        if self.targets == "class":
            return tuple(sorted({row.target for row in rows}))
        if self.tag_separator is not None:
            return tuple(sorted({tag for row in rows for tag in row.target}))
        return self.target_columns

    def _labels(self, rows: Sequence[_Row], names: tuple[str, ...]) -> np.ndarray:
        numbers = {name: number for number, name in enumerate(names)}
        if self.targets == "class":
            return np.array([numbers[row.target] for row in rows], np.int64)
        if self.targets == "values":
            return np.array([row.target for row in rows], np.float32)
        labels = np.zeros((len(rows), len(names)), np.float32)
        for label, row in zip(labels, rows, strict=True):
            label[[numbers[tag] for tag in row.target]] = 1
        return labels


def _lines(file, delimiter: str) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """Numbers and cells of the lines that are not empty; an error in place of what is malformed."""
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
