"""Texts as words."""

import collections
import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
import tensorflow as tf

from modelzoo.data.tokenizers.tokenizer import (
    SPECIAL,
    Lookup,
    Tokenizer,
    TokenizerConfig,
    chunks,
    frequent,
)

_APOSTROPHE = r"([\p{L}\p{M}\p{N}])['\x{2019}]([\p{L}\p{M}\p{N}])"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Words(TokenizerConfig):
    """Each word is a token.

    Attributes:
        size: most ids of the vocabulary, padding and unknown among them.
        min_count: how often a word has to occur to get an id.
        lower: whether upper case becomes lower case.
        split: "punctuation" makes tokens of runs of letters, marks and digits, in which an
            apostrophe may stand (don't, also with the typeset U+2019), and of every other character
            that is no space; "whitespace" of whatever stands between spaces.
    """

    size: int = 30_000
    min_count: int = 1
    lower: bool = True
    split: Literal["punctuation", "whitespace"] = "punctuation"

    def words(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Words `[n, None]` of texts `[n]`."""
        texts = self.spaced(self.normalised(texts))
        return split_punctuation(texts) if self.split == "punctuation" else split_space(texts)

    def train(self, texts: Iterable[str | bytes]) -> "WordTokenizer":
        counts = count(self.words, texts)
        counts = {word: number for word, number in counts.items() if word not in self.stand_ins}
        return WordTokenizer(self, self.first + tuple(frequent(counts, self)))

    def load(self, vocabulary: tuple[str, ...], folder: Path) -> "WordTokenizer":
        return WordTokenizer(self, vocabulary)


class WordTokenizer(Tokenizer):
    """Words by their 63-bit fingerprints, which in no vocabulary there is are the same."""

    def __init__(self, config: Words, vocabulary: tuple[str, ...]):
        super().__init__(config, vocabulary)
        self._lookup = Lookup(_fingerprints(tf.constant(self.split_tokens[len(SPECIAL) :])).numpy())

    def ids(self, texts: tf.Tensor) -> tf.RaggedTensor:
        words = self.config.words(texts)
        return words.with_flat_values(self._lookup(_fingerprints(words.flat_values)))


def _fingerprints(words: tf.Tensor) -> tf.Tensor:
    return tf.strings.to_hash_bucket_fast(words, np.iinfo(np.int64).max)


def count(words, texts: Iterable[str | bytes]) -> dict[str, int]:
    """How often each word occurs in texts, by the function that splits them in the graph."""
    counts = collections.Counter()
    for chunk in chunks(texts):
        counts.update(words(chunk).flat_values.numpy().tolist())
    found = {word.decode(): number for word, number in counts.items()}
    return {word: number for word, number in found.items() if word not in SPECIAL}


def split_space(texts: tf.Tensor) -> tf.RaggedTensor:
    """What stands between white space, `[n, None]`, as `str.split()` parts it."""
    return tf.strings.split(
        tf.strings.regex_replace(texts, r"[^\P{Z} ]|[\x{1c}-\x{1f}\x{85}]", " ")
    )


def split_punctuation(texts: tf.Tensor) -> tf.RaggedTensor:
    """Words and punctuation marks `[n, None]`, see `Words.split`; a mark is told by its category.

    Invisible format characters, such as a soft hyphen, are left out.
    """
    texts = tf.strings.regex_replace(texts, r"\p{Cf}", "")
    texts = tf.strings.regex_replace(texts, r"[^\P{Z} ]|\p{Cc}", " ")
    # No control is left, so one may stand for the apostrophes that part no words. Twice, as a
    # letter between two of them is in one match only.
    texts = tf.strings.regex_replace(texts, _APOSTROPHE, "\\1\x01\\2")
    texts = tf.strings.regex_replace(texts, _APOSTROPHE, "\\1\x01\\2")
    texts = tf.strings.regex_replace(texts, r"([^\p{L}\p{M}\p{N} \x01]\p{M}*)", r" \1 ")
    return tf.strings.split(tf.strings.regex_replace(texts, "\x01", "'"))
