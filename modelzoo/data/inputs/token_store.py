"""Tokens of the texts of one view, in memory."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from modelzoo.data.columns import Tensors
from modelzoo.data.inputs.input import Store
from modelzoo.data.tokenizers import Tokenizer

# Shares of unknown tokens: from the first on they are reported, from the second on with advice.
_MANY_UNKNOWN, _MOST_UNKNOWN = 0.1, 0.5


class TokenStore(Store):
    """Texts that are tokenized once, truncated, and read at any width.

    Attributes:
        counts: number of tokens of each text, whole and without an end token, int64 `[n]`.
        kept: which tokens of all texts on end are left after truncation, bool `[sum of counts]`.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        texts: Sequence[str],
        *,
        end: bool,
        longest: int,
        keep: str = "start",
        key: str,
        with_text: bool = False,
    ):
        """Tokenizes one text per example.

        With `end`, each ends with the end token, which truncation keeps and `longest` includes.
        `keep` is that of `Text`, `key` the field's place in the config. With `with_text`, `read`
        returns the texts too.
        """
        ids = tokenizer.special_ids(end)
        tokens, bounds = tokenizer.encode(texts)
        self.counts = np.diff(bounds)
        room = longest - end
        self.kept = _kept(self.counts, room, keep)
        self.cut = self.counts > room
        self._left = np.minimum(self.counts, room)
        self._longest, self._end, self._pad = longest, end, ids.pad
        count = self._left + end
        self.lengths = np.maximum(count, 1)
        if len(tokens) and (unknown := np.mean(tokens == tokenizer.unknown_id)) >= _MANY_UNKNOWN:
            remark = f"the vocabulary of config.data.{key} lacks {unknown:.0%} of the tokens"
            if unknown > _MOST_UNKNOWN:
                remark += ": set its tokenizer to Characters() or Subwords(), or train it on others"
            self.remarks = (remark,)
        # On the host whatever accelerator there is: the pipeline reads them there.
        with tf.device("CPU:0"):
            self._first = tf.constant(np.cumsum(count) - count)
            self._count = tf.constant(count)
            self._texts = tf.constant(list(texts), tf.string) if with_text else None
        self._tokens = self.truncated(tokens, ids.end, ids.pad)

    def truncated(self, values: np.ndarray, end: int | None, fill: int) -> tf.Tensor:
        """One value per token of all whole texts on end, truncated as the tokens are.

        `end` is the value of the end tokens. `pick` reads the result.
        """
        values = values[self.kept]
        if self._end:
            values = np.insert(values, np.cumsum(self._left), values.dtype.type(end))
        with tf.device("CPU:0"):
            # One value more, so that there is one to read even if no text has a token.
            return tf.constant(np.append(values, values.dtype.type(fill)))

    def pick(
        self, values: tf.Tensor, examples: tf.Tensor, width: tf.Tensor | int | None, fill: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Values of `truncated` and their mask, bool, of examples, both `[n, width]`."""
        steps = tf.range(self._longest if width is None else width, dtype=tf.int64)
        inside = steps < tf.gather(self._count, examples)[:, None]
        # Places after the end of a text belong to other texts, and are not read.
        places = tf.where(inside, tf.gather(self._first, examples)[:, None] + steps, 0)
        return tf.where(inside, tf.gather(values, places), tf.cast(fill, values.dtype)), inside

    def read(
        self, examples: tf.Tensor, raw: Tensors, width: tf.Tensor | int | None
    ) -> dict[str, tf.Tensor]:
        tokens, mask = self.pick(self._tokens, examples, width, self._pad)
        found = {"tokens": tokens, "padding_mask": mask}
        if self._texts is not None:
            found["text"] = tf.gather(self._texts, examples)
        return found


def _kept(counts: np.ndarray, room: int, keep: str) -> np.ndarray:
    """Which of all tokens on end, `counts` of each text, truncation keeps."""
    places = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    from_end = np.repeat(counts, counts) - places
    head, tail = kept_ends(room, keep)
    return (places < head) | (from_end <= tail)


def kept_ends(room: int, keep: str) -> tuple[int, int]:
    """How many tokens from the start and from the end truncation keeps of a longer text."""
    tail = {"start": 0, "end": room, "ends": room // 2}[keep]
    return room - tail, tail
