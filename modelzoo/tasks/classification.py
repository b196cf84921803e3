"""Classification: one class for each example, with its loss and metrics.

Shapes: `logits` `[..., classes]`, `labels` (integers) and `weights` `[...]`. Examples of weight 0,
such as padding, do not count.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import keras
import numpy as np
import tensorflow as tf

from modelzoo.data.bound import BoundData
from modelzoo.data.targets.class_label import ClassLabel
from modelzoo.data.targets.target import Target
from modelzoo.fields.checks import check_rate
from modelzoo.fields.errors import FieldError, UserError
from modelzoo.tasks.cross_entropy import cross_entropy
from modelzoo.tasks.ranking import class_roc_auc, f1_scores, where_present
from modelzoo.tasks.task import Objective, Serving, TaskConfig, Tensors, check_weight
from modelzoo.tasks.views import mean_softmax

TOP = 5
_MOST_RANKED = 100
"""Maximum number of classes for ROC curves, which take memory and time."""


def compute_loss(
    logits: tf.Tensor,
    labels: tf.Tensor,
    weights: tf.Tensor,
    label_smoothing: float = 0.0,
    class_weights: Sequence[float] | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the weighted sum of the cross-entropies in nats, and the sum of the weights, scalars.

    The loss is float64 if the logits are, else float32. The weight of an example is multiplied by
    the class weight of its label. With label smoothing e and K classes, the target is (1 - e) for
    the label plus e / K for each class (Szegedy et al. 2016, section 7).
    """
    losses, _ = cross_entropy(logits, labels, label_smoothing)
    weights = tf.cast(weights, losses.dtype)
    if class_weights is not None:
        weights *= tf.gather(tf.constant(class_weights, losses.dtype), labels)
    return tf.reduce_sum(losses * weights), tf.reduce_sum(weights)


def label_parts(batch: Tensors) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Returns pairs of labels and weights of a batch: one, or two if examples were mixed.

    In a mixed batch, `mix` (float32 `[n]`) is the share of each `weight` for `label`; `label_2` has
    the remaining weight.
    """
    labels, weights = batch["label"], batch["weight"]
    if "mix" not in batch:
        return [(labels, weights)]
    own = weights * batch["mix"]
    return [(labels, own), (batch["label_2"], weights - own)]


def compute_metric_sums(
    logits: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, training: bool = False
) -> dict[str, tf.Tensor]:
    """Returns weighted counts: `correct`, `weight` and, in evaluation, `loss`, `top5`, `confusion`.

    `loss` is the cross-entropy without smoothing and class weights, so that it is comparable
    between runs. `top5` (with more than five classes) counts the labels among the five best
    classes; ties favor the lower class. `confusion` is `[classes, classes]`, with a row per label
    and a column per prediction.
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
    result["loss"] = compute_loss(logits, labels, weights)[0]
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


def compute_metrics(
    sums: Mapping[str, np.ndarray],
    class_names: Sequence[str],
    per_example: Mapping[str, np.ndarray] | None = None,
) -> dict[str, Any]:
    """Computes metrics as JSON values.

    The metrics are `loss`, `accuracy`, `top5_accuracy`, `macro_` and `micro_` `precision`, `recall`
    and `f1`, `per_class` (class name -> `precision`, `recall`, `f1`, `support`) and `confusion` (a
    row per label). The precision of a class that is never predicted is 0; all metrics of a class
    without examples are None, besides `support`. Macro averages are over the classes that occur as
    a label or as a prediction, with 0 for those without examples. These are the values of
    scikit-learn with `sample_weight` and `zero_division=0`.

    `per_example` adds `roc_auc`: for two classes, that of the second class; for more, the mean of
    one-vs-rest over the classes that occur; None if only one class occurs. The counts of training
    yield only `accuracy`.

    Args:
        sums: counts of `compute_metric_sums`.
        class_names: names of the classes.
        per_example: `probabilities` `[n, classes]`, `label` and `weight` `[n]` of all examples.

    Raises:
        UserError: no example has a positive weight.
    """
    weight = check_weight(sums["weight"])
    means = {"loss": "loss", "accuracy": "correct", "top5_accuracy": "top5"}
    result: dict[str, Any] = {
        name: float(sums[key]) / weight for name, key in means.items() if key in sums
    }
    if "confusion" not in sums:
        return result
    confusion = np.asarray(sums["confusion"], np.float64)
    support, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    values = f1_scores(np.diag(confusion), predicted, support)
    occurring = support + predicted > 0
    for name, per_class in values.items():
        result[f"macro_{name}"] = float(per_class[occurring].mean())
    result |= {f"micro_{name}": result["accuracy"] for name in values}
    if per_example:
        ranked, weights = (
            np.asarray(per_example[k], np.float64) for k in ("probabilities", "weight")
        )
        labels = np.eye(len(class_names))[np.asarray(per_example["label"], np.int64)]
        # Of two classes, the second is enough; rounding could change the value of the first.
        first = 1 if len(class_names) == 2 else 0
        result["roc_auc"] = class_roc_auc(ranked[:, first:], labels[:, first:], weights)[1]
    each = {name: where_present(per_class, support) for name, per_class in values.items()}
    each["support"] = support.tolist()
    result["per_class"] = {
        class_name: {name: per_class[i] for name, per_class in each.items()}
        for i, class_name in enumerate(class_names)
    }
    whole = bool((confusion == np.round(confusion)).all())
    result["confusion"] = (confusion.astype(np.int64) if whole else confusion).tolist()
    return result


