"""One step of sampling."""

from collections.abc import Sequence

import tensorflow as tf

from modelzoo.decoding.choice import Choice
from modelzoo.decoding.config import Decoding
from modelzoo.fields.hashing import SAMPLING, random_uniform


def uniform(seed: int, numbers: tf.Tensor, positions: int) -> tf.Tensor:
    """Random numbers `[n, positions]` in [0, 1), each row a function of seed and `numbers[n]`."""
    numbers = tf.cast(numbers, tf.int64)
    seeds = tf.stack([tf.fill(tf.shape(numbers), tf.constant(seed, tf.int64)), numbers], axis=-1)
    return random_uniform(seeds, SAMPLING, positions)


def choose(
    logits: tf.Tensor,
    scores: tf.Tensor,
    end: int,
    forbidden: Sequence[int],
    may_end: tf.Tensor,
    may_continue: tf.Tensor,
    draws: tf.Tensor,
    decoding: Decoding,
) -> Choice:
    """Samples one token for the only beam of each example.

    Args:
        logits: `[n, 1, vocab_size]`.
        scores: log-probabilities of the beams, float32 `[n, 1]`.
        end: id of the end token.
        forbidden: ids that no sequence may hold.
        may_end: bool scalar, whether sequences may end in this step.
        may_continue: bool scalar, whether sequences may continue after this step.
        draws: random numbers `[n]` in [0, 1), each of which selects a token.
        decoding: temperature, `top_k` and `top_p`.
    """
    logits = logits[:, 0]
    vocab_size = logits.shape[1]
    ids = tf.range(vocab_size)
    allowed = tf.where(ids == end, may_end, may_continue)
    for token in forbidden:
        allowed &= ids != token
    masked = tf.where(allowed, logits, -float("inf"))
    masked = (masked - tf.reduce_max(masked, -1, keepdims=True)) / decoding.temperature
    if decoding.top_k is None and decoding.top_p is None:
        order = None
    else:
        masked, order = tf.math.top_k(masked, min(decoding.top_k or vocab_size, vocab_size))
    share = tf.nn.softmax(masked)
    cumulative = tf.cumsum(share, axis=-1)
    # Rounding of the sum must not select a token without probability.
    eligible = share > 0
    if decoding.top_p is not None:
        eligible &= cumulative - share < decoding.top_p
    total = tf.reduce_max(tf.where(eligible, cumulative, 0), -1)
    hit = eligible & (cumulative > (tf.cast(draws, cumulative.dtype) * total)[:, None])
    token = tf.argmax(tf.cast(hit, tf.int8), -1, output_type=tf.int32)
    if order is not None:
        token = tf.gather(order, token, batch_dims=1)
    # Relative to the best one, since large logits have few digits after the point.
    logits -= tf.reduce_max(logits, -1, keepdims=True)
    value = tf.gather(logits, token, batch_dims=1) - tf.reduce_logsumexp(logits, -1)
    scores = scores + tf.cast(value, tf.float32)[:, None]
    token = token[:, None]
    beam = tf.zeros_like(token)
    return Choice(
        scores=tf.where(token == end, -float("inf"), scores),
        beams=beam,
        tokens=token,
        ended_scores=tf.where(token == end, scores, -float("inf")),
        ended_beams=beam,
    )
