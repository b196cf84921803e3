"""One series of a CSV file, as a trained model takes it."""

import csv
from pathlib import Path

import numpy as np

from modelzoo.data.rows import BadLineError, number_of
from modelzoo.data.spec import SeriesSpec
from modelzoo.errors import UserError


def read_series(path: Path, spec: SeriesSpec) -> np.ndarray:
    """The columns of the spec's features of a CSV file's last rows: float32 `[length, features]`.

    Raises UserError, which says what of the file is wrong, where that is no such series.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True, restval="")
            names = reader.fieldnames or ()
            rows = [(reader.line_num, row) for row in reader][-spec.length :]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"is no CSV in UTF-8 ({error})") from None
    missing = [name for name in spec.features if name not in names]
    if missing:
        raise UserError(f"has no column {missing[0]!r} in its header")
    if len(rows) < spec.length:
        raise UserError(f"has {len(rows)} rows, the model takes {spec.length}")
    series = []
    for line, row in rows:
        try:
            series.append([number_of(row[name], name) for name in spec.features])
        except BadLineError as error:
            raise UserError(f"line {line} {error}") from None
    return np.array(series, np.float32)
