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
    lower_is_better: tuple[str, ...]
    """Names of the scores of which the lower is better, as of losses and errors."""

    def describe(self) -> str:
        """The data in a few words, for the summary of a run."""

    def build_model(self, model_config: Any) -> keras.Model:
        """Builds the model for the data's shapes under the current dtype policy and strategy.

        Every build of one config gives the same variable paths: checkpoints know variables by them.
        """

    def features(self, raw: Tensors, training: bool, seeds: tf.Tensor | None = None) -> Tensors:
        """Turns raw examples into a batch: the one function of training, evaluation and serving.

        `raw` holds one of the parts that `serves` names or the data gives, such as `image`,
        `encoded`, `tokens`, `text` or `series`, and where known `label` (`[batch, ...]`, the data's
        targets), `weight` (float32 `[batch]`) and others, which pass through. `seeds` (int64
        `[batch, 2]`: epoch-dependent seed and index) drive augmentation when `training`.
        """

    def outputs(self, model: keras.Model, batch: Tensors, training: bool = False) -> Tensors:
        """Runs the model: tensors `[batch, ...]` such as `logits`, at least float32."""

    def loss(self, outputs: Tensors, batch: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        """Weighted sum of the losses and sum of the weights, scalars; nothing is divided."""

    def sums(self, outputs: Tensors, batch: Tensors, training: bool = False) -> Tensors:
        """Additive counts, weighted; in training only the few that the progress line shows."""

    def collected(self, outputs: Tensors, batch: Tensors) -> Tensors:
        """What scores need of every example because it does not add up, `[batch, ...]`; often {}.

        The evaluator gathers it from all replicas, without padding, in the order of the examples.
        """

    def texts(self, collected: dict[str, Any]) -> list[str]:
        """The texts that were made of the examples, from what was collected of them; often []."""

    def check_metrics(self) -> None:
        """Raises UserError where a package is missing that a score needs."""

    def scores(
        self, sums: dict[str, np.ndarray], collected: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Turns summed counts, and what was collected, into named scores; in training the sums.

        Where the data has references, what was collected holds them as `reference`.
        """

    def serves(self) -> dict[str, tuple[str, tf.TensorSpec]]:
        """By the part of a raw example that it takes: a signature's name and its one tensor."""

    def signatures(self, model: keras.Model) -> dict[str, Callable]:
        """The functions of `serves` by signature name, each with its `input_signature`."""

    def outputs_of(self, served: dict[str, np.ndarray]) -> Tensors:
        """What `outputs` gives, as far as it can be told from what the signatures give."""

    def answer(self, served: dict[str, np.ndarray], top: int | None = None) -> dict[str, Any]:
        """What the signatures give for one example, in JSON values for a person to read.

        With `top` also that many of the best. Raises UserError as `check_top` does.
        """

    def check_top(self, top: int, exported: bool = False) -> None:
        """Raises UserError where `answer` cannot give that many of the best.

        Of an exported model nothing can be changed that would make it.
        """

    def truth(self, label: np.ndarray) -> Any:
        """The label of one example as a JSON value, such as the name of its class."""

    def align(self, spec: Any) -> Callable[[Tensors], Tensors]:
        """A function of raw batches of other data, which gives their labels as this task has them.

        Raises UserError where they are none of this task's.
        """
