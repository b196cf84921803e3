"""Regression: one or more numbers for each example, with their loss and metrics.

Shapes: predictions and targets `[n, outputs]`, weights `[n]`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from modelzoo.data.bound import BoundData
from modelzoo.data.targets.values import BoundValues, Values
from modelzoo.fields.errors import FieldError, UserError
from modelzoo.tasks.ranking import mean_of_defined, where_present
from modelzoo.tasks.task import Objective, Serving, TaskConfig, Tensors, check_weight

ERRORS = ("mse", "rmse", "mae")
_IN_TRAINING = {"mse": "squared", "mae": "absolute"}


def compute_loss(
    predictions: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor, kind: str, delta: float = 1.0
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the weighted sum of the losses and the sum of the weights, scalars.

    The loss of an example is the mean over its outputs. The loss of an error e is e^2 for
    "squared", |e| for "absolute", and for "huber" e^2 / 2 up to |e| = delta, and delta (|e| -
    delta / 2) above (Huber 1964).
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


def compute_metrics(
    predictions: np.ndarray, targets: np.ndarray, weights: np.ndarray, names: Sequence[str]
) -> dict[str, Any]:
    """Computes `mse`, `rmse`, `mae`, `r2` as means over the outputs, and all four `per_output`.

    These are the values of scikit-learn with `sample_weight`: `rmse` is the mean over the `rmse` of
    each output. If all targets of an output are equal, its `r2` is None, undefined, and no part of
    the mean.

    Raises:
        UserError: no example has a positive weight.
    """
    predictions, targets = (np.asarray(a, np.float64) for a in (predictions, targets))
    weights = np.asarray(weights, np.float64)
    total = check_weight(weights.sum())
    share = (weights / total)[:, None]
    error = predictions - targets
    mse = (share * error**2).sum(axis=0)
    # Shifting keeps all digits under a large mean, and equal targets become exactly 0; those
    # without a weight may differ.
    shifted = targets - targets[weights.argmax()]
    spread = (share * (shifted - (share * shifted).sum(axis=0)) ** 2).sum(axis=0)
    unexplained = np.divide(mse, spread, out=np.zeros_like(mse), where=spread > 0)
    each = {
        "mse": mse.tolist(),
        "rmse": np.sqrt(mse).tolist(),
        "mae": (share * abs(error)).sum(axis=0).tolist(),
        "r2": where_present(1.0 - unexplained, spread),
    }
    return {
        **{name: mean_of_defined(values) for name, values in each.items()},
        "per_output": {
            name: {key: values[i] for key, values in each.items()} for i, name in enumerate(names)
        },
    }


@dataclasses.dataclass(frozen=True)
class Regression(TaskConfig):
    """Learns one or more numbers for each example.

    The model learns (value - target_mean) / target_std. The loss and `delta` are in these units;
    served values and all other metrics are in the units of the data. If both fields are None, they
    are the mean and standard deviation that `Values` learned from the training examples.

    Attributes:
        loss: loss of the error of an output, see `compute_loss`.
        delta: error at which the Huber loss turns from squared to absolute; None is 1.
        target_mean: one number per output; None is 0 if target_std is set. Zeros disable scaling.
        target_std: one number per output; None is 1 if target_mean is set.
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
        scale = _Scale(self, data)
        return RegressionServing(scale.names, scale)


