"""A step of beam search; of greedy search, where the beam is 1."""

import tensorflow as tf

from modelzoo.decoding.choice import Choice

_BLOCKS = range(64, 257)  # Sizes of the blocks that a large vocabulary is cut into.


def choose(
    logits: tf.Tensor, scores: tf.Tensor, end: int, may_end: tf.Tensor, may_go_on: tf.Tensor
) -> Choice:
    """The best continuations of each example's sequences.

    logits: `[n, k, vocabulary]`.
    scores: float32 `[n, k]`, log-probabilities of the sequences; minus infinity where none is.
    """
    beams = logits.shape[1]
    # Of one sequence as many may go on as there are beams; two tokens more do not.
    best = min(beams + 2, logits.shape[2])
    values, tokens = top_k(logits, best)
    # The peak's share gives what to take off for less than a logsumexp costs.
    peak = values[..., :1]
    share = tf.gather(tf.nn.softmax(logits), tokens[..., :1], batch_dims=2)
    total = peak - tf.math.log(share)
    values = scores[..., None] + tf.cast(values - total, tf.float32)
    barred = (tokens == end) | (tokens == 0) | ~may_go_on
    values = tf.reshape(tf.where(barred, -float("inf"), values), [-1, beams * best])
    going, places = tf.math.top_k(values, beams)
    ending = scores + tf.cast(logits[..., end] - total[..., 0], tf.float32)
    ending = tf.where(may_end, ending, -float("inf"))
    # Only an end among the best continuations counts: elsewhere a beam of 1 would not be greedy.
    looked_at, order = tf.math.top_k(tf.concat([going, ending], 1), beams)
    return Choice(
        scores=going,
        rows=places // best,
        tokens=tf.gather(tf.reshape(tokens, [-1, beams * best]), places, batch_dims=1),
        ended=tf.where(order >= beams, looked_at, -float("inf")),
        ended_rows=order % beams,
    )


def top_k(x: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The `k` largest numbers along the last axis and their places; several times faster where
    that is long, for the largest are in the `k` blocks with the largest maxima.
    """
    length = x.shape[-1]
    if length < 16 * _BLOCKS[0]:
        return tf.math.top_k(x, k)
    size = next((size for size in _BLOCKS if length % size == 0), 128)
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
