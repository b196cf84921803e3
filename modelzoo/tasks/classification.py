"""Single-label classification: its loss, its scores, and the head of every task that learns it.

Loss and counts are sums that add up over any split of the data.

Shapes: `logits` `[..., classes]`, `labels` (integers) and `weights` `[...]`. Weights are those of
the examples; one of weight 0 (a padding row) counts nowhere.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from modelzoo.fields.errors import UserError
from modelzoo.tasks.base import BoundTask, TaskConfig
from modelzoo.tasks.cross_entropy import cross_entropy
from modelzoo.tasks.ranking import class_roc_auc, ratio
from modelzoo.tasks.task import Tensors

TOP = 5


def loss(
    logits: tf.Tensor,
    labels: tf.Tensor,
    weights: tf.Tensor,
    label_smoothing: float = 0.0,
    class_weights: Sequence[float] | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Weighted sum of the cross-entropies in nats, and sum of the weights, both scalars.

    In float64 where the logits are, else in float32. An example weighs its own weight times the
    class weight of its label. With label smoothing e the target is (1 - e) on the label plus e / K
    on every one of the K classes (Szegedy et al. 2016, section 7).
    """
    losses, _ = cross_entropy(logits, labels, label_smoothing)
    weights = tf.cast(weights, losses.dtype)
    if class_weights is not None:
        weights *= tf.gather(tf.constant(class_weights, losses.dtype), labels)
    return tf.reduce_sum(losses * weights), tf.reduce_sum(weights)


def label_parts(batch: dict[str, tf.Tensor]) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """The labels of a batch and their weights; of a mixed one both labels of each row.

    There `mix` (float32 `[n]`) is the share of the row's `weight` that belongs to `label`, the
    rest is that of `label_2`.
    """
    labels, weights = batch["label"], batch["weight"]
    if "mix" not in batch:
        return [(labels, weights)]
    own = weights * batch["mix"]
    return [(labels, own), (batch["label_2"], weights - own)]


def sums(
    logits: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, training: bool = False
) -> dict[str, tf.Tensor]:
    """Weighted counts: `correct` and `weight`, and where not `training` also the following.

    `loss` is the plain cross-entropy, without smoothing and class weights, so that runs that
    differ in these can be compared; `top5` (only with more than five classes) counts the labels
    among the five best, the lower class first among equals; `confusion` is `[classes, classes]`,
    a row for each label and a column for each prediction.
    """
    logits = _wide(logits)
    labels = tf.cast(labels, tf.int32)
    weights = tf.cast(weights, logits.dtype)
    predictions = tf.argmax(logits, axis=-1, output_type=tf.int32)

    def count(hits):
        return tf.reduce_sum(tf.cast(hits, weights.dtype) * weights)

    result = {"correct": count(predictions == labels), "weight": tf.reduce_sum(weights)}
    if training:
        return result
    classes = logits.shape[-1]
    result["loss"] = loss(logits, labels, weights)[0]
    if classes > TOP:
        best = tf.math.top_k(logits, TOP).indices
        result["top5"] = count(tf.reduce_any(best == labels[..., None], axis=-1))
    cells = tf.math.unsorted_segment_sum(
        tf.reshape(weights, [-1]),
        tf.reshape(labels * classes + predictions, [-1]),
        classes * classes,
    )
    result["confusion"] = tf.reshape(cells, [classes, classes])
    return result


def scores(
    sums: dict[str, np.ndarray],
    class_names: Sequence[str],
    collected: dict[str, np.ndarray] | None = None,
    more: bool = False,
) -> dict[str, Any]:
    """Scores from the summed counts of `sums`, as JSON values.

    `loss`, `accuracy`, `top5_accuracy`, `macro_precision`, `macro_recall`, `macro_f1`, `per_class`
    (class name -> `precision`, `recall`, `f1`, `support`) and `confusion` (a row for each label).
    Where nothing was predicted as a class its precision is 0, where it has no example its recall
    is. The macro averages are over the classes that occur as a label or as a prediction. All of
    this is what scikit-learn gives with `sample_weight` and `zero_division=0`.

    With `more` also `micro_precision`, `micro_recall` and `micro_f1`, each of which is the
    accuracy; and where `scores` (`[n, classes]`), `label` and `weight` of every example were
    collected also `roc_auc`: of two classes that of the second, of more the mean of each class's
    against the others, over the classes that occur; 0 where only one does.

    From the fewer counts of training come fewer scores. Raises UserError where no example had a
    weight.
    """
    weight = float(sums["weight"])
    if not weight > 0:
        raise UserError(
            "no example with a positive weight was evaluated: there is nothing to score"
        )
    means = {"loss": "loss", "accuracy": "correct", "top5_accuracy": "top5"}
    result = {name: float(sums[key]) / weight for name, key in means.items() if key in sums}
    if "confusion" not in sums:
        return result
    confusion = np.asarray(sums["confusion"], np.float64)
    hits = np.diag(confusion)
    support, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    values = {
        "precision": ratio(hits, predicted),
        "recall": ratio(hits, support),
        "f1": ratio(2 * hits, support + predicted),
    }
    occurring = support + predicted > 0
    for name, of_classes in values.items():
        result[f"macro_{name}"] = float(of_classes[occurring].mean())
    if more:
        result |= {f"micro_{name}": result["accuracy"] for name in values}
    if more and collected:
        ranked, weights = (np.asarray(collected[k], np.float64) for k in ("scores", "weight"))
        labels = np.eye(len(class_names))[np.asarray(collected["label"], np.int64)]
        # Of two classes the first has the same, but for what float32 rounds to 1.
        first = 1 if len(class_names) == 2 else 0
        result["roc_auc"] = class_roc_auc(ranked[:, first:], labels[:, first:], weights)[1]
    values["support"] = support
    result["per_class"] = {
        class_name: {name: float(of_classes[i]) for name, of_classes in values.items()}
        for i, class_name in enumerate(class_names)
    }
    whole = bool((confusion == np.round(confusion)).all())
    result["confusion"] = (confusion.astype(np.int64) if whole else confusion).tolist()
    return result


