"""Classification of images: one label for each."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from modelzoo.data.augment import mixing
from modelzoo.data.spec import ImageSpec
from modelzoo.tasks import classification
from modelzoo.tasks.images import ImageInputs, ImageTask
from modelzoo.tasks.task import Tensors
from modelzoo.tasks.views import mean_softmax


@dataclasses.dataclass(frozen=True)
class ImageClassification(ImageInputs):
    """Learns one label for each image.

    label_smoothing: share of the target that is spread evenly over all classes, in training only.
    class_weights: a factor for each class, in the order of the classes, on the weight of its
        examples in training; the evaluation is not weighted by class.
    """

    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None

    def __post_init__(self):
        super().__post_init__()
        if not 0.0 <= self.label_smoothing < 1.0:
            raise ValueError(f"label_smoothing must be in [0, 1), got {self.label_smoothing}")
        weights = self.class_weights
        if weights is not None and (min(weights, default=-1) < 0 or not sum(weights) > 0):
            raise ValueError(
                f"class_weights must be numbers >= 0 and not all of them 0, got {weights}"
            )

    def bind(self, spec: ImageSpec) -> "ImageClassificationTask":
        """The task on the data's classes and sizes.

        Raises UserError where `class_weights`, `mean` or `std` do not fit these.
        """
        task = ImageClassificationTask(self, spec)
        self.check_lengths(spec.num_classes, "classes", "class_weights")
        return task


class ImageClassificationTask(ImageTask):
    """`ImageClassification` on given data: a `modelzoo.tasks.task.Task`."""

    targets = "class"
    things = "classes"
    headline = ("loss", "accuracy")

    def loss(self, outputs: Tensors, batch: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        """Smoothed, class-weighted cross-entropy: its sum and the sum of the weights, scalars.

        Of a mixed batch it is that against both labels of each row, as its weight is divided
        between them.
        """
        options = (self.config.label_smoothing, self.config.class_weights)
        parts = [
            classification.loss(outputs["logits"], labels, weights, *options)
            for labels, weights in classification.label_parts(batch)
        ]
        losses, weights = zip(*parts, strict=True)
        return tf.add_n(losses), tf.add_n(weights)

    def sums(self, outputs: Tensors, batch: Tensors, training: bool = False) -> Tensors:
        """The counts of `modelzoo.tasks.classification.sums`.

        Of a mixed batch a prediction counts as correct by the share of the label that it hits.
        """
        parts = [
            classification.sums(outputs["logits"], labels, weights, training)
            for labels, weights in classification.label_parts(batch)
        ]
        return {name: tf.add_n([part[name] for part in parts]) for name in parts[0]}

    def mixed_targets(self, batch: Tensors) -> Tensors:
        """The batch with `label_2`, the label of each row's partner, which has the other share."""
        return {**batch, "label_2": mixing.partners(batch["label"])}

    def mean_of_views(self, shares: list[float], logits: list[tf.Tensor]) -> tf.Tensor:
        """Logits of the mean of the views' probabilities."""
        return mean_softmax(shares, logits)

    def scores(
        self, sums: dict[str, np.ndarray], collected: dict[str, np.ndarray] | None = None
    ) -> dict[str, Any]:
        """The scores of `modelzoo.tasks.classification.scores`."""
        return classification.scores(sums, self.spec.class_names)

    def served(self, outputs: Tensors) -> Tensors:
        """`classes` (string `[n]`: the name of the best class) and `scores`.

        `scores` are float32 `[n, classes]`, probabilities in the order of the classes.
        """
        logits = outputs["logits"]
        classes = tf.gather(tf.constant(self.spec.class_names), tf.argmax(logits, axis=-1))
        return {"classes": classes, "scores": tf.cast(tf.nn.softmax(logits), tf.float32)}

    def outputs_of(self, served: dict[str, np.ndarray]) -> Tensors:
        """`logits` up to a constant for each example.

        A probability that float32 rounds to 0 is taken for the smallest one above it.
        """
        scores = np.maximum(served["scores"], np.finfo(np.float32).tiny)
        return {"logits": tf.constant(np.log(scores))}

    def answer(self, served: dict[str, np.ndarray], top: int | None = None) -> dict[str, Any]:
        """`class` and its `probability`; `top` is a list of these, the best first."""
        scores = served["scores"]
        answer = {"class": str(served["classes"]), "probability": float(scores.max())}
        if top is not None:
            answer["top"] = [
                {"class": self.spec.class_names[i], "probability": float(scores[i])}
                for i in (-scores).argsort(kind="stable")[:top]
            ]
        return answer

    def truth(self, label: np.ndarray) -> str:
        """The name of the class."""
        return self.spec.class_names[label]

    def _aligned(self, labels: tf.Tensor, given: tuple[str, ...]) -> tf.Tensor:
        numbers = [self.spec.class_names.index(name) for name in given]
        return tf.gather(tf.constant(numbers, tf.int64), labels)
