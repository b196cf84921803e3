"""A source over columns in memory, for tests of inputs and targets."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Literal

from modelzoo.data.columns import Column, Rows, Wanted
from modelzoo.data.sources.source import OpenSource, Source


@dataclasses.dataclass(frozen=True, kw_only=True)
class Memory(Source):
    """splits: name -> column name -> Column. group: name of a column of texts.

    bad_before: of each row of all splits, see `Rows`.
    """

    splits: dict[str, dict[str, Column]]
    group: str | None = None
    weights: Any = None
    bad_before: Any = None

    sliced: ClassVar[Literal["hash", "stored"]] = "stored"
    ordered: ClassVar[Literal["hash", "stored"]] = "stored"

    def open(self) -> "OpenMemory":
        return OpenMemory(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HashedMemory(Memory):
    """The same, sliced and ordered by hash."""

    sliced = "hash"
    ordered = "hash"


class OpenMemory(OpenSource):
    def __init__(self, config: Memory):
        self.config = config

    @property
    def where(self) -> str:
        return "memory"

    @property
    def split_names(self) -> tuple[str, ...]:
        return tuple(self.config.splits)

    def read(self, wanted: Sequence[Wanted], splits: Collection[str]) -> Mapping[str, Rows]:
        found = {}
        for split in splits:
            columns = self.config.splits[split]
            count = len(next(iter(columns.values())).values)
            group = self.config.group
            found[split] = Rows(
                split=split,
                where="memory",
                ids=[f"{split}/{k}" for k in range(count)],
                place=lambda row, split=split: f"memory, {split}/{row}",
                columns={one.key: tuple(columns[name] for name in one.columns) for one in wanted},
                groups=None if group is None else list(columns[group].values),
                weights=self.config.weights,
                bad_before=self.config.bad_before,
            )
        return found
