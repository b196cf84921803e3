"""Token classification: one class for each token of a text.

The loss and metrics are those of classification, over the tokens with a label. Each token has the
weight of its example.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from modelzoo.data.bound import BoundData
from modelzoo.data.targets.token_labels import BoundTokenLabels, TokenLabels
from modelzoo.fields.errors import UserError
from modelzoo.tasks.classification import (
    Classification,
    ClassificationObjective,
    ClassificationServing,
)
from modelzoo.tasks.task import Tensors


@dataclasses.dataclass(frozen=True)
class TokenClassification(Classification):
    """Learns one class for each token of a text; the fields are those of `Classification`."""

    targets = (TokenLabels,)

    def objective(self, data: BoundData) -> "TokenClassificationObjective":
        return TokenClassificationObjective(self, data)

    def serving(self, data: BoundData) -> "TokenClassificationServing":
        return TokenClassificationServing(data.get_target().names)


class TokenClassificationObjective(ClassificationObjective):
    """Cross-entropy and accuracy of tokens."""

    per_token = True

    def __init__(self, config: TokenClassification, data: BoundData):
        super().__init__(config, data)
        target = data.target
        assert isinstance(target, BoundTokenLabels)
        self.mask_name = target.mask_name

    def outputs(self, model: keras.Model, batch: Tensors, training: bool = False) -> Tensors:
        """Returns `logits` `[n, length, classes]` and `padding_mask` (bool `[n, length]`)."""
        mask = batch[self.mask_name]
        return {**super().outputs(model, batch, training), "padding_mask": mask}

    def parts(self, outputs: Tensors, batch: Tensors) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """Returns labels and weights `[n, length]`, both 0 for tokens without a label."""
        # Served outputs are padded to the longest text of their batch, labels to their bucket.
        labels, mask = batch["label"], batch["label_mask"]
        length = tf.shape(outputs["logits"])[1]
        more = [[0, 0], [0, tf.maximum(length - tf.shape(labels)[1], 0)]]
        labels, mask = tf.pad(labels, more)[:, :length], tf.pad(mask, more)[:, :length]
        weights = tf.where(mask, batch["weight"][:, None], 0)
        return [(tf.where(mask, labels, 0), weights)]

    def per_example(self, outputs: Tensors, batch: Tensors) -> Tensors:
        return {}


class TokenClassificationServing(ClassificationServing):
    """Serves `classes` and `scores` of each token."""

    def to_serving(self, outputs: Tensors) -> Tensors:
        """Returns `classes` (string `[n, length]`) and `scores` (float32 `[n, length, classes]`).

        They are the name of each token's best class and its probabilities; "" and 0 for padding.
        """
        served, mask = super().to_serving(outputs), outputs["padding_mask"]
        return {
            "classes": tf.where(mask, served["classes"], ""),
            "scores": tf.where(mask[..., None], served["scores"], 0.0),
        }

    def to_json(self, served: Mapping[str, np.ndarray], top: int | None = None) -> dict[str, Any]:
        """Returns `classes` and their `probabilities`, one per token."""
        if top is not None:
            self.check_top(top)
        mask = served["classes"] != ""
        return {
            "classes": served["classes"][mask].tolist(),
            "probabilities": served["scores"][mask].max(axis=-1, initial=0.0).tolist(),
        }

    def check_top(self, top: int, exported: bool = False) -> None:
        raise UserError("--top is not supported for classes of tokens")
