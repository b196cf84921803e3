"""Sequence labelling: one class for each step of an example, such as each token of a text.

Loss and scores are those of `modelzoo.tasks.classification` over the steps that have a label; each
weighs what its example does.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from modelzoo.fields.errors import UserError
from modelzoo.tasks.classification import ClassificationHead
from modelzoo.tasks.task import Tensors


class LabellingHead(ClassificationHead):
    """The part of a task that is about one class for each step; its fields are `ClassTargets`."""

    targets = "labels"
    per_step = True

    def outputs(self, model: keras.Model, batch: Tensors, training: bool = False) -> Tensors:
        """`logits` `[n, length, classes]` and `real` (bool `[n, length]`: no padding)."""
        return {**super().outputs(model, batch, training), "real": self.real(batch[self.feed])}

    def parts(self, outputs: Tensors, batch: Tensors) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """Labels, 0 where there is none, and weights, there 0: `[n, length]`."""
        # Served outputs are padded to the longest text of their batch, labels to the plan's length.
        labels, length = batch["label"], tf.shape(outputs["logits"])[1]
        more = tf.maximum(length - tf.shape(labels)[1], 0)
        labels = tf.pad(labels, [[0, 0], [0, more]], constant_values=-1)[:, :length]
        weights = tf.where(labels >= 0, batch["weight"][:, None], 0)
        return [(tf.maximum(labels, 0), weights)]

    def collected(self, outputs: Tensors, batch: Tensors) -> Tensors:
        """Nothing: all scores come from sums."""
        return {}

    def served(self, outputs: Tensors) -> Tensors:
        """`classes` (string `[n, length]`) and `scores` (float32 `[n, length, classes]`).

        The name of each step's best class, and all its probabilities; "" and 0 in the padding.
        """
        served, real = super().served(outputs), outputs["real"]
        return {
            "classes": tf.where(real, served["classes"], ""),
            "scores": tf.where(real[..., None], served["scores"], 0.0),
        }

    def answer(self, served: dict[str, np.ndarray], top: int | None = None) -> dict[str, Any]:
        """`classes` and `probabilities`, one of each for each step."""
        if top is not None:
            self.check_top(top)
        real = served["classes"] != ""
        return {
            "classes": served["classes"][real].tolist(),
            "probabilities": served["scores"][real].max(axis=-1, initial=0.0).tolist(),
        }

    def check_top(self, top: int, exported: bool = False) -> None:
        """Raises UserError."""
        raise UserError("--top is of classes and tags of an example, not of its steps")

    def truth(self, label: np.ndarray) -> list[str | None]:
        """The names of the steps' classes, up to the last one that has a label."""
        names = self.spec.class_names
        return [names[k - 1] if k else None for k in np.trim_zeros(label + 1, "b")]

    def _aligned(self, labels: tf.Tensor, given: tuple[str, ...]) -> tf.Tensor:
        return tf.where(labels < 0, labels, super()._aligned(tf.maximum(labels, 0), given))
