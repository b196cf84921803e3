"""Texts that a model generates."""

import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from modelzoo.data import tokenizers
from modelzoo.data.bound import TARGET, input_key
from modelzoo.data.columns import BadExample, Rows, Tensors, View
from modelzoo.data.inputs.input import Change, Input, Store
from modelzoo.data.inputs.text import (
    BoundText,
    VocabularyField,
    cell_text,
    item_text,
    text_inputs,
    token_specs,
)
from modelzoo.data.inputs.token_store import TokenStore
from modelzoo.data.targets.target import BoundInputs, BoundTarget, Target
from modelzoo.data.tokenizers import Tokenizer
from modelzoo.data.tokenizers.tokenizer import SpecialIds
from modelzoo.fields.errors import FieldError
from modelzoo.fields.input_specs import InputSpec


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextTarget(VocabularyField, Target):
    """A text for each example, such as its translation.

    A cell may be a list of texts: a model learns the first, and metrics compare with all of them.

    Attributes:
        tokenizer: what the tokens are, and how their vocabulary is trained; None, without a
            `vocabulary`, shares the vocabulary of the input, which is then trained on both. Fields
            of None that would change the case or the characters of texts change nothing.
        lengths: the lengths in tokens, with the end token, that texts are padded to: one beside
            each of the input's, which may repeat, or a single one; None for the input's.

    Example:
        >>> target = TextTarget(columns=("summary",), lengths=(32, 32, 64))
        >>> target.shares_vocabulary
        True
    """

    kind = "a text"
    forms = ("text", "list", "bytes")
    default_column = "target"
    noun = "texts"
    ends_texts = True

    lengths: tuple[int, ...] | None = None

    def __post_init__(self):
        lengths = self.lengths
        if lengths is not None and (
            not lengths or not all(a <= b for a, b in itertools.pairwise((2, *lengths)))
        ):
            raise FieldError(
                "lengths", f"must be none or numbers of at least 2 that do not fall, got {lengths}"
            )

    @property
    def shares_vocabulary(self) -> bool:
        return self.tokenizer is None and self.vocabulary is None

    def check(self, inputs: Mapping[str, Input]) -> None:
        texts = text_inputs(inputs)
        for name, one in texts.items():
            if one.end is not False and one.lengths[0] < 2:
                raise FieldError(
                    f"{input_key(name)}.lengths",
                    f"must be numbers of at least 2, a token and the end token, got {one.lengths}",
                )
        if len(texts) == 1:
            return
        for field, missing in (
            ("tokenizer", self.shares_vocabulary),
            ("lengths", not self.lengths),
        ):
            if missing:
                raise FieldError(
                    f"target.{field}",
                    f"must not be none with {len(texts)} inputs of texts: it takes "
                    "the place of the input's",
                )

    def parse(
        self, rows: Rows, key: str, inputs: Mapping[str, Input]
    ) -> Sequence[tuple[str, ...] | BadExample]:
        """The texts of each row, at least one and none empty, or a BadExample."""
        column = rows.columns[key][0]
        return [_texts(cell, column.name) for cell in rows.values(column)]

    def vocabulary_texts(
        self, train: View, key: str, target: Target | None
    ) -> dict[str, Sequence[str]]:
        parsed = train.rows.parsed_by(key)
        return {key: [parsed[row][0] for row in train.target]}

    def shared_texts(self, train: View) -> dict[str, Sequence[str]]:
        return self.vocabulary_texts(train, TARGET, self) if self.shares_vocabulary else {}

    def fit(
        self, train: View, used: Sequence[Rows], key: str, inputs: BoundInputs
    ) -> "BoundTextTarget":
        tokenizer = None if self.shares_vocabulary else self.make_tokenizer(train, key, self)
        return self._bound(tokenizer, inputs)

    def inherit(
        self,
        trained: BoundTarget | None,
        train: View,
        used: Sequence[Rows],
        key: str,
        inputs: BoundInputs,
    ) -> tuple["BoundTextTarget", str | None]:
        """Keeps the vocabulary, unless the config has another tokenizer or shares the input's."""
        if not isinstance(trained, BoundTextTarget) or self.shares_vocabulary:
            return self.fit(train, used, key, inputs), None
        tokenizer, remark = self.inherit_tokenizer(trained.tokenizer, train, key, self)
        return self._bound(tokenizer, inputs), remark

    def load(
        self, learned: Mapping[str, Any], folder: Path, inputs: BoundInputs
    ) -> "BoundTextTarget":
        return self._bound(None if learned["shared"] else tokenizers.load(folder), inputs)

    def _bound(self, tokenizer: Tokenizer | None, inputs: BoundInputs) -> "BoundTextTarget":
        """The bound target; None shares the tokenizer of the only input of texts."""
        source = next((one for one in inputs.values() if isinstance(one, BoundText)), None)
        if source is None:
            assert tokenizer is not None and self.lengths is not None  # See `check`.
            return BoundTextTarget(self, tokenizer, self.lengths, shared=False)
        lengths = self.lengths or source.widths
        return BoundTextTarget(self, tokenizer or source.tokenizer, lengths, tokenizer is None)


