"""Texts in the columns of a table, with what is learned of them in others."""

import dataclasses
from typing import Literal

from modelzoo.data.rows import BadLineError, Cells, text_of
from modelzoo.data.splits import split_name, split_names
from modelzoo.data.table_targets import Table
from modelzoo.data.text_config import TextData, Texts
from modelzoo.data.tokenizers import Characters, Words


@dataclasses.dataclass(frozen=True)
class TextTable(Table, TextData):
    """Texts that stand in a table, see `Table`.

    Rows are ordered by a hash of their text, or of their group where there are groups, so that a
    slice is a random part, the same each time, whatever the order of the lines. A percentage is one
    of the range of hashes, see `ImageFolder`: it parts neither rows of one text nor of one group.

    A line with too few or too many columns, no text, a target that is none, or bytes that are not
    UTF-8 is a bad line. It counts in every slice of its split, and in all splits where it does not
    tell its own. So is one that has not as many labels as tokens, where `targets` is "labels": both
    are parted by spaces, or lists in JSON lines; a token is a character where `tokenizer` says so.

    Attributes:
        text_columns: the column of the text; the texts of several are joined, each on a line.
        on_bad_line: what a bad line leads to: "error" names it, "skip" leaves it out and counts it.
    """

    text_columns: tuple[str, ...] = ("text",)
    on_bad_line: Literal["error", "skip"] = "error"

    def __post_init__(self):
        super().__post_init__()
        labels, tokenizer = self.targets == "labels", self.tokenizer
        if not self.text_columns or (labels and len(self.text_columns) > 1):
            wanted = "one column where targets is 'labels'" if labels else "columns"
            raise ValueError(f"text_columns must name {wanted}, got {self.text_columns}")
        spaced = isinstance(tokenizer, Words) and tokenizer.split == "whitespace"
        if labels and not (spaced or isinstance(tokenizer, Characters)):
            raise ValueError(
                "tokenizer must be Characters() or Words(split='whitespace') where targets is "
                f"'labels', one for each token, got {tokenizer}"
            )

    def _read(self, split: str) -> Texts:
        used = split_names(split, self.train_split, self.validation_split, self.test_split)
        table = self._read_rows(
            used, {"text_columns": self.text_columns}, self._text, "on_bad_line"
        )
        rows = table.part(split, lambda row: row.item)
        names = self._names([row for row in table.rows if row.split in used])
        return Texts(
            where=f"table {table.path.replace('{split}', split_name(split))}",
            ids=[row.id for row in rows],
            texts=[row.item for row in rows],
            labels=self._labels(rows, names),
            class_names=names,
            targets=self.targets,
            skipped=table.skipped_in(split),
            groups=None if self.group_column is None else [row.group for row in rows],
        )

    def _text(self, cells: Cells) -> str:
        space = "" if isinstance(self.tokenizer, Characters) else " "
        parts = []
        for name in self.text_columns:
            cell = cells.get(name)
            part = space.join(map(str, cell)) if isinstance(cell, list) else text_of(cells, name)
            parts += [part] if part.strip() else []
        text = "\n".join(parts)
        if not text:
            raise BadLineError(f"has no text in the column {', '.join(self.text_columns)}")
        if self.targets == "labels":
            tokens, labels = len(text.split() if space else text), len(self._target(cells))
            if tokens != labels:
                raise BadLineError(f"has {tokens} tokens and {labels} labels")
        return text
