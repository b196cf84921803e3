"""One class for each token of a text."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from modelzoo.data.bound import input_key, tensor_prefix
from modelzoo.data.columns import BadExample, Rows, Tensors, View
from modelzoo.data.inputs.input import Change, Input, Store
from modelzoo.data.inputs.text import cell_text, item_text, text_inputs
from modelzoo.data.inputs.token_store import TokenStore
from modelzoo.data.targets.labels import count_numbers, found_names
from modelzoo.data.targets.target import BoundInputs, BoundTarget, NamedTarget
from modelzoo.fields.errors import FieldError


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenLabels(NamedTarget):
    """One class for each token of a text, such as the part of speech of each word.

    A cell holds the names of the classes, separated by spaces or as a list. The text must have as
    many tokens, so its tokenizer is `Characters` or `Words(split="whitespace")`.

    Attributes:
        of: name of the input whose tokens have labels; None for the only input of texts.

    Example:
        >>> TokenLabels(of="sentence", columns=("tags",)).default_column
        'label'
    """

    kind = "one class per token"
    input_kinds = ("tokens",)
    forms = ("list", "text")
    default_column = "label"
    noun = "labels"

    of: str | None = None

    def check(self, inputs: Mapping[str, Input]) -> None:
        texts = text_inputs(inputs)
        name = next(iter(texts)) if self.of is None and len(texts) == 1 else self.of
        if name is None or name not in texts:
            wanted = "none, the only input" if list(texts) == [""] else f"one of {', '.join(texts)}"
            got = "none" if self.of is None else repr(self.of)
            raise FieldError("target.of", f"must be {wanted}, got {got}")
        key, text = input_key(name), texts[name]
        if text.tokenizer.count_tokens("") is None:
            raise FieldError(
                f"{key}.tokenizer",
                f"must be Characters() or Words(split='whitespace') with one label "
                f"per token, got {type(text.tokenizer).__name__}",
            )
        if len(text.columns) > 1:
            raise FieldError(
                f"{key}.columns",
                f"must name one column with one label per token, got {text.columns}",
            )

    def _key(self, inputs: Mapping[str, Input]) -> str:
        """The key of the input whose tokens have labels."""
        return next(iter(text_inputs(inputs))) if self.of is None else input_key(self.of)

    def parse(
        self, rows: Rows, key: str, inputs: Mapping[str, Input]
    ) -> Sequence[tuple[str | None, ...] | BadExample]:
        """The names of the labels of each row, None for a token without one, or a BadExample."""
        source = self._key(inputs)
        tokenizer, texts = text_inputs(inputs)[source].tokenizer, rows.parsed_by(source)
        column = rows.columns[key][0]
        return [
            _labels(cell, column.names, text, tokenizer.count_tokens)
            for cell, text in zip(rows.values(column), texts, strict=True)
        ]

    def find_names(self, train: Rows, used: Sequence[Rows], key: str) -> Sequence[str]:
        return train.columns[key][0].names or found_names(used, key)

    def bind(self, names: tuple[str, ...], inputs: BoundInputs) -> "BoundTokenLabels":
        source = self._key({key: one.config for key, one in inputs.items()})
        lengths = inputs[source].widths
        assert lengths is not None  # The source is a text.
        return BoundTokenLabels(config=self, names=names, source=source, lengths=lengths)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BoundTokenLabels(BoundTarget):
    """`TokenLabels` with the names of the classes.

    Raw tensors and those of a batch: `label` (int64 `[n, width]`, -1 for none) and `label_mask`
    (bool).

    Attributes:
        source: key of the input whose tokens have labels.
        lengths: the lengths of that input.
    """

    config: TokenLabels
    names: tuple[str, ...]
    source: str
    lengths: tuple[int, ...]

    noun = "classes"
    exclusive = True

    @property
    def widths(self) -> tuple[int, ...]:
        return self.lengths

    @property
    def mask_name(self) -> str:
        """The name of the input's padding mask in a batch."""
        return f"{tensor_prefix(self.source)}padding_mask"

    def open(self, view: View, key: str, inputs: Mapping[str, Store], lazy: bool) -> Store:
        parsed, numbers = view.rows.parsed_by(key), {name: k for k, name in enumerate(self.names)}
        labels = [[numbers.get(name, -1) for name in parsed[row]] for row in view.target]
        tokens = inputs[self.source]
        assert isinstance(tokens, TokenStore)  # The source is a text.
        return _LabelStore(labels, tokens)

    def features(self, raw: Tensors, change: Change | None) -> Tensors:
        return dict(raw)

    def count_labels(self, batch: Tensors) -> tuple[np.ndarray, int]:
        used = batch["label_mask"].numpy() & (batch["weight"].numpy() > 0)[:, None]
        return count_numbers(batch["label"].numpy()[used], len(self.names))

    def label_to_json(self, label: np.ndarray) -> list[str | None]:
        """The names of the tokens' classes, up to the last token that has one."""
        return [self.names[k - 1] if k else None for k in np.trim_zeros(label + 1, "b")]


class _LabelStore(Store):
    """Labels of tokens, truncated as these are."""

    def __init__(self, labels: Sequence[Sequence[int]], tokens: TokenStore):
        given, counts = np.array([len(row) for row in labels], np.int64), tokens.counts
        self.lengths = tokens.lengths
        good = given == counts
        self.reasons = {
            int(k): f"has {counts[k]} tokens and {given[k]} labels; its tokenizer must make one "
            "token per label"
            for k in np.flatnonzero(~good)
        }
        self._tokens = tokens
        rows = [
            row if fits else [-1] * n for row, fits, n in zip(labels, good, counts, strict=True)
        ]
        flat = np.concatenate([np.zeros(0, np.int64), *(np.array(r, np.int64) for r in rows)])
        self._labels = tokens.truncated(flat, -1, -1)

    def read(
        self, examples: tf.Tensor, raw: Tensors, width: tf.Tensor | int | None
    ) -> dict[str, tf.Tensor]:
        label, _ = self._tokens.pick(self._labels, examples, width, -1)
        return {"label": label, "label_mask": label >= 0}


def _labels(
    cell: Any,
    names: tuple[str, ...] | None,
    text: str | BadExample,
    count_tokens: Callable[[str], int | None],
) -> tuple[str | None, ...] | BadExample:
    """The labels of a cell; with `names` it holds their numbers, of which -1 is none."""
    try:
        if names is not None:
            found = tuple(None if number < 0 else names[number] for number in cell)
        elif isinstance(cell, list | tuple):
            found = tuple(map(item_text, cell))
        else:
            found = tuple(cell_text(cell).split())
    except BadExample as bad:
        return bad
    if not isinstance(text, BadExample) and (count := count_tokens(text)) != len(found):
        return BadExample(f"has {count} tokens and {len(found)} labels")
    return found
