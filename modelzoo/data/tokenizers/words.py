"""Texts as words."""

import collections
import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
import tensorflow as tf

from modelzoo.data.tokenizers.tokenizer import Tokenizer, TokenizerConfig, chunks, frequent


@dataclasses.dataclass(frozen=True, kw_only=True)
class Words(TokenizerConfig):
    """Each word is a token.

    If a model generates texts with the vocabulary, `lower` and `normalize` of None change no text.

    Attributes:
        size: largest size of the vocabulary, with the special tokens.
        min_count: how often a word must occur to get an id.
        lower: whether upper case becomes lower case; None is True.
        normalize: as in `TokenizerConfig`. With "punctuation" and anything but "none", invisible
            format characters, such as a soft hyphen, are removed, and a typeset apostrophe (U+2019)
            in a word becomes a plain one. None does only this.
        split: "punctuation" makes a token of each run of letters, marks and digits, which may
            contain apostrophes (don't), and of each other character that is not a space;
            "whitespace" splits only at spaces.

    Example:
        >>> Words().train(["I don't, you do"]).vocabulary
        ('<pad>', '<unk>', ',', 'do', "don't", 'i', 'you')
    """

    size: int = 30_000
    min_count: int = 1
    lower: bool | None = None
    normalize: Literal["none", "nfc", "nfkc"] | None = None
    split: Literal["punctuation", "whitespace"] = "punctuation"

    def words(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Words `[n, None]` of texts `[n]`."""
        texts = self.spaced(self.normalised(texts))
        if self.split == "punctuation":
            return split_punctuation(texts, as_written=self.normalize == "none")
        return split_space(texts)

    def count_tokens(self, text: str) -> int | None:
        return len(text.split()) if self.split == "whitespace" else None

    def train(self, texts: Iterable[str | bytes]) -> "WordTokenizer":
        found: collections.Counter[bytes] = collections.Counter()
        for chunk in chunks(texts):
            found.update(self.words(chunk).flat_values.numpy().tolist())
        counts = {word.decode(): number for word, number in found.items()}
        for token in (*self.stand_ins, *self.named):
            counts.pop(token, None)
        return WordTokenizer(self, self.first + tuple(frequent(counts, self)))

    def load(self, vocabulary: tuple[str, ...], folder: Path) -> "WordTokenizer":
        return WordTokenizer(self, vocabulary)


class WordTokenizer(Tokenizer):
    """Words by their 63-bit fingerprints, which must differ."""

    config: Words

    def __init__(self, config: Words, vocabulary: tuple[str, ...]):
        super().__init__(config, vocabulary)
        self._lookup = self._lookup_of(
            _fingerprints(tf.constant(self.split_tokens)).numpy(), np.int64
        )

    def ids(self, texts: tf.Tensor) -> tf.RaggedTensor:
        words = self.config.words(texts)
        return words.with_flat_values(self._lookup(_fingerprints(words.flat_values)))


def _fingerprints(words: tf.Tensor) -> tf.Tensor:
    return tf.strings.to_hash_bucket_fast(words, np.iinfo(np.int64).max)


def split_space(texts: tf.Tensor) -> tf.RaggedTensor:
    """Texts `[n]` split at white space, `[n, None]`, as by `str.split()`."""
    return tf.strings.split(
        tf.strings.regex_replace(texts, r"[^\P{Z} ]|[\x{1c}-\x{1f}\x{85}]", " ")
    )


def split_punctuation(texts: tf.Tensor, as_written: bool) -> tf.RaggedTensor:
    """Words and punctuation marks `[n, None]` of texts `[n]`, see `Words.split`.

    Unicode categories tell them apart. `as_written` keeps invisible format characters, such as a
    soft hyphen, as parts of words, and typeset apostrophes; see `Words.normalize`.
    """
    letters = r"\p{L}\p{M}\p{N}"
    if as_written:
        letters += r"\p{Cf}"
    else:
        texts = tf.strings.regex_replace(texts, r"\p{Cf}", "")
    texts = tf.strings.regex_replace(texts, r"[^\P{Z} ]|\p{Cc}", " ")
    # No control character is left, so they can replace the apostrophes inside of words. Twice, as
    # matches do not overlap: a letter between two apostrophes is in one match only.
    codes = {"'": "\x01", "\u2019": "\x02"}
    for mark, code in [*codes.items()] * 2:
        inside = f"([{letters}]){mark}([{letters}])"
        texts = tf.strings.regex_replace(texts, inside, rf"\1{code}\2")
    texts = tf.strings.regex_replace(texts, rf"([^{letters} \x01\x02]\p{{M}}*)", r" \1 ")
    for mark, code in codes.items():
        texts = tf.strings.regex_replace(texts, code, mark if as_written else "'")
    return tf.strings.split(texts)
