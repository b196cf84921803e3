"""Sources that need no files: their rows come with an installed package."""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import ClassVar, Literal

from modelzoo.data.columns import Column, Rows, Wanted
from modelzoo.data.sources.source import OpenSource, Source
from modelzoo.fields.errors import UserError

Load = Callable[[str], tuple[Sequence[str], Sequence[Column]]]
"""Returns the ids and the columns of a split, in stored order."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmbeddedSource(Source):
    """The base of the sources in memory, which slice by stored position."""

    sliced: ClassVar[Literal["hash", "stored"]] = "stored"
    ordered: ClassVar[Literal["hash", "stored"]] = "stored"


class OpenEmbedded(OpenSource):
    """An opened source in memory.

    Args:
        where: the source in messages.
        split_names: names of its splits.
        defaults: the columns of an input and of a target whose configs name none.
        load: see `Load`.
    """

    def __init__(
        self, where: str, split_names: Sequence[str], defaults: tuple[str, str], load: Load
    ):
        self._where = where
        self._split_names = tuple(split_names)
        self._defaults = defaults
        self._load = load

    @property
    def where(self) -> str:
        """The source in messages."""
        return self._where

    @property
    def split_names(self) -> tuple[str, ...]:
        """Names of the splits."""
        return self._split_names

    def default_columns(self, wanted: Wanted) -> tuple[str, ...]:
        """The first default for an input, the second for the target."""
        return (self._defaults[wanted.is_target],)

    def read(self, wanted: Sequence[Wanted], splits: Collection[str]) -> Mapping[str, Rows]:
        """Reads splits, see `OpenSource.read`."""
        return {split: self._rows(wanted, split) for split in splits}

    def _rows(self, wanted: Sequence[Wanted], split: str) -> Rows:
        ids, columns = self._load(split)
        known = {column.name: column for column in columns}
        for one in wanted:
            for name in one.columns:
                if name not in known:
                    raise UserError(
                        f"{self.where} has no column {name!r} for {one.field}; its columns are "
                        f"{', '.join(known)}"
                    )
                self.form_of(one, name, [known[name].form])
        return Rows(
            split=split,
            where=self.where,
            ids=ids,
            place=lambda row: f"{self.where}, {ids[row]}",
            columns={one.key: tuple(known[name] for name in one.columns) for one in wanted},
        )