def _wide(logits):
    return logits if logits.dtype == tf.float64 else tf.cast(logits, tf.float32)


def _probabilities(logits):
    return tf.cast(tf.nn.softmax(logits), tf.float32)


@dataclasses.dataclass(frozen=True)
class ClassTargets(TaskConfig):
    """Fields of every task that learns one class.

    label_smoothing: share of the target that is spread evenly over all classes, in training only.
    class_weights: a factor for each class, in the order of the classes, on the weight of its
        examples in training; the evaluation is not weighted by class.
    loss: "categorical" has one output of the model for each class; "binary", for two classes, has
        one, of which the second class's probability is the sigmoid.
    """

    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None
    loss: Literal["categorical", "binary"] = "categorical"

    def __post_init__(self):
        super().__post_init__()
        if not 0.0 <= self.label_smoothing < 1.0:
            raise ValueError(f"label_smoothing must be in [0, 1), got {self.label_smoothing}")
        weights = self.class_weights
        if weights is not None and (min(weights, default=-1) < 0 or not sum(weights) > 0):
            raise ValueError(
                f"class_weights must be numbers >= 0 and not all of them 0, got {weights}"
            )


class ClassificationHead(BoundTask):
    """The part of a task that is about one class for each example."""

    targets = "class"
    things = "classes"
    headline = ("loss", "accuracy")

    def __init__(self, config: ClassTargets, spec: Any):
        super().__init__(config, spec)
        config.check_lengths(spec.num_classes, "classes", "class_weights")
        if config.loss == "binary" and spec.num_classes != 2:
            raise UserError(
                f"config.task.loss=binary is of two classes, the data has {spec.num_classes}"
            )

    @property
    def num_outputs(self) -> int:
        return 1 if self.config.loss == "binary" else self.spec.num_classes

    def logits(self, model: keras.Model, fed: tf.Tensor, training: bool = False) -> tf.Tensor:
        """`[..., classes]`; a binary model's one output beside the first class's zero.

        The softmax of these is the output's sigmoid, and their cross-entropy the binary one.
        """
        logits = super().logits(model, fed, training)
        if self.config.loss == "binary":
            return tf.concat([tf.zeros_like(logits), logits], axis=-1)
        return logits

    def loss(self, outputs: Tensors, batch: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        """Smoothed, class-weighted cross-entropy: its sum and the sum of the weights, scalars.

        Of a mixed batch it is that against both labels of each row, as its weight is divided
        between them.
        """
        options = (self.config.label_smoothing, self.config.class_weights)
        parts = [loss(outputs["logits"], *part, *options) for part in self.parts(outputs, batch)]
        losses, weights = zip(*parts, strict=True)
        return tf.add_n(losses), tf.add_n(weights)

    def sums(self, outputs: Tensors, batch: Tensors, training: bool = False) -> Tensors:
        """The counts of `modelzoo.tasks.classification.sums`.

        Of a mixed batch a prediction counts as correct by the share of the label that it hits.
        """
        parts = [sums(outputs["logits"], *part, training) for part in self.parts(outputs, batch)]
        return {name: tf.add_n([part[name] for part in parts]) for name in parts[0]}

    def parts(self, outputs: Tensors, batch: Tensors) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """Labels and weights, of which each logit has all."""
        return label_parts(batch)

    def collected(self, outputs: Tensors, batch: Tensors) -> Tensors:
        """For ROC curves `scores` as they are served, `label` and `weight`; nothing of images."""
        if not self.more_scores:
            return {}
        scores = _probabilities(outputs["logits"])
        return {"scores": scores, "label": batch["label"], "weight": batch["weight"]}

    def scores(
        self, sums: dict[str, np.ndarray], collected: dict[str, np.ndarray] | None = None
    ) -> dict[str, Any]:
        """The scores of `modelzoo.tasks.classification.scores`."""
        return scores(sums, self.spec.class_names, collected, self.more_scores)

    def served(self, outputs: Tensors) -> Tensors:
        """`classes` (string `[n]`: the name of the best class) and `scores`.

        `scores` are float32 `[n, classes]`, probabilities in the order of the classes.
        """
        logits = outputs["logits"]
        classes = tf.gather(tf.constant(self.spec.class_names), tf.argmax(logits, axis=-1))
        return {"classes": classes, "scores": _probabilities(logits)}

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
