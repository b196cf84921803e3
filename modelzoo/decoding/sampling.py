"""A step of drawing sequences."""

import tensorflow as tf

from modelzoo.decoding.choice import Choice
from modelzoo.decoding.config import Decoding


def uniform(seed: int, examples: tf.Tensor | int, positions: int) -> tf.Tensor:
    """Draws `[examples, positions]` from [0, 1); each example's own, however many there are."""
    key = tf.constant([seed, 0], tf.int64)
    return tf.random.stateless_uniform([examples, positions], key, alg="philox")


def choose(
    logits: tf.Tensor,
    scores: tf.Tensor,
    end: int,
    may_end: tf.Tensor,
    may_go_on: tf.Tensor,
    draws: tf.Tensor,
    decoding: Decoding,
) -> Choice:
    """One token for each example's only sequence.

    logits: `[n, 1, vocabulary]`.
    scores: float32 `[n, 1]`, log-probabilities of the sequences.
    draws: `[n]`, from [0, 1): each decides on a token.
    """
    logits = logits[:, 0]
    vocabulary = logits.shape[1]
    ids = tf.range(vocabulary)
    allowed = (ids != 0) & tf.where(ids == end, may_end, may_go_on)
    masked = tf.where(allowed, logits, -float("inf"))
    masked = (masked - tf.reduce_max(masked, -1, keepdims=True)) / decoding.temperature
    if decoding.top_k is None and decoding.top_p is None:
        order = None
    else:
        masked, order = tf.math.top_k(masked, min(decoding.top_k or vocabulary, vocabulary))
    share = tf.nn.softmax(masked)
    upto = tf.cumsum(share, axis=-1)
    # What has no share is asked for by itself: the sum's rounding could fall on it.
    open_ = share > 0
    if decoding.top_p is not None:
        open_ &= upto - share < decoding.top_p
    whole = tf.reduce_max(tf.where(open_, upto, 0), -1)
    hit = open_ & (upto > (tf.cast(draws, upto.dtype) * whole)[:, None])
    token = tf.argmax(tf.cast(hit, tf.int8), -1, output_type=tf.int32)
    if order is not None:
        token = tf.gather(order, token, batch_dims=1)
    value = tf.gather(logits, token, batch_dims=1) - tf.reduce_logsumexp(logits, -1)
    scores = scores + tf.cast(value, tf.float32)[:, None]
    token = token[:, None]
    row = tf.zeros_like(token)
    return Choice(
        scores=tf.where(token == end, -float("inf"), scores),
        rows=row,
        tokens=token,
        ended=tf.where(token == end, scores, -float("inf")),
        ended_rows=row,
    )
