"""Classification: one class for each example, its loss and its metrics.

Shapes of the functions: `logits` `[..., classes]`, `labels` (integers) and `weights` `[...]`. An
example of weight 0, such as padding, counts nowhere.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from modelzoo.data.bound import BoundData
from modelzoo.data.targets.class_label import ClassLabel
from modelzoo.fields.errors import FieldError, UserError
from modelzoo.tasks.cross_entropy import cross_entropy
from modelzoo.tasks.ranking import class_roc_auc, f1_scores
from modelzoo.tasks.task import Objective, Serving, TaskConfig, Tensors, check_weight
from modelzoo.tasks.views import mean_softmax

TOP = 5
_MOST_RANKED = 100
"""Most classes whose probabilities are kept for ROC curves: they take memory and time."""


def loss(
    logits: tf.Tensor,
    labels: tf.Tensor,
    weights: tf.Tensor,
    label_smoothing: float = 0.0,
    class_weights: Sequence[float] | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Weighted sum of the cross-entropies in nats, and sum of the weights, both scalars.

    Computes in float64 if the logits are, else in float32. The weight of an example is multiplied
    by the class weight of its label. With label smoothing e the target is (1 - e) on the label plus
    e / K on every one of the K classes (Szegedy et al. 2016, section 7).
    """
    losses, _ = cross_entropy(logits, labels, label_smoothing)
    weights = tf.cast(weights, losses.dtype)
    if class_weights is not None:
        weights *= tf.gather(tf.constant(class_weights, losses.dtype), labels)
    return tf.reduce_sum(losses * weights), tf.reduce_sum(weights)


def label_parts(batch: Tensors) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """The labels of a batch and their weights; a mixed batch has two labels per row.

    Then `mix` (float32 `[n]`) is the share of the row's `weight` that belongs to `label`; the rest
    belongs to `label_2`.
    """
    labels, weights = batch["label"], batch["weight"]
    if "mix" not in batch:
        return [(labels, weights)]
    own = weights * batch["mix"]
    return [(labels, own), (batch["label_2"], weights - own)]


def metric_sums(
    logits: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, training: bool = False
) -> dict[str, tf.Tensor]:
    """Weighted counts: `correct`, `weight` and, outside of training, `loss`, `top5`, `confusion`.

    `loss` is the cross-entropy without smoothing and class weights, so that runs that differ in
    these can be compared; `top5` (only with more than five classes) counts the labels among the
    five best, ties in favour of the lower class; `confusion` is `[classes, classes]`, a row per
    label and a column per prediction.
    """
    logits = logits if logits.dtype == tf.float64 else tf.cast(logits, tf.float32)
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


def metrics(
    sums: Mapping[str, np.ndarray],
    class_names: Sequence[str],
    per_example: Mapping[str, np.ndarray] | None = None,
) -> dict[str, Any]:
    """Metrics from the counts of `metric_sums`, as JSON values.

    `loss`, `accuracy`, `top5_accuracy`, `macro_` and `micro_` `precision`, `recall` and `f1`,
    `per_class` (class name -> `precision`, `recall`, `f1`, `support`) and `confusion` (a row per
    label). A class that is never predicted has precision 0, one without examples recall 0. Macro
    averages are over the classes that occur as a label or as a prediction. These are the values of
    scikit-learn with `sample_weight` and `zero_division=0`.

    With `probabilities` (`[n, classes]`), `label` and `weight` of every example also `roc_auc`: of
    two classes that of the second, of more the mean over the classes that occur, each against the
    others; 0 if only one occurs.

    The fewer counts of training give fewer metrics.
    """
    weight = check_weight(sums["weight"])
    means = {"loss": "loss", "accuracy": "correct", "top5_accuracy": "top5"}
    result = {name: float(sums[key]) / weight for name, key in means.items() if key in sums}
    if "confusion" not in sums:
        return result
    confusion = np.asarray(sums["confusion"], np.float64)
    support, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    values = f1_scores(np.diag(confusion), predicted, support)
    occurring = support + predicted > 0
    for name, of_classes in values.items():
        result[f"macro_{name}"] = float(of_classes[occurring].mean())
    result |= {f"micro_{name}": result["accuracy"] for name in values}
    if per_example:
        ranked, weights = (
            np.asarray(per_example[k], np.float64) for k in ("probabilities", "weight")
        )
        labels = np.eye(len(class_names))[np.asarray(per_example["label"], np.int64)]
        # The first of two classes has the same, except where float32 rounds to 1.
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


def to_probabilities(logits: tf.Tensor) -> tf.Tensor:
    """Probabilities as they are served: the softmax in float32."""
    return tf.cast(tf.nn.softmax(logits), tf.float32)


