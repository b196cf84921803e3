"""The series of a CSV file, as a trained model takes them."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from modelzoo.data.rows import BadLineError
from modelzoo.data.spec import SeriesSpec
from modelzoo.data.table_targets import number_of
from modelzoo.fields.errors import UserError


def read_series(path: Path, spec: SeriesSpec) -> Iterator[tuple[str, np.ndarray | UserError]]:
    """The names of a CSV file's series and they, float32 `[length, features]`.

    Where an example is a row, that is each, named `FILE:LINE`; else it is the last rows, named as
    the file. In place of a row that is none stands the error that says what is wrong with it.
    Raises UserError where the file is none.
    """
    names = spec.columns or spec.features
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True, restval="")
            there = reader.fieldnames or ()
            rows = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"is no CSV in UTF-8 ({error})") from None
    missing = [name for name in names if name not in there]
    if missing:
        raise UserError(f"has no column {missing[0]!r} in its header")
    if not spec.columns:
        if len(rows) < spec.length:
            raise UserError(f"has {len(rows)} rows, the model takes {spec.length}")
        steps = [_numbers(line, row, names) for line, row in rows[-spec.length :]]
        yield str(path), np.array(steps, np.float32)
        return
    for line, row in rows:
        try:
            numbers = np.array(_numbers(line, row, names), np.float32)
            yield f"{path}:{line}", numbers.reshape(spec.length, len(spec.features))
        except UserError as error:
            yield str(path), error


def _numbers(line: int, row: dict[str, str], names: tuple[str, ...]) -> list[float]:
    try:
        return [number_of(row[name], name) for name in names]
    except BadLineError as error:
        raise UserError(f"line {line} {error}") from None
