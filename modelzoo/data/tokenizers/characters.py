"""Texts as characters."""

import collections
import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf

from modelzoo.data.tokenizers.tokenizer import (
    SPECIAL,
    UNKNOWN,
    Lookup,
    Tokenizer,
    TokenizerConfig,
    chunks,
    frequent,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Characters(TokenizerConfig):
    """Each Unicode code point is a token.

    Attributes:
        size: most ids of the vocabulary, padding and unknown among them; None for no limit.
        min_count: how often a character has to occur to get an id.
    """

    size: int | None = None
    min_count: int = 1

    def codes(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Code points int32 `[n, None]` of texts `[n]`."""
        return tf.strings.unicode_decode(self.normalised(texts), "UTF-8")

    def train(self, texts: Iterable[str | bytes]) -> "CharacterTokenizer":
        counts = collections.Counter()
        for chunk in chunks(texts):
            found = np.unique(self.codes(chunk).flat_values, return_counts=True)
            counts.update(dict(zip(*(part.tolist() for part in found), strict=True)))
        for code in self.stand_ins:
            del counts[ord(code)]
        kept = frequent(counts, self)
        return CharacterTokenizer(self, self.first + tuple(map(chr, kept)))

    def load(self, vocabulary: tuple[str, ...], folder: Path) -> "CharacterTokenizer":
        return CharacterTokenizer(self, vocabulary)


class CharacterTokenizer(Tokenizer):
    """Characters by number."""

    _space = ""

    def __init__(self, config: Characters, vocabulary: tuple[str, ...]):
        super().__init__(config, vocabulary)
        self._lookup = Lookup(np.array(list(map(ord, self.split_tokens[len(SPECIAL) :])), np.int32))

    def ids(self, texts: tf.Tensor) -> tf.RaggedTensor:
        return tf.ragged.map_flat_values(self._lookup, self.config.codes(texts))

    def _text(self, ids: list[int]) -> str:
        return "".join("\ufffd" if k == UNKNOWN else self.vocabulary[k] for k in ids)

    def _cleaned(self, joined: tf.Tensor) -> tf.Tensor:
        return joined