def to_probabilities(logits: tf.Tensor) -> tf.Tensor:
    """Returns the served probabilities: the softmax in float32."""
    return tf.cast(tf.nn.softmax(logits), tf.float32)


@dataclasses.dataclass(frozen=True)
class Classification(TaskConfig):
    """Learns one class for each example.

    Attributes:
        label_smoothing: share of the target that is distributed over all classes in training.
        class_weights: factor of the weight of each class's examples in training, in the order of
            the classes; evaluation does not use it.
        loss: "categorical" has one output per class; "binary", for two classes, has one output,
            whose sigmoid is the probability of the second class.
    """

    targets: ClassVar[tuple[type[Target], ...]] = (ClassLabel,)

    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None
    loss: Literal["categorical", "binary"] = "categorical"

    def __post_init__(self):
        check_rate(label_smoothing=self.label_smoothing)
        weights = self.class_weights
        if weights is not None and (min(weights, default=-1) < 0 or not sum(weights) > 0):
            raise FieldError(
                "class_weights", f"must be numbers >= 0 and not all of them 0, got {weights}"
            )

    def objective(self, data: BoundData) -> "ClassificationObjective":
        return ClassificationObjective(self, data)

    def serving(self, data: BoundData) -> "ClassificationServing":
        return ClassificationServing(data.get_target().names)


class ClassificationObjective(Objective):
    """Cross-entropy and the metrics of classification."""

    headline = ("loss", "accuracy")

    def __init__(self, config: Classification, data: BoundData):
        super().__init__(data)
        self.config = config
        self.names = data.get_target().names
        config.check_count(data, "class_weights")
        if config.loss == "binary" and len(self.names) != 2:
            raise UserError(
                f"config.task.loss=binary needs two classes, the data has {len(self.names)}"
            )
        self.num_outputs = 1 if config.loss == "binary" else len(self.names)
        self.ranks = len(self.names) <= _MOST_RANKED

    def run(self, model: keras.Model, batch: Tensors, training: bool = False) -> tf.Tensor:
        """Returns logits `[..., classes]`.

        The logits of a binary model are 0 and its output, whose softmax equals the sigmoid of the
        output.
        """
        logits = super().run(model, batch, training)
        if self.config.loss == "binary":
            return tf.concat([tf.zeros_like(logits), logits], axis=-1)
        return logits

    def blank_outputs(self, batch: Tensors) -> Tensors:
        """Returns equal logits for all classes, `[..., classes]`."""
        return {"logits": tf.zeros([*batch["label"].shape, len(self.names)])}

    def mean_of_views(self, shares: list[float], logits: list[tf.Tensor]) -> tf.Tensor:
        """Returns the logits of the mean of the views' probabilities."""
        return mean_softmax(shares, logits)

    def loss(self, outputs: Tensors, batch: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the sum of the smoothed, class-weighted cross-entropies and of the weights.

        A mixed example adds the losses of both labels, each with its share of the weight.
        """
        options = (self.config.label_smoothing, self.config.class_weights)
        parts = [
            compute_loss(outputs["logits"], *part, *options) for part in self.parts(outputs, batch)
        ]
        losses, weights = zip(*parts, strict=True)
        return tf.add_n(losses), tf.add_n(weights)

    def metric_sums(self, outputs: Tensors, batch: Tensors, training: bool = False) -> Tensors:
        """Returns the counts of `compute_metric_sums`.

        In a mixed batch, a correct prediction counts the share of its label.
        """
        logits = outputs["logits"]
        parts = [
            compute_metric_sums(logits, *part, training) for part in self.parts(outputs, batch)
        ]
        return {name: tf.add_n([part[name] for part in parts]) for name in parts[0]}

    def parts(self, outputs: Tensors, batch: Tensors) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """Returns pairs of labels and weights of the logits."""
        return label_parts(batch)

    def per_example(self, outputs: Tensors, batch: Tensors) -> Tensors:
        """Returns `probabilities`, `label` and `weight` for ROC curves, if the classes are few."""
        if not self.ranks:
            return {}
        probabilities = to_probabilities(outputs["logits"])
        return {"probabilities": probabilities, "label": batch["label"], "weight": batch["weight"]}

    def metrics(
        self, metric_sums: Mapping[str, np.ndarray], per_example: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        return compute_metrics(metric_sums, self.names, per_example)


class ClassificationServing(Serving):
    """Serves `classes` and `scores`, the outputs of TF Serving's Classify."""

    def __init__(self, names: tuple[str, ...]):
        self.names = names

    def to_serving(self, outputs: Tensors) -> Tensors:
        """Returns `classes` and `scores`.

        `classes` (string `[n]`) are the names of the best classes, `scores` (float32
        `[n, classes]`) the probabilities in the order of the classes.
        """
        logits = outputs["logits"]
        classes = tf.gather(tf.constant(self.names), tf.argmax(logits, axis=-1))
        return {"classes": classes, "scores": to_probabilities(logits)}

    def from_serving(self, served: Tensors) -> Tensors:
        """Returns `logits`, up to a constant per example.

        Probabilities of 0 become the smallest positive float32.
        """
        return {"logits": tf.math.log(tf.maximum(served["scores"], np.finfo(np.float32).tiny))}

    def to_json(self, served: Mapping[str, np.ndarray], top: int | None = None) -> dict[str, Any]:
        """Returns `class` and its `probability`; `top` lists the best classes, best first."""
        scores = served["scores"]
        result = {"class": str(served["classes"]), "probability": float(scores.max())}
        if top is not None:
            result["top"] = [
                {"class": self.names[i], "probability": float(scores[i])}
                for i in (-scores).argsort(kind="stable")[:top]
            ]
        return result
