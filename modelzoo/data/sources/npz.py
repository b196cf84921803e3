"""Arrays in one `.npz` file."""

import contextlib
import dataclasses
import lzma
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from modelzoo.data.columns import Column, Form, Rows, Wanted
from modelzoo.data.sources.source import OpenSource, Source
from modelzoo.fields.errors import UserError

# What zipfile and NumPy raise for damaged bytes.
_DAMAGED: tuple[type[Exception], ...] = (
    *(ArithmeticError, EOFError, LookupError, MemoryError, RuntimeError, SyntaxError, ValueError),
    *(lzma.LZMAError, struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)


@dataclasses.dataclass(frozen=True)
class Npz(Source):
    """Arrays named `COLUMN_SPLIT`, such as `x_train`, `y_train`, `x_test` and `y_test`.

    The column of an input is "x" and that of the target "y", unless they name others. A row is an
    entry of the first dimension: an image, uint8 `[n, height, width]` or `[n, height, width,
    channels]`, a series `[n, length, features]`, a class, an integer from 0 `[n]`, numbers `[n]` or
    `[n, numbers]`, or a text, strings `[n]`. Optional: `w_SPLIT`, weights of the examples, and
    `class_names`, strings: names of the classes, tags or values.

    Attributes:
        path: the file.

    Example:
        >>> import pathlib, tempfile
        >>> import numpy as np
        >>> from modelzoo.data.sources.npz import Npz
        >>> path = pathlib.Path(tempfile.mkdtemp(), "data.npz")
        >>> np.savez(path, x_train=np.zeros((3, 8, 8), np.uint8), y_train=np.arange(3))
        >>> Npz(str(path)).open().split_names
        ('train',)
    """

    path: str

    sliced = ordered = "stored"

    def open(self) -> "OpenNpz":
        return OpenNpz(self)


class OpenNpz(OpenSource):
    """An opened `.npz` file; arrays are read by `read`."""

    def __init__(self, config: Npz):
        self.where = os.path.expanduser(config.path)
        with self._file() as file:
            self._arrays = tuple(file.files)
        self.split_names = tuple(
            sorted(name.removeprefix("x_") for name in self._arrays if name.startswith("x_"))
        )

    def default_columns(self, wanted: Wanted) -> tuple[str, ...]:
        return ("y" if wanted.is_target else "x",)

    def read(self, wanted: Sequence[Wanted], splits: Collection[str]) -> Mapping[str, Rows]:
        with self._file() as file:
            return {split: self._rows(file, wanted, split) for split in splits}

    @contextlib.contextmanager
    def _file(self) -> Iterator[np.lib.npyio.NpzFile]:
        try:
            file = np.load(self.where, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise UserError(f"{self.where} is not a .npz file but a single array")
            with file:
                yield file
        except OSError as error:
            raise UserError(f"cannot read {self.where}: {error.strerror or error}") from None
        except _DAMAGED as error:
            # NumPy advises to load what it cannot read as a pickle.
            reason = "" if "pickle" in str(error) else f": {' '.join(str(error).split())}"
            raise UserError(f"{self.where} is not a .npz file of plain arrays{reason}") from None

    def _rows(self, file: np.lib.npyio.NpzFile, wanted: Sequence[Wanted], split: str) -> Rows:
        columns = {
            one.key: tuple(self._column(file, one, name, split) for name in one.columns)
            for one in wanted
        }
        counts = {
            column.name: len(column.values)
            for group in columns.values()
            for column in group
            if column.values is not None
        }
        weights = None
        if f"w_{split}" in self._arrays:
            weights = _array(file, f"w_{split}")
            numbers = weights.dtype.kind in "biuf" and weights.ndim == 1
            with np.errstate(over="ignore"):
                weights = weights.astype(np.float32) if numbers else np.array([np.nan])
            if not (np.isfinite(weights) & (weights >= 0)).all():
                raise UserError(f"{self.where}: w_{split} must be [n] finite weights of at least 0")
            counts["w"] = len(weights)
        (first, count), *others = counts.items()
        for name, other in others:
            if other != count:
                raise UserError(
                    f"{self.where}: {first}_{split} has {count} rows and {name}_{split} has {other}"
                )
        return Rows(
            split=split,
            where=self.where,
            ids=[f"{split}/{row}" for row in range(count)],
            place=lambda row: f"{self.where}, {split}/{row}",
            columns=columns,
            weights=weights,
        )

    def _column(self, file: np.lib.npyio.NpzFile, wanted: Wanted, name: str, split: str) -> Column:
        key = f"{name}_{split}"
        if key not in self._arrays:
            raise UserError(
                f"{self.where} has no array {key} for {wanted.field}; its arrays are "
                f"{', '.join(self._arrays)}"
            )
        array = _array(file, key)
        stored = _forms(array)
        if not set(stored) & set(wanted.forms):
            raise UserError(
                f"{self.where}: {key} is {array.dtype} {list(array.shape)}, which "
                f"{wanted.field} cannot read as {' or '.join(wanted.forms)}"
            )
        form = self.form_of(wanted, key, stored)
        if form in ("text", "bytes"):
            cells = array.tolist()
            return Column(name, form, [c.strip() for c in cells] if form == "text" else cells)
        if form == "class":
            labels = array.reshape(len(array)).astype(np.int64)
            if len(labels) and labels.min() < 0:
                raise UserError(f"{self.where}: {key} has the negative label {labels.min()}")
            return Column(name, form, labels, names=self._class_names(file, name))
        array = array.reshape(len(array)) if form == "number" else array
        names = self._number_names(file, name) if wanted.is_target else None
        return Column(name, form, array, names=names)

    def _class_names(self, file: np.lib.npyio.NpzFile, name: str) -> tuple[str, ...]:
        """Names of the classes of all splits: the given ones, or else their numbers."""
        arrays = self._all(file, name).values()
        count = max((1 + int(array.max()) for array in arrays if array.size), default=0)
        given = self._given_names(file)
        if given is not None and len(given) < count:
            raise UserError(
                f"{self.where}: class_names has {len(given)} names and the labels go up to "
                f"{count - 1}"
            )
        return given or tuple(map(str, range(count)))

    def _number_names(self, file: np.lib.npyio.NpzFile, name: str) -> tuple[str, ...]:
        """Names of the numbers in a row: the given ones, or else their places."""
        counts = {
            key: int(np.prod(array.shape[1:])) for key, array in self._all(file, name).items()
        }
        given = self._given_names(file)
        if given is not None:
            counts["class_names"] = len(given)
        first, count = next(iter(counts.items()))
        other = next((key for key in counts if counts[key] != count), None)
        if other is not None:
            raise UserError(
                f"{self.where}: {first} has {count} numbers per row and {other} has {counts[other]}"
            )
        return given or tuple(map(str, range(count)))

    def _all(self, file: np.lib.npyio.NpzFile, name: str) -> dict[str, np.ndarray]:
        """The arrays of a column in all splits, by their names."""
        keys = (f"{name}_{split}" for split in self.split_names)
        return {key: _array(file, key) for key in keys if key in self._arrays}

    def _given_names(self, file: np.lib.npyio.NpzFile) -> tuple[str, ...] | None:
        if "class_names" not in self._arrays:
            return None
        return tuple(map(str, np.atleast_1d(_array(file, "class_names")).tolist()))


def _array(file: np.lib.npyio.NpzFile, name: str) -> np.ndarray:
    """An array, whole: a member of the archive ends where it does, so that its checksum counts."""
    archive = file.zip
    assert archive is not None  # It is open.
    with archive.open(name if name in archive.namelist() else f"{name}.npy") as stored:
        array = np.lib.format.read_array(stored, allow_pickle=False)
        if stored.read(1):
            raise ValueError(f"{name} has more bytes than its array")
    return array


def _forms(array: np.ndarray) -> tuple[Form, ...]:
    """The forms that an array can be read as."""
    kind = array.dtype.kind
    if array.ndim == 1 and kind in "US":
        return ("text",) if kind == "U" else ("bytes",)
    if array.ndim == 0 or kind not in "biuf":
        return ()
    # Keras's own archives store labels as [n, 1].
    if array.ndim == 1 or array.shape[1:] == (1,):
        return ("array", "number", "class") if kind in "iu" else ("array", "number")
    return ("array",)
