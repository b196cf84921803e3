"""One step of beam search; with one beam, of greedy search."""

from collections.abc import Sequence

import tensorflow as tf

from modelzoo.decoding.choice import Choice

_BLOCK_SIZES = range(64, 257)  # For the blocks of a large vocabulary.


def choose(
    logits: tf.Tensor,
    scores: tf.Tensor,
    end: int,
    forbidden: Sequence[int],
    may_end: tf.Tensor,
    may_continue: tf.Tensor,
) -> Choice:
    """Chooses the best continuations of each example's beams.

    Args:
        logits: `[n, k, vocab_size]`.
        scores: log-probabilities of the beams, float32 `[n, k]`; minus infinity marks an empty
            beam.
        end: id of the end token.
        forbidden: ids that no sequence may hold.
        may_end: bool scalar, whether sequences may end in this step.
        may_continue: bool scalar, whether sequences may continue after this step.
    """
    beams = logits.shape[1]
    # At most as many continuations of one beam are chosen as there are beams; the end token and the
    # forbidden ones may be among the best tokens too.
    best = min(beams + 1 + len(forbidden), logits.shape[2])
    values, tokens = top_k(logits, best)
    # The log of the best token's probability gives the normalizer, faster than a logsumexp. It is
    # added to logits relative to the best one, since large ones have few digits after the point.
    peak = values[..., :1]
    log_share = tf.math.log(tf.gather(tf.nn.softmax(logits), tokens[..., :1], batch_dims=2))
    values = scores[..., None] + tf.cast(values - peak + log_share, tf.float32)
    excluded = (tokens == end) | ~may_continue
    for token in forbidden:
        excluded |= tokens == token
    values = tf.reshape(tf.where(excluded, -float("inf"), values), [-1, beams * best])
    continuing, places = tf.math.top_k(values, beams)
    ended = logits[..., end, None] - peak + log_share
    ending = scores + tf.cast(ended[..., 0], tf.float32)
    ending = tf.where(may_end, ending, -float("inf"))
    # Only ends among the best continuations count; otherwise one beam would not be greedy search.
    candidates, order = tf.math.top_k(tf.concat([continuing, ending], 1), beams)
    return Choice(
        scores=continuing,
        beams=places // best,
        tokens=tf.gather(tf.reshape(tokens, [-1, beams * best]), places, batch_dims=1),
        ended_scores=tf.where(order >= beams, candidates, -float("inf")),
        ended_beams=order % beams,
    )


def top_k(x: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the `k` largest numbers along the last axis and their places.

    It is several times faster than `tf.math.top_k` if the axis is long: the largest numbers are in
    the `k` blocks with the largest maxima.
    """
    length = x.shape[-1]
    if length < 16 * _BLOCK_SIZES[0]:
        return tf.math.top_k(x, k)
    size = next((size for size in _BLOCK_SIZES if length % size == 0), 128)
    if length % size:
        padding = [[0, 0]] * (len(x.shape) - 1) + [[0, -length % size]]
        x = tf.pad(x, padding, constant_values=-float("inf"))
    shape = tf.shape(x)
    blocks = tf.reshape(x, tf.concat([shape[:-1], [-1, size]], 0))
    _, chosen = tf.math.top_k(tf.reduce_max(blocks, -1), min(k, -(-length // size)))
    inside = tf.gather(blocks, chosen, batch_dims=len(x.shape) - 1)
    inside = tf.reshape(inside, tf.concat([shape[:-1], [-1]], 0))
    values, places = tf.math.top_k(inside, k)
    chosen = tf.gather(chosen, places // size, batch_dims=len(x.shape) - 1)
    return values, chosen * size + places % size
