"""A step of beam search; of greedy search, where the beam is 1."""

import tensorflow as tf

from modelzoo.decode.choice import Choice


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
    total = tf.reduce_logsumexp(logits, -1, keepdims=True)
    values, tokens = tf.math.top_k(logits, best)
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
