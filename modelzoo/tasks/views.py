"""Averages of a model's outputs for several views of an example."""

import tensorflow as tf


def mean_softmax(shares: list[float], logits: list[tf.Tensor]) -> tf.Tensor:
    """Logits, each `[n, classes]`, of the mean of the probabilities: its logarithm."""
    return _log_mean(shares, [tf.nn.log_softmax(one) for one in logits])


def mean_sigmoid(shares: list[float], logits: list[tf.Tensor]) -> tf.Tensor:
    """Logits, each `[n, ...]`, of the mean of the sigmoids' probabilities."""
    yes = _log_mean(shares, [tf.math.log_sigmoid(one) for one in logits])
    return yes - _log_mean(shares, [tf.math.log_sigmoid(-one) for one in logits])


def _log_mean(shares: list[float], logarithms: list[tf.Tensor]) -> tf.Tensor:
    """The logarithm of a weighted mean, from logarithms."""
    terms = tf.stack(logarithms)
    weights = tf.math.log(tf.constant(shares, terms.dtype))
    weights = tf.reshape(weights, [-1] + [1] * (len(terms.shape) - 1))
    return tf.reduce_logsumexp(terms + weights, axis=0)