@dataclasses.dataclass(frozen=True)
class BoundTextTarget(BoundTarget):
    """`TextTarget` with its vocabulary.

    Raw tensors: `tokens` (int32 `[n, width]`, with the end token) and `padding_mask` (bool).

    Attributes:
        lengths: the lengths that texts are padded to.
        shared: whether the tokenizer is that of the input.
    """

    config: TextTarget
    tokenizer: Tokenizer
    lengths: tuple[int, ...]
    shared: bool

    layer = "embedding"

    @property
    def widths(self) -> tuple[int, ...]:
        return self.lengths

    @functools.cached_property
    def ids(self) -> SpecialIds:
        return self.tokenizer.special_ids(end=True)

    @property
    def forbidden_ids(self) -> tuple[int, ...]:
        """The ids that no text contains: padding and start."""
        ids = {self.tokenizer.pad_id, self.ids.start} - {self.ids.end}
        return tuple(sorted(token for token in ids if token is not None))

    def open(self, view: View, key: str, inputs: Mapping[str, Store], lazy: bool) -> TokenStore:
        parsed = view.rows.parsed_by(key)
        texts = [parsed[row][0] for row in view.target]
        return TokenStore(self.tokenizer, texts, end=True, longest=self.widths[-1], key=key)

    def model_specs(self) -> dict[str, InputSpec]:
        return token_specs(self.tokenizer, self.ids, self.widths[-1], "decoder/")

    def features(self, raw: Tensors, change: Change | None) -> Tensors:
        """`label` (int32 `[n, width]`), what the decoder reads, and the mask of both.

        The decoder reads the start token, then the label without its last token.
        """
        label, mask = raw["tokens"], raw["padding_mask"]
        shifted = tf.pad(label, [[0, 0], [1, 0]], constant_values=self.ids.start)[:, :-1]
        return {
            "decoder/tokens": tf.where(mask, shifted, self.ids.pad),
            "decoder/padding_mask": mask,
            "label": label,
            "label_mask": mask,
        }

    def join(self, tokens: tf.Tensor) -> tf.Tensor:
        """Texts, strings `[n]`, of tokens int32 `[n, length]` without the special ids."""
        return self.tokenizer.join(tf.RaggedTensor.from_tensor(tokens))

    def label_to_json(self, label: np.ndarray) -> str:
        return self.join(tf.constant(label, tf.int32)[None]).numpy()[0].decode()

    def references(self, view: View, key: str) -> Sequence[tuple[str, ...]]:
        parsed = view.rows.parsed_by(key)
        return [parsed[row] for row in view.target]

    def describe(self) -> str:
        words = "the vocabulary of the input" if self.shared else self.tokenizer.describe()
        return f"target texts of up to {self.widths[-1]} tokens, {words}"

    def save(self, folder: Path) -> dict[str, Any]:
        if not self.shared:
            self.tokenizer.save(folder)
        return {"shared": self.shared}

    def fingerprint(self) -> bytes:
        return self.tokenizer.fingerprint().encode()


def _texts(cell: Any, name: str) -> tuple[str, ...] | BadExample:
    """The texts of a cell."""
    try:
        many = isinstance(cell, list | tuple)
        items = ["" if item is None else item_text(item).strip() for item in cell] if many else ()
        found = tuple(items if many else [cell_text(cell)])
    except BadExample as bad:
        return bad
    if not found or not all(found):
        return BadExample(f"has no text in the column {name}")
    return found
