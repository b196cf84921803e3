"""Loss and scores of regression. Shapes: predictions and targets `[n, outputs]`, weights `[n]`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from modelzoo.errors import UserError

ERRORS = ("mse", "rmse", "mae")


def loss(
    predictions: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor, kind: str, delta: float = 1.0
) -> tuple[tf.Tensor, tf.Tensor]:
    """Weighted sum of the losses and sum of the weights, both scalars.

    That of an example is the mean over its outputs, of the error e: "squared" e^2, "absolute" |e|,
    "huber" e^2 / 2 up to |e| = delta and delta (|e| - delta / 2) beyond (Huber 1964).
    """
    error = predictions - tf.cast(targets, predictions.dtype)
    size = tf.abs(error)
    if kind == "squared":
        losses = tf.square(error)
    elif kind == "absolute":
        losses = size
    else:
        near = tf.minimum(size, delta)
        losses = near * (size - 0.5 * near)
    weights = tf.cast(weights, predictions.dtype)
    return tf.reduce_sum(tf.reduce_mean(losses, axis=-1) * weights), tf.reduce_sum(weights)


def scores(
    predictions: np.ndarray, targets: np.ndarray, weights: np.ndarray, names: Sequence[str]
) -> dict[str, Any]:
    """`mse`, `rmse`, `mae`, `r2`, each the mean over the outputs, and `per_output` (name -> these).

    What scikit-learn gives with `sample_weight`; so `rmse` is the mean of the outputs' own, and
    where the targets of an output are all the same its `r2` is 1 if they are met and else 0.
    Raises UserError where no example had a weight.
    """
    predictions, targets = (np.asarray(a, np.float64) for a in (predictions, targets))
    weights = np.asarray(weights, np.float64)
    if not weights.sum() > 0:
        raise UserError(
            "no example with a positive weight was evaluated: there is nothing to score"
        )
    share = (weights / weights.sum())[:, None]
    error = predictions - targets
    mse = (share * error**2).sum(axis=0)
    # Shifted, so that nothing is lost where the mean is large, and 0 where all are the same.
    shifted = targets - targets[0]
    spread = (share * (shifted - (share * shifted).sum(axis=0)) ** 2).sum(axis=0)
    rest = np.divide(mse, spread, out=(mse > 0).astype(np.float64), where=spread > 0)
    each = {
        "mse": mse,
        "rmse": np.sqrt(mse),
        "mae": (share * abs(error)).sum(axis=0),
        "r2": 1.0 - rest,
    }
    return {
        **{name: float(values.mean()) for name, values in each.items()},
        "per_output": {
            name: {key: float(values[i]) for key, values in each.items()}
            for i, name in enumerate(names)
        },
    }
