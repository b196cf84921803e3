"""Test-time augmentation: several views of each image, and what the model says of all of them."""

from typing import Literal

import tensorflow as tf

Views = Literal["one", "flip", "flip_shift"]
"""The image alone; it and its mirror image; these and both shifted by one pixel, each way.

The last gives half of the weight to the views that are not shifted, as airbench (Jordan 2024) has
it: up and left by one, down and right by one, with pixels reflected at the borders.
"""


def views_of(images: tf.Tensor, views: Views) -> list[tuple[float, tf.Tensor]]:
    """Shares, which add up to 1, and views of images `[n, height, width, channels]`."""
    if views == "one":
        return [(1.0, images)]
    groups = [(1.0, [images])]
    if views == "flip_shift":
        # Not by tf.pad, which takes no empty batch.
        padded = tf.concat([images[:, 1:2], images, images[:, -2:-1]], axis=1)
        padded = tf.concat([padded[:, :, 1:2], padded, padded[:, :, -2:-1]], axis=2)
        groups = [(0.5, [images]), (0.5, [padded[:, :-2, :-2], padded[:, 2:, 2:]])]
    return [
        (share / (2 * len(shown)), view)
        for share, shown in groups
        for image in shown
        for view in (image, image[:, :, ::-1])
    ]


def mean(shares: list[float], outputs: list[tf.Tensor]) -> tf.Tensor:
    """The mean of outputs `[n, ...]` by their shares."""
    return tf.add_n([share * output for share, output in zip(shares, outputs, strict=True)])


def mean_softmax(shares: list[float], logits: list[tf.Tensor]) -> tf.Tensor:
    """Logits, each `[n, classes]`, of the mean of the probabilities: its logarithm."""
    return _log_mean(shares, [tf.nn.log_softmax(one) for one in logits])


def mean_sigmoid(shares: list[float], logits: list[tf.Tensor]) -> tf.Tensor:
    """Logits, each `[n, ...]`, of the mean of the probabilities that sigmoids give."""
    yes = _log_mean(shares, [tf.math.log_sigmoid(one) for one in logits])
    return yes - _log_mean(shares, [tf.math.log_sigmoid(-one) for one in logits])


def _log_mean(shares: list[float], logarithms: list[tf.Tensor]) -> tf.Tensor:
    """The logarithm of a mean, from logarithms."""
    terms = tf.stack(logarithms)
    weights = tf.math.log(tf.constant(shares, terms.dtype))
    weights = tf.reshape(weights, [-1] + [1] * (len(terms.shape) - 1))
    return tf.reduce_logsumexp(terms + weights, axis=0)
