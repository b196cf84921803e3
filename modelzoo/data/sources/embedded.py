"""Sources that need no files: their rows come with an installed package."""

import abc
import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

from modelzoo.data.columns import Column, Rows, Wanted
from modelzoo.data.sources.source import OpenSource, Source


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmbeddedSource(Source, OpenSource):
    """The base of the sources in memory, which slice by stored position; open from the start."""

    defaults: ClassVar[tuple[str, str]]
    """The columns of an input and of a target whose configs name none."""
    sliced = ordered = "stored"

    @abc.abstractmethod
    def load(self, split: str) -> tuple[Sequence[str], Sequence[Column]]:
        """The ids and the columns of a split, in stored order."""

    def open(self) -> "EmbeddedSource":
        return self

    def default_columns(self, wanted: Wanted) -> tuple[str, ...]:
        return (self.defaults[wanted.is_target],)

    def read(self, wanted: Sequence[Wanted], splits: Collection[str]) -> Mapping[str, Rows]:
        return {split: self._rows(wanted, split) for split in splits}

    def _rows(self, wanted: Sequence[Wanted], split: str) -> Rows:
        ids, columns = self.load(split)
        known = {column.name: column for column in columns}
        self.check_columns(wanted, {name: column.form for name, column in known.items()})
        return Rows(
            split=split,
            where=self.where,
            ids=ids,
            place=lambda row: f"{self.where}, {ids[row]}",
            columns={one.key: tuple(known[name] for name in one.columns) for one in wanted},
        )


def split_of(digest: bytes, tenths: Mapping[str, range]) -> str:
    """The split of a row by the hash of its key; `tenths` has the tenths of each split."""
    tenth = int.from_bytes(digest[:8], "big") % 10
    return next(split for split, own in tenths.items() if tenth in own)
