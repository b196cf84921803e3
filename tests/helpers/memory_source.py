"""A source over columns in memory, for tests of inputs and targets."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import tensorflow as tf

from modelzoo.data.columns import Column, Rows, Wanted
from modelzoo.data.sources.source import OpenSource, Source


@dataclasses.dataclass(frozen=True, kw_only=True)
class Memory(Source):
    """splits: name -> column name -> Column. group: name of a column of texts.

    bad_before: of each row of all splits, see `Rows`.
    lazy: whether columns are read through `Rows.read`; lists then hold integers.
    """

    splits: dict[str, dict[str, Column]]
    group: str | None = None
    weights: Any = None
    bad_before: Any = None
    lazy: bool = False

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
        self.where = "memory"
        self.split_names = tuple(config.splits)

    def read(self, wanted: Sequence[Wanted], splits: Collection[str]) -> Mapping[str, Rows]:
        found = {}
        for split in splits:
            columns = self.config.splits[split]
            count = len(next(iter(columns.values())).values)
            group = self.config.group
            asked = {one.key: tuple(columns[name] for name in one.columns) for one in wanted}
            read = None
            if self.config.lazy:
                stored = [column for asked_for in asked.values() for column in asked_for]
                read = _reader({column.name: _tensor(column) for column in stored})
                asked = {
                    key: tuple(dataclasses.replace(column, values=None) for column in asked_for)
                    for key, asked_for in asked.items()
                }
            found[split] = Rows(
                split=split,
                where="memory",
                ids=[f"{split}/{k}" for k in range(count)],
                place=lambda row, split=split: f"memory, {split}/{row}",
                columns=asked,
                read=read,
                groups=None if group is None else list(columns[group].values),
                weights=self.config.weights,
                bad_before=self.config.bad_before,
            )
        return found


def _tensor(column: Column) -> Any:
    if column.form == "list":
        return tf.ragged.constant(column.values, tf.int64)
    return tf.constant(column.values if column.form == "bytes" else np.asarray(column.values))


def _reader(tensors):
    return lambda rows: {name: tf.gather(tensor, rows) for name, tensor in tensors.items()}
