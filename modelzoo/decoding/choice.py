"""What a step of a search decides."""

from typing import NamedTuple

import tensorflow as tf


class Choice(NamedTuple):
    """Of `n` examples with `k` sequences each; log-probabilities are float32, of whole sequences.

    scores: `[n, k]`, of the sequences that go on, the best first; minus infinity where none does.
    rows: int32 `[n, k]`, which sequence each of them continues.
    tokens: int32 `[n, k]`, and with which token.
    ended: `[n, k]`, of the sequences that end here; minus infinity where none does.
    ended_rows: int32 `[n, k]`, which sequence the end token is put to.
    """

    scores: tf.Tensor
    rows: tf.Tensor
    tokens: tf.Tensor
    ended: tf.Tensor
    ended_rows: tf.Tensor
