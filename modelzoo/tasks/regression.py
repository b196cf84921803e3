"""Regression: numbers for each example, their loss and metrics.

Shapes of the functions: predictions and targets `[n, outputs]`, weights `[n]`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from modelzoo.data.bound import BoundData
from modelzoo.data.targets.values import Values
from modelzoo.fields.errors import FieldError, UserError
from modelzoo.tasks.task import Objective, Serving, TaskConfig, Tensors, check_weight

ERRORS = ("mse", "rmse", "mae")
_IN_TRAINING = {"mse": "squared", "mae": "absolute"}


def loss(
    predictions: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor, kind: str, delta: float = 1.0
) -> tuple[tf.Tensor, tf.Tensor]:
    """Weighted sum of the losses and sum of the weights, both scalars.

    The loss of an example is the mean over its outputs, by the error e: "squared" e^2, "absolute"
    |e|, "huber" e^2 / 2 up to |e| = delta and delta (|e| - delta / 2) beyond (Huber 1964).
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


def metrics(
    predictions: np.ndarray, targets: np.ndarray, weights: np.ndarray, names: Sequence[str]
) -> dict[str, Any]:
    """`mse`, `rmse`, `mae`, `r2`, each the mean over the outputs, and `per_output` (name -> these).

    These are the values of scikit-learn with `sample_weight`: `rmse` is the mean of that of each
    output, and an output whose targets are all equal has an `r2` of 1 if they are met, else 0.
    """
    predictions, targets = (np.asarray(a, np.float64) for a in (predictions, targets))
    weights = np.asarray(weights, np.float64)
    share = (weights / check_weight(weights.sum()))[:, None]
    error = predictions - targets
    mse = (share * error**2).sum(axis=0)
    # Shifted, so that a large mean loses no digits, and equal targets give 0.
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
class Regression(TaskConfig):
    """Learns numbers for each example.

    Attributes:
        loss: loss of the error of an output, see the function `loss`.
        delta: where the Huber loss turns from squared to absolute; None is 1.
        target_mean: one number per output; the model learns (value - target_mean) / target_std, and
            the loss and `delta` are in these units. What is served and all other metrics are in the
            data's own. None is 0.
        target_std: one number per output, see `target_mean`; None is 1.
    """

    targets = (Values,)

    loss: Literal["squared", "absolute", "huber"] = "squared"
    delta: float | None = None
    target_mean: tuple[float, ...] | None = None
    target_std: tuple[float, ...] | None = None

    def __post_init__(self):
        if self.delta is not None and not (self.delta > 0 and self.loss == "huber"):
            raise FieldError(
                "delta",
                f"must be a number > 0 if loss is huber, and none otherwise, got {self.delta}"
                f" with {self.loss}",
            )
        if self.target_std is not None and not min(self.target_std, default=0) > 0:
            raise FieldError("target_std", f"must be numbers > 0, got {self.target_std}")

    def objective(self, data: BoundData) -> "RegressionObjective":
        return RegressionObjective(self, data)

    def serving(self, data: BoundData) -> "RegressionServing":
        return RegressionServing(data.target.names, _Scale(self, len(data.target.names)))


class _Scale:
    """From the data's units to those that the model learns, and back."""

    def __init__(self, config: Regression, size: int):
        mean, std = config.target_mean, config.target_std
        self._mean = np.zeros(size) if mean is None else np.array(mean)
        self._std = np.ones(size) if std is None else np.array(std)

    def normalize(self, values: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Values in the data's units `[n, outputs]` to the model's."""
        return (tf.cast(values, dtype) - tf.cast(self._mean, dtype)) / tf.cast(self._std, dtype)

    def restore(self, normalized: tf.Tensor) -> tf.Tensor:
        """Values in the data's units, float32."""
        dtype = normalized.dtype
        values = normalized * tf.cast(self._std, dtype) + tf.cast(self._mean, dtype)
        return tf.cast(values, tf.float32)


class RegressionObjective(Objective):
    """Squared, absolute or Huber loss, and errors in the data's units."""

    headline = ("loss", "mae", "r2")
    lower_is_better = ("loss", *ERRORS)

    def __init__(self, config: Regression, data: BoundData):
        super().__init__(data)
        self.config, self.names = config, data.target.names
        self.num_outputs = len(self.names)
        config.check_count(data, "target_mean", "target_std")
        self._scale = _Scale(config, self.num_outputs)

    def outputs(self, model: keras.Model, batch: Tensors, training: bool = False) -> Tensors:
        """`normalized` `[n, outputs]`: the model's output, in units of `target_std`."""
        return {"normalized": super().outputs(model, batch, training)["logits"]}

    def loss(self, outputs: Tensors, batch: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        normalized, config = outputs["normalized"], self.config
        targets = self._scale.normalize(batch["label"], normalized.dtype)
        delta = 1.0 if config.delta is None else config.delta
        return loss(normalized, targets, batch["weight"], config.loss, delta)

    def metric_sums(self, outputs: Tensors, batch: Tensors, training: bool = False) -> Tensors:
        """`weight` and `loss`; in training `weight`, and sums of squared and absolute errors."""
        if not training:
            return dict(zip(("loss", "weight"), self.loss(outputs, batch), strict=True))
        values = self._scale.restore(outputs["normalized"])
        label, weight = batch["label"], batch["weight"]
        return {
            "squared": loss(values, label, weight, "squared")[0],
            "absolute": loss(values, label, weight, "absolute")[0],
            "weight": tf.reduce_sum(weight),
        }

    def per_example(self, outputs: Tensors, batch: Tensors) -> Tensors:
        """`values` as they are served, `label` and `weight`."""
        values = self._scale.restore(outputs["normalized"])
        return {"values": values, "label": batch["label"], "weight": batch["weight"]}

    def metrics(
        self, metric_sums: Mapping[str, np.ndarray], per_example: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """`loss` and the metrics of the function `metrics`; in training two of these."""
        if "loss" not in metric_sums:
            weight = float(metric_sums["weight"])
            return {name: float(metric_sums[key]) / weight for name, key in _IN_TRAINING.items()}
        arrays = (per_example[name] for name in ("values", "label", "weight"))
        mean = float(metric_sums["loss"]) / float(metric_sums["weight"])
        return {"loss": mean, **metrics(*arrays, self.names)}


class RegressionServing(Serving):
    """Serves `values` in the data's units."""

    def __init__(self, names: tuple[str, ...], scale: _Scale):
        self.names, self._scale = names, scale

    def to_serving(self, outputs: Tensors) -> Tensors:
        """`values` (float32 `[n, outputs]`), in the data's units."""
        return {"values": self._scale.restore(outputs["normalized"])}

    def from_serving(self, served: Tensors) -> Tensors:
        """`normalized`, from the values."""
        return {"normalized": self._scale.normalize(served["values"], tf.float32)}

    def to_json(self, served: Mapping[str, np.ndarray], top: int | None = None) -> dict[str, Any]:
        """`values` by name."""
        if top is not None:
            self.check_top(top)
        return {"values": dict(zip(self.names, map(float, served["values"]), strict=True))}

    def check_top(self, top: int, exported: bool = False) -> None:
        raise UserError("--top is for classes and tags, this model predicts values")