@dataclasses.dataclass(frozen=True)
class Classification(TaskConfig):
    """Learns one class for each example.

    Attributes:
        label_smoothing: share of the target that is spread evenly over all classes, in training
            only.
        class_weights: one factor per class, in the order of the classes, on the weight of its
            examples in training; evaluation is not weighted by class.
        loss: "categorical" gives the model one output per class; "binary", for two classes, gives
            it one, whose sigmoid is the probability of the second class.
    """

    targets = (ClassLabel,)

    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None
    loss: Literal["categorical", "binary"] = "categorical"

    def __post_init__(self):
        if not 0.0 <= self.label_smoothing < 1.0:
            raise FieldError("label_smoothing", f"must be in [0, 1), got {self.label_smoothing}")
        weights = self.class_weights
        if weights is not None and (min(weights, default=-1) < 0 or not sum(weights) > 0):
            raise FieldError(
                "class_weights", f"must be numbers >= 0 and not all of them 0, got {weights}"
            )

    def objective(self, data: BoundData) -> "ClassificationObjective":
        return ClassificationObjective(self, data)

    def serving(self, data: BoundData) -> "ClassificationServing":
        return ClassificationServing(data.target.names)


class ClassificationObjective(Objective):
    """Cross-entropy, accuracy and their kind."""

    headline = ("loss", "accuracy")

    def __init__(self, config: Classification, data: BoundData):
        super().__init__(data)
        self.config, self.names = config, data.target.names
        config.check_count(data, "class_weights")
        if config.loss == "binary" and len(self.names) != 2:
            raise UserError(
                f"config.task.loss=binary needs two classes, the data has {len(self.names)}"
            )
        self.num_outputs = 1 if config.loss == "binary" else len(self.names)
        self.ranks = len(self.names) <= _MOST_RANKED

    def run(self, model: keras.Model, batch: Tensors, training: bool = False) -> tf.Tensor:
        """Logits `[..., classes]`; 0 for the first class beside the output of a binary model.

        Their softmax is the output's sigmoid, and their cross-entropy the binary one.
        """
        logits = super().run(model, batch, training)
        if self.config.loss == "binary":
            return tf.concat([tf.zeros_like(logits), logits], axis=-1)
        return logits

    def mean_of_views(self, shares: list[float], logits: list[tf.Tensor]) -> tf.Tensor:
        return mean_softmax(shares, logits)

    def loss(self, outputs: Tensors, batch: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        """Smoothed, class-weighted cross-entropy: its sum and the sum of the weights, scalars.

        A row of a mixed batch has the losses of both its labels, between which its weight is
        divided.
        """
        options = (self.config.label_smoothing, self.config.class_weights)
        parts = [loss(outputs["logits"], *part, *options) for part in self.parts(outputs, batch)]
        losses, weights = zip(*parts, strict=True)
        return tf.add_n(losses), tf.add_n(weights)

    def metric_sums(self, outputs: Tensors, batch: Tensors, training: bool = False) -> Tensors:
        """The counts of the function `metric_sums`.

        In a mixed batch a prediction is correct by the share of the label that it hits.
        """
        logits = outputs["logits"]
        parts = [metric_sums(logits, *part, training) for part in self.parts(outputs, batch)]
        return {name: tf.add_n([part[name] for part in parts]) for name in parts[0]}

    def parts(self, outputs: Tensors, batch: Tensors) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """Labels and weights, each pair for all logits."""
        return label_parts(batch)

    def per_example(self, outputs: Tensors, batch: Tensors) -> Tensors:
        """`probabilities`, `label` and `weight` for ROC curves; nothing with many classes."""
        if not self.ranks:
            return {}
        probabilities = to_probabilities(outputs["logits"])
        return {"probabilities": probabilities, "label": batch["label"], "weight": batch["weight"]}

    def metrics(
        self, metric_sums: Mapping[str, np.ndarray], per_example: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        return metrics(metric_sums, self.names, per_example)


class ClassificationServing(Serving):
    """Serves `classes` and `scores`, as TF Serving's Classify expects them."""

    def __init__(self, names: tuple[str, ...]):
        self.names = names

    def to_serving(self, outputs: Tensors) -> Tensors:
        """`classes` (string `[n]`: the name of the best class) and `scores`.

        `scores` are float32 `[n, classes]`, probabilities in the order of the classes.
        """
        logits = outputs["logits"]
        classes = tf.gather(tf.constant(self.names), tf.argmax(logits, axis=-1))
        return {"classes": classes, "scores": to_probabilities(logits)}

    def from_serving(self, served: Tensors) -> Tensors:
        """`logits`, up to a constant per example.

        A probability that float32 rounds to 0 counts as the smallest one above it.
        """
        return {"logits": tf.math.log(tf.maximum(served["scores"], np.finfo(np.float32).tiny))}

    def to_json(self, served: Mapping[str, np.ndarray], top: int | None = None) -> dict[str, Any]:
        """`class` and its `probability`; `top` is a list of these, the best first."""
        scores = served["scores"]
        answer = {"class": str(served["classes"]), "probability": float(scores.max())}
        if top is not None:
            answer["top"] = [
                {"class": self.names[i], "probability": float(scores[i])}
                for i in (-scores).argsort(kind="stable")[:top]
            ]
        return answer
