"""Pairs of texts in the columns of a table."""

import dataclasses
from typing import Literal

from modelzoo.data.pair_config import PairData, Pairs
from modelzoo.data.rows import BadLineError, Cells, Lines, filled, text_of
from modelzoo.data.splits import split_name, split_names


@dataclasses.dataclass(frozen=True)
class PairTable(Lines, PairData):
    """Pairs of texts that stand in a table, see `Lines`.

    Rows are ordered by a hash of their source, or of their group where there are groups, so that a
    slice is a random part, the same each time, whatever the order of the lines. A percentage is one
    of the range of hashes, see `ImageFolder`: it parts neither rows of one source nor of one group.

    A line with too few or too many columns, without a source or a target, or with bytes that are
    not UTF-8 is a bad line. It counts in every slice of its split, and in all splits where it does
    not tell its own.

    Attributes:
        source_columns: the column of the source; the texts of several, such as a question and what
            it is asked about, are joined, each on a line.
        target_column: the column of the target. Where it holds a list in JSON lines, its texts are
            the references of which the first is trained on.
        on_bad_line: what a bad line leads to: "error" names it, "skip" leaves it out and counts it.
    """

    source_columns: tuple[str, ...] = ("source",)
    target_column: str = "target"
    on_bad_line: Literal["error", "skip"] = "error"

    def __post_init__(self):
        super().__post_init__()
        if not self.source_columns:
            raise ValueError(f"source_columns must name columns, got {self.source_columns}")

    def _read(self, split: str) -> Pairs:
        used = split_names(split, self.train_split, self.validation_split, self.test_split)
        fields = {"source_columns": self.source_columns, "target_column": (self.target_column,)}
        table = self._read_rows(used, fields, self._source, "on_bad_line")
        rows = table.part(split, lambda row: row.item)
        return Pairs(
            where=f"table {table.path.replace('{split}', split_name(split))}",
            ids=[row.id for row in rows],
            sources=[row.item for row in rows],
            references=[row.target for row in rows],
            skipped=table.skipped_in(split),
            groups=None if self.group_column is None else [row.group for row in rows],
        )

    def _source(self, cells: Cells) -> str:
        found = [text for name in self.source_columns if (text := text_of(cells, name))]
        if not found:
            raise BadLineError(f"has nothing in the column {', '.join(self.source_columns)}")
        return "\n".join(found)

    def _target(self, cells: Cells) -> tuple[str, ...]:
        name, cell = self.target_column, cells.get(self.target_column)
        if not isinstance(cell, list):
            return (filled(cells, name),)
        return tuple(filled({name: one}, name) for one in cell or [None])
