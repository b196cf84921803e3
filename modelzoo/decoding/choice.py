"""Decisions of one step of a search."""

from typing import NamedTuple

import tensorflow as tf


class Choice(NamedTuple):
    """Continuations of `n` examples with `k` beams each.

    Scores are log-probabilities of whole sequences, float32; minus infinity marks an entry without
    a sequence.

    scores: `[n, k]`, of the sequences that continue, best first.
    beams: int32 `[n, k]`, the beam that each of them continues.
    tokens: int32 `[n, k]`, the next token of each of them.
    ended_scores: `[n, k]`, of the sequences that end in this step.
    ended_beams: int32 `[n, k]`, the beam that each of these ends.
    """

    scores: tf.Tensor
    beams: tf.Tensor
    tokens: tf.Tensor
    ended_scores: tf.Tensor
    ended_beams: tf.Tensor