class _Scale:
    """Converts values between the units of the data and those of the model."""

    def __init__(self, config: Regression, data: BoundData):
        target = data.target
        assert isinstance(target, BoundValues)
        self.names = target.names
        mean, std = config.target_mean, config.target_std
        if mean is None and std is None:
            mean, std = target.mean, target.std
        self._mean = np.zeros(len(self.names)) if mean is None else np.array(mean)
        self._std = np.ones(len(self.names)) if std is None else np.array(std)

    def normalize(self, values: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Converts values `[n, outputs]` from the units of the data to those of the model."""
        return (tf.cast(values, dtype) - tf.cast(self._mean, dtype)) / tf.cast(self._std, dtype)

    def restore(self, normalized: tf.Tensor) -> tf.Tensor:
        """Converts values from the units of the model to those of the data, float32."""
        dtype = normalized.dtype
        values = normalized * tf.cast(self._std, dtype) + tf.cast(self._mean, dtype)
        return tf.cast(values, tf.float32)


class RegressionObjective(Objective):
    """Squared, absolute or Huber loss, and errors in the units of the data."""

    headline = ("loss", "mae", "r2")
    lower_is_better = ("loss", *ERRORS)

    def __init__(self, config: Regression, data: BoundData):
        super().__init__(data)
        self.config = config
        config.check_count(data, "target_mean", "target_std")
        self._scale = _Scale(config, data)
        self.names = self._scale.names
        self.num_outputs = len(self.names)

    def outputs(self, model: keras.Model, batch: Tensors, training: bool = False) -> Tensors:
        """Returns `normalized` `[n, outputs]`, the model's output in units of `target_std`."""
        return {"normalized": super().outputs(model, batch, training)["logits"]}

    def blank_outputs(self, batch: Tensors) -> Tensors:
        """Returns `normalized`, all 0."""
        return {"normalized": tf.zeros_like(batch["label"])}

    def loss(self, outputs: Tensors, batch: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        normalized, config = outputs["normalized"], self.config
        targets = self._scale.normalize(batch["label"], normalized.dtype)
        delta = 1.0 if config.delta is None else config.delta
        return compute_loss(normalized, targets, batch["weight"], config.loss, delta)

    def metric_sums(self, outputs: Tensors, batch: Tensors, training: bool = False) -> Tensors:
        """Returns `weight` and `loss`, or in training `weight` and the sums of the errors."""
        if not training:
            return dict(zip(("loss", "weight"), self.loss(outputs, batch), strict=True))
        values = self._scale.restore(outputs["normalized"])
        label, weight = batch["label"], batch["weight"]
        return {
            "squared": compute_loss(values, label, weight, "squared")[0],
            "absolute": compute_loss(values, label, weight, "absolute")[0],
            "weight": tf.reduce_sum(weight),
        }

    def per_example(self, outputs: Tensors, batch: Tensors) -> Tensors:
        """Returns the served `values`, `label` and `weight`."""
        values = self._scale.restore(outputs["normalized"])
        return {"values": values, "label": batch["label"], "weight": batch["weight"]}

    def metrics(
        self, metric_sums: Mapping[str, np.ndarray], per_example: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Returns `loss` and the metrics of `compute_metrics`; in training only `mse` and `mae`."""
        if "loss" not in metric_sums:
            weight = float(metric_sums["weight"])
            return {name: float(metric_sums[key]) / weight for name, key in _IN_TRAINING.items()}
        assert per_example is not None  # As in every evaluation.
        values, label, weight = (per_example[name] for name in ("values", "label", "weight"))
        mean = float(metric_sums["loss"]) / float(metric_sums["weight"])
        return {"loss": mean, **compute_metrics(values, label, weight, self.names)}


class RegressionServing(Serving):
    """Serves `values` in the units of the data."""

    def __init__(self, names: tuple[str, ...], scale: _Scale):
        self.names = names
        self._scale = scale

    def to_serving(self, outputs: Tensors) -> Tensors:
        """Returns `values` (float32 `[n, outputs]`) in the units of the data."""
        return {"values": self._scale.restore(outputs["normalized"])}

    def from_serving(self, served: Tensors) -> Tensors:
        """Returns `normalized`."""
        return {"normalized": self._scale.normalize(served["values"], tf.float32)}

    def to_json(self, served: Mapping[str, np.ndarray], top: int | None = None) -> dict[str, Any]:
        """Returns the `values` by name."""
        if top is not None:
            self.check_top(top)
        return {"values": dict(zip(self.names, map(float, served["values"]), strict=True))}

    def check_top(self, top: int, exported: bool = False) -> None:
        raise UserError("--top needs a model of classes, tags or texts, this model predicts values")
