"""Regression: its loss, its scores, and the head of every task that learns numbers.

Shapes: predictions and targets `[n, outputs]`, weights `[n]`.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from modelzoo.fields.errors import UserError
from modelzoo.tasks.base import BoundTask, TaskConfig, numbers_of
from modelzoo.tasks.task import Tensors

ERRORS = ("mse", "rmse", "mae")
_IN_TRAINING = {"mse": "squared", "mae": "absolute"}


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


@dataclasses.dataclass(frozen=True)
class ValueTargets(TaskConfig):
    """Fields of every task that learns numbers.

    loss: of the error of an output, see the function `loss`.
    delta: where the Huber loss turns from squared to absolute; None is 1.
    target_mean, target_std: one number for each output; the model learns
        (value - target_mean) / target_std, and the loss and `delta` are in these units. What is
        served and all other scores are in the data's own. None is 0 and 1.
    """

    loss: Literal["squared", "absolute", "huber"] = "squared"
    delta: float | None = None
    target_mean: tuple[float, ...] | None = None
    target_std: tuple[float, ...] | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.delta is not None and not (self.delta > 0 and self.loss == "huber"):
            raise ValueError(
                f"delta must be a number > 0 where loss is huber, and else none, got {self.delta} "
                f"where it is {self.loss}"
            )
        if self.target_std is not None and not min(self.target_std, default=0) > 0:
            raise ValueError(f"target_std must be numbers > 0, got {self.target_std}")


class RegressionHead(BoundTask):
    """The part of a task that is about numbers for each example."""

    targets = "values"
    things = "values"
    headline = ("loss", "mae", "r2")
    lower_is_better = ("loss", *ERRORS)

    def __init__(self, config: ValueTargets, spec: Any):
        super().__init__(config, spec)
        size = spec.num_classes
        config.check_lengths(size, "values", "target_mean", "target_std")
        self._mean = numbers_of(config.target_mean, 0.0, size)
        self._std = numbers_of(config.target_std, 1.0, size)

    def outputs(self, model: keras.Model, batch: Tensors, training: bool = False) -> Tensors:
        """`normalized` `[n, outputs]`, what the model gives, in units of `target_std`."""
        return {"normalized": super().outputs(model, batch, training)["logits"]}

    def _normalized(self, values: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return (tf.cast(values, dtype) - tf.cast(self._mean, dtype)) / tf.cast(self._std, dtype)

    def _values(self, outputs: Tensors) -> tf.Tensor:
        """In the data's units, float32."""
        normalized = outputs["normalized"]
        dtype = normalized.dtype
        values = normalized * tf.cast(self._std, dtype) + tf.cast(self._mean, dtype)
        return tf.cast(values, tf.float32)

    def loss(self, outputs: Tensors, batch: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        """The `modelzoo.tasks.regression.loss` that the config names, of normalised values."""
        normalized = outputs["normalized"]
        targets = self._normalized(batch["label"], normalized.dtype)
        config = self.config
        delta = 1.0 if config.delta is None else config.delta
        return loss(normalized, targets, batch["weight"], config.loss, delta)

    def sums(self, outputs: Tensors, batch: Tensors, training: bool = False) -> Tensors:
        """`weight` and `loss`; in training `weight`, and sums of squared and absolute errors."""
        if not training:
            return dict(zip(("loss", "weight"), self.loss(outputs, batch), strict=True))
        values, label, weight = self._values(outputs), batch["label"], batch["weight"]
        return {
            "squared": loss(values, label, weight, "squared")[0],
            "absolute": loss(values, label, weight, "absolute")[0],
            "weight": tf.reduce_sum(weight),
        }

    def collected(self, outputs: Tensors, batch: Tensors) -> Tensors:
        """`values` as they are served, `label` and `weight`."""
        values = self._values(outputs)
        return {"values": values, "label": batch["label"], "weight": batch["weight"]}

    def scores(
        self, sums: dict[str, np.ndarray], collected: dict[str, np.ndarray] | None = None
    ) -> dict[str, Any]:
        """`loss` and the scores of `modelzoo.tasks.regression.scores`; in training two of these."""
        if "loss" not in sums:
            weight = float(sums["weight"])
            return {name: float(sums[key]) / weight for name, key in _IN_TRAINING.items()}
        arrays = (collected[name] for name in ("values", "label", "weight"))
        mean = float(sums["loss"]) / float(sums["weight"])
        return {"loss": mean, **scores(*arrays, self.spec.class_names)}

    def served(self, outputs: Tensors) -> Tensors:
        """`values` (float32 `[n, outputs]`), in the data's units."""
        return {"values": self._values(outputs)}

    def outputs_of(self, served: dict[str, np.ndarray]) -> Tensors:
        """`normalized`, from the values."""
        return {"normalized": self._normalized(served["values"], tf.float32)}

    def answer(self, served: dict[str, np.ndarray], top: int | None = None) -> dict[str, Any]:
        """`values` by name."""
        if top is not None:
            self.check_top(top)
        return {"values": self.truth(served["values"])}

    def check_top(self, top: int, exported: bool = False) -> None:
        """Raises UserError."""
        raise UserError("--top is of classes and tags, this model gives values")

    def truth(self, label: np.ndarray) -> dict[str, float]:
        """The values by name."""
        return dict(zip(self.spec.class_names, map(float, label), strict=True))

    def align(self, spec: Any) -> Callable[[Tensors], Tensors]:
        """As of every task; the data must have all the values that the model predicts."""
        align = super().align(spec)
        missing = [name for name in self.spec.class_names if name not in spec.class_names]
        if missing:
            raise UserError(f"the data has no values {missing[0]!r}, which the model predicts")
        return align
