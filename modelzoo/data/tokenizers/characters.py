"""Texts as characters."""

import collections
import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf

from modelzoo.data.tokenizers.tokenizer import Tokenizer, TokenizerConfig, chunks, frequent


@dataclasses.dataclass(frozen=True, kw_only=True)
class Characters(TokenizerConfig):
    """Each Unicode code point is a token.

    Attributes:
        size: largest size of the vocabulary, with the special tokens; None for no limit.
        min_count: how often a character must occur to get an id.

    Example:
        >>> Characters().train(["banana"]).vocabulary
        ('<pad>', '<unk>', 'a', 'n', 'b')
    """

    size: int | None = None
    min_count: int = 1

    @property
    def separator(self) -> str:
        return ""

    def count_tokens(self, text: str) -> int:
        return len(text)

    def codes(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Code points of texts `[n]`, int32 `[n, None]`."""
        return tf.strings.unicode_decode(self.normalised(texts), "UTF-8")

    def train(self, texts: Iterable[str | bytes]) -> "CharacterTokenizer":
        counts: collections.Counter[int] = collections.Counter()
        for chunk in chunks(texts):
            found = np.unique(self.codes(chunk).flat_values, return_counts=True)
            counts.update(dict(zip(*(part.tolist() for part in found), strict=True)))
        for token in (*self.stand_ins, *self.named):
            if len(token) == 1:
                del counts[ord(token)]
        kept = frequent(counts, self)
        return CharacterTokenizer(self, self.first + tuple(map(chr, kept)))

    def load(self, vocabulary: tuple[str, ...], folder: Path) -> "CharacterTokenizer":
        return CharacterTokenizer(self, vocabulary)


class CharacterTokenizer(Tokenizer):
    """Characters by number."""

    config: Characters

    _space = ""

    def __init__(self, config: Characters, vocabulary: tuple[str, ...]):
        super().__init__(config, vocabulary)
        wrong = next((t for t in self.split_tokens if len(t) != 1 and t not in config.named), None)
        if wrong is not None:
            raise ValueError(f"has the token {wrong!r}, which is not one character")
        codes = [ord(t) if len(t) == 1 else -1 for t in self.split_tokens]
        self._lookup = self._lookup_of(codes, np.int32)

    def ids(self, texts: tf.Tensor) -> tf.RaggedTensor:
        return tf.ragged.map_flat_values(self._lookup, self.config.codes(texts))

    def _cleaned(self, joined: tf.Tensor) -> tf.Tensor:
        return joined
