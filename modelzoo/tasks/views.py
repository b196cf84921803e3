"""Averages of a model's outputs over several views of an example."""

import tensorflow as tf


def mean_softmax(shares: list[float], logits: list[tf.Tensor]) -> tf.Tensor:
    """Returns the logits `[n, classes]` of the weighted mean of the softmax probabilities."""
    return _log_mean(shares, [tf.nn.log_softmax(one) for one in logits])


def mean_sigmoid(shares: list[float], logits: list[tf.Tensor]) -> tf.Tensor:
    """Returns the logits `[n, ...]` of the weighted mean of the sigmoid probabilities."""
    log_positive = _log_mean(shares, [tf.math.log_sigmoid(one) for one in logits])
    return log_positive - _log_mean(shares, [tf.math.log_sigmoid(-one) for one in logits])


def _log_mean(shares: list[float], logarithms: list[tf.Tensor]) -> tf.Tensor:
    """Returns the logarithm of the weighted mean, given logarithms."""
    terms = tf.stack(logarithms)
    weights = tf.math.log(tf.constant(shares, terms.dtype))
    weights = tf.reshape(weights, [-1] + [1] * (len(terms.shape) - 1))
    return tf.reduce_logsumexp(terms + weights, axis=0)
