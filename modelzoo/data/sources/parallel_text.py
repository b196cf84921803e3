"""Two parallel text files: the lines of one number are a source and its target."""

import dataclasses
import os
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from modelzoo.data.columns import Bad, BadExample, Column, Rows, Wanted
from modelzoo.data.slices import SPLIT, split_files
from modelzoo.data.sources.source import OpenSource, Source
from modelzoo.data.text_files import read_text_lines
from modelzoo.fields.errors import FieldError, UserError

_SIDES = ("source", "target")


@dataclasses.dataclass(frozen=True)
class ParallelText(Source):
    """Two UTF-8 text files with a text per line: the lines of one number belong together.

    The columns are "source" and "target". The splits are files of their own if the paths contain
    `{split}`, else everything is the split "train", to be sliced: "train[:90%]" and "train[90%:]".
    A slice is a random part, the same each time: a range of hashes of what the first input reads,
    such as the source, so that equal texts stay together. Within a split the order is that of the
    files.

    A line that is not UTF-8 is a bad example. Files with different line counts are an error,
    because a line may be missing in the middle.

    Attributes:
        source_path: the file of the sources, such as "data/{split}.en".
        target_path: the file of the targets, such as "data/{split}.de".

    Example:
        >>> import pathlib, tempfile
        >>> from modelzoo.data.sources.parallel_text import ParallelText
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> for name in ("train.en", "train.de", "dev.en", "dev.de"):
        ...     _ = (folder / name).write_text("a text\\n")
        >>> ParallelText(f"{folder}/{{split}}.en", f"{folder}/{{split}}.de").open().split_names
        ('dev', 'train')
    """

    source_path: str
    target_path: str

    ordered = "stored"

    def __post_init__(self):
        if (SPLIT in self.source_path) != (SPLIT in self.target_path):
            raise FieldError(
                "target_path",
                f"must contain {SPLIT} if source_path does and only then, got "
                f"{self.target_path!r} beside {self.source_path!r}",
            )

    def open(self) -> "OpenParallelText":
        return OpenParallelText(self)


class OpenParallelText(OpenSource):
    """Opened parallel files; they are read by `read`."""

    def __init__(self, config: ParallelText):
        paths = (config.source_path, config.target_path)
        self._files = [split_files(path) for path in paths]
        self.where = f"parallel text {config.source_path}"
        self.split_names = tuple(sorted(set(self._files[0]) & set(self._files[1])))
        if not self.split_names:
            found = [
                f"{path} has {', '.join(sorted(files)) or 'none'}"
                for path, files in zip(paths, self._files, strict=True)
            ]
            raise UserError(
                f"no split has a file of both sides: {' and '.join(found)}; check "
                "config.data.source.source_path and target_path"
            )

    def default_columns(self, wanted: Wanted) -> tuple[str, ...]:
        return (_SIDES[wanted.is_target],)

    def read(self, wanted: Sequence[Wanted], splits: Collection[str]) -> Mapping[str, Rows]:
        self.check_columns(wanted, dict.fromkeys(_SIDES, "text"))
        return {split: self._rows(wanted, split) for split in splits}

    def _rows(self, wanted: Sequence[Wanted], split: str) -> Rows:
        paths = [files[split] for files in self._files]
        lines = dict(zip(_SIDES, map(_lines, paths), strict=True))
        counts = [len(each) for each in lines.values()]
        if counts[0] != counts[1]:
            raise UserError(
                f"{paths[0]} has {counts[0]:,} lines and {paths[1]} has {counts[1]:,}: both need "
                "the same number, because the lines of one number belong together"
            )
        used = {name for one in wanted for name in one.columns}
        texts = {side: lines[side] for side in _SIDES if side in used}
        bad = {
            row: Bad(split, f"{path}, line {row + 1}", str(line))
            for side, path in zip(_SIDES, paths, strict=True)
            for row, line in enumerate(texts.get(side, ()))
            if isinstance(line, BadExample)
        }
        good = [row for row in range(counts[0]) if row not in bad]
        columns = {
            side: Column(side, "text", [_text(cells[row]) for row in good])
            for side, cells in texts.items()
        }
        base = os.path.basename(paths[0])
        return Rows(
            split=split,
            where=f"parallel text {paths[0]}",
            ids=[f"{base}:{row + 1}" for row in good],
            place=lambda row: f"{paths[0]} and {paths[1]}, line {good[row] + 1}",
            columns={one.key: tuple(columns[name] for name in one.columns) for one in wanted},
            bad=tuple(bad[row] for row in sorted(bad)),
            bad_before=np.array(good, np.int64) - np.arange(len(good)),
        )


def _lines(path: str) -> list[bytes | BadExample]:
    try:
        return list(read_text_lines(path))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None


def _text(line: bytes | BadExample) -> str:
    return line.decode().strip() if isinstance(line, bytes) else ""
