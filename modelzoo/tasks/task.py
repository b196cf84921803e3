"""The protocol between a task and the trainer, the evaluator and the export."""

from collections.abc import Callable
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

Tensors = dict[str, tf.Tensor]


class Task(Protocol):
    """What is learned. A task's config dataclass makes one with `config.bind(spec)`."""

    spec: Any
    headline: tuple[str, ...]
    """Names of the scores that a line of progress shows."""

    def describe(self) -> str:
        """The data in a few words, for the summary of a run."""

    def build_model(self, model_config: Any) -> keras.Model:
        """Builds the model for the data's shapes under the current dtype policy and strategy.

        Every build of one config gives the same variable paths: checkpoints know variables by them.
        """

    def features(self, raw: Tensors, training: bool, seeds: tf.Tensor | None = None) -> Tensors:
        """Turns raw examples into a batch: the one function of training, evaluation and serving.

        `raw` holds `image` (uint8 `[batch, height, width, channels]`) or `encoded` (string
        `[batch]`) and where known `label` (int64 `[batch]`), `weight` (float32 `[batch]`) and
        others, which pass through. `seeds` (int64 `[batch, 2]`: epoch-dependent seed and index)
        drive augmentation when `training`.
        """

    def outputs(self, model: keras.Model, batch: Tensors, training: bool = False) -> Tensors:
        """Runs the model: `logits` `[batch, classes]`, at least float32."""

    def loss(self, outputs: Tensors, batch: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        """Weighted sum of the losses and sum of the weights, scalars; nothing is divided."""

    def sums(self, outputs: Tensors, batch: Tensors, training: bool = False) -> Tensors:
        """Additive counts, weighted; in training only the few that the progress line shows."""

    def scores(self, sums: dict[str, np.ndarray]) -> dict[str, Any]:
        """Turns the summed counts into named scores."""

    def signatures(self, model: keras.Model) -> dict[str, Callable]:
        """Serving functions by signature name, each with its `input_signature`."""
