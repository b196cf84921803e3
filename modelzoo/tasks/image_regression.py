"""Regression on images: numbers for each."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from modelzoo.data.spec import ImageSpec
from modelzoo.errors import UserError
from modelzoo.tasks import regression
from modelzoo.tasks.images import ImageInputs, ImageTask
from modelzoo.tasks.task import Tensors


@dataclasses.dataclass(frozen=True)
class ImageRegression(ImageInputs):
    """Learns numbers for each image.

    loss: of the error of an output, see `modelzoo.tasks.regression.loss`.
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

    def bind(self, spec: ImageSpec) -> "ImageRegressionTask":
        """The task on the data's outputs and sizes.

        Raises UserError where `target_mean`, `target_std`, `mean` or `std` do not fit these.
        """
        task = ImageRegressionTask(self, spec)
        self.check_lengths(spec.num_classes, "values", "target_mean", "target_std")
        return task


class ImageRegressionTask(ImageTask):
    """`ImageRegression` on given data: a `modelzoo.tasks.task.Task`."""

    targets = "values"
    things = "values"
    headline = ("loss", "mae", "r2")
    lower_is_better = ("loss", *regression.ERRORS)

    def __init__(self, config: ImageRegression, spec: ImageSpec):
        super().__init__(config, spec)
        size = spec.num_classes
        self._mean = np.array(config.target_mean or (0.0,) * size)
        self._std = np.array(config.target_std or (1.0,) * size)

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
        return regression.loss(normalized, targets, batch["weight"], config.loss, delta)

    def sums(self, outputs: Tensors, batch: Tensors, training: bool = False) -> Tensors:
        """`weight` and `loss`; in training `weight`, and sums of squared and absolute errors."""
        if not training:
            loss, weight = self.loss(outputs, batch)
            return {"loss": loss, "weight": weight}
        values, label, weight = self._values(outputs), batch["label"], batch["weight"]
        return {
            "squared": regression.loss(values, label, weight, "squared")[0],
            "absolute": regression.loss(values, label, weight, "absolute")[0],
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
        scores = regression.scores(*arrays, self.spec.class_names)
        return {"loss": float(sums["loss"]) / float(sums["weight"]), **scores}

    def served(self, outputs: Tensors) -> Tensors:
        """`values` (float32 `[n, outputs]`), in the data's units."""
        return {"values": self._values(outputs)}

    def outputs_of(self, served: dict[str, np.ndarray]) -> Tensors:
        """`normalized`, from the values."""
        return {"normalized": self._normalized(served["values"], tf.float32)}

    def answer(self, served: dict[str, np.ndarray], top: int | None = None) -> dict[str, Any]:
        """`values` by name."""
        if top is not None:
            raise UserError("--top is of classes and tags, this model gives values")
        return {"values": self.truth(served["values"])}

    def truth(self, label: np.ndarray) -> dict[str, float]:
        """The values by name."""
        return dict(zip(self.spec.class_names, map(float, label), strict=True))

    def align(self, spec: ImageSpec) -> Callable[[Tensors], Tensors]:
        """As of every task; the data must have all the values that the model predicts."""
        align = super().align(spec)
        missing = [name for name in self.spec.class_names if name not in spec.class_names]
        if missing:
            raise UserError(f"the data has no values {missing[0]!r}, which the model predicts")
        return align


_IN_TRAINING = {"mse": "squared", "mae": "absolute"}
