"""Tagging of images: any number of tags for each."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from modelzoo.data.spec import ImageSpec
from modelzoo.tasks import tagging
from modelzoo.tasks.images import ImageInputs, ImageTask
from modelzoo.tasks.task import Tensors
from modelzoo.tasks.views import mean_sigmoid


@dataclasses.dataclass(frozen=True)
class ImageTagging(ImageInputs):
    """Learns which of a set of tags each image has, each for itself.

    label_smoothing: how far the targets 0 and 1 are moved towards 1/2, as a share of the way, in
        training only.
    positive_weights: a factor for each tag, in the order of the tags, on the loss of the images
        that have it, in training only; such as how many times more have it not.
    threshold: a tag is predicted where its probability is at least this.
    """

    label_smoothing: float = 0.0
    positive_weights: tuple[float, ...] | None = None
    threshold: float = 0.5

    def __post_init__(self):
        super().__post_init__()
        if not 0.0 <= self.label_smoothing < 1.0:
            raise ValueError(f"label_smoothing must be in [0, 1), got {self.label_smoothing}")
        weights = self.positive_weights
        if weights is not None and not min(weights, default=0) > 0:
            raise ValueError(f"positive_weights must be numbers > 0, got {weights}")
        if not 0.0 < self.threshold < 1.0:
            raise ValueError(f"threshold must be between 0 and 1, got {self.threshold}")

    def bind(self, spec: ImageSpec) -> "ImageTaggingTask":
        """The task on the data's tags and sizes.

        Raises UserError where `positive_weights`, `mean` or `std` do not fit these.
        """
        task = ImageTaggingTask(self, spec)
        self.check_lengths(spec.num_classes, "tags", "positive_weights")
        return task


class ImageTaggingTask(ImageTask):
    """`ImageTagging` on given data: a `modelzoo.tasks.task.Task`."""

    targets = "tags"
    things = "tags"
    headline = ("loss", "mean_average_precision", "micro_f1")

    def mean_of_views(self, shares: list[float], logits: list[tf.Tensor]) -> tf.Tensor:
        """The logits of the mean of the views' probabilities."""
        return mean_sigmoid(shares, logits)

    def loss(self, outputs: Tensors, batch: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        """The smoothed, weighted `modelzoo.tasks.tagging.loss`."""
        return tagging.loss(
            outputs["logits"],
            batch["label"],
            batch["weight"],
            self.config.label_smoothing,
            self.config.positive_weights,
        )

    def sums(self, outputs: Tensors, batch: Tensors, training: bool = False) -> Tensors:
        """The counts of `modelzoo.tasks.tagging.sums`."""
        logits, label, weight = outputs["logits"], batch["label"], batch["weight"]
        return tagging.sums(logits, label, weight, self.config.threshold, training)

    def collected(self, outputs: Tensors, batch: Tensors) -> Tensors:
        """What the average precisions rank: `scores` as they are served, `label` and `weight`."""
        scores = tagging.probabilities(outputs["logits"])
        return {"scores": scores, "label": batch["label"], "weight": batch["weight"]}

    def scores(
        self, sums: dict[str, np.ndarray], collected: dict[str, np.ndarray] | None = None
    ) -> dict[str, Any]:
        """The scores of `modelzoo.tasks.tagging.scores`."""
        return tagging.scores(sums, collected, self.spec.class_names)

    def served(self, outputs: Tensors) -> Tensors:
        """`classes` (string: the tags' names), `scores` (float32), `predicted` (bool).

        All are `[n, tags]`, in the order of the tags: each tag's name, its probability, and
        whether that reaches the threshold.
        """
        scores = tagging.probabilities(outputs["logits"])
        classes = tf.tile(tf.constant([self.spec.class_names]), [tf.shape(scores)[0], 1])
        predicted = scores >= self.config.threshold
        return {"classes": classes, "scores": scores, "predicted": predicted}

    def outputs_of(self, served: dict[str, np.ndarray]) -> Tensors:
        """`logits`, from the probabilities.

        Those that float32 rounds to 0 or 1 are taken for the next ones that are neither.
        """
        kind = np.finfo(np.float32)
        scores = np.clip(served["scores"], kind.tiny, 1 - kind.epsneg)
        return {"logits": tf.constant(np.log(scores) - np.log1p(-scores))}

    def answer(self, served: dict[str, np.ndarray], top: int | None = None) -> dict[str, Any]:
        """`tags`, the predicted ones' probabilities by name, the best first; `top` is of all."""
        scores, names = served["scores"], self.spec.class_names
        order = (-scores).argsort(kind="stable")
        tags = {names[i]: float(scores[i]) for i in order if served["predicted"][i]}
        if top is None:
            return {"tags": tags}
        best = [{"tag": names[i], "probability": float(scores[i])} for i in order[:top]]
        return {"tags": tags, "top": best}

    def truth(self, label: np.ndarray) -> list[str]:
        """The names of the tags."""
        return [self.spec.class_names[i] for i in np.flatnonzero(label)]
