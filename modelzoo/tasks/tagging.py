"""Tagging: any number of tags for each example, with their loss and metrics.

Shapes: `logits` and `labels` (float, 0 to 1) `[n, classes]`, `weights` `[n]`. Examples of weight 0
do not count. If every tag occurs, the metrics are those of scikit-learn with `sample_weight` and
`zero_division=0`. A metric is None where the labels do not define it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from modelzoo.data.bound import BoundData
from modelzoo.data.targets.tags import Tags
from modelzoo.fields.checks import check_rate
from modelzoo.fields.errors import FieldError
from modelzoo.tasks.ranking import (
    average_precision,
    class_roc_auc,
    f1_scores,
    mean_of_defined,
    where_present,
)
from modelzoo.tasks.task import Objective, Serving, TaskConfig, Tensors, check_weight
from modelzoo.tasks.views import mean_sigmoid

_MOST_RANKED = 100
"""Maximum number of tags for ROC curves, which take time."""


def compute_loss(
    logits: tf.Tensor,
    labels: tf.Tensor,
    weights: tf.Tensor,
    label_smoothing: float = 0.0,
    positive_weights: Sequence[float] | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the weighted sum of the binary cross-entropies in nats, and the sum of the weights.

    The loss of an example is the mean over the tags, so that the learning rate does not depend on
    their number. With label smoothing e, a target y becomes (1 - e) y + e / 2. The positive weight
    of a tag multiplies the loss of its presence, -y log p, not the weight of an example.
    """
    labels = tf.cast(labels, logits.dtype)
    # Not 1 minus the target, which has too few digits for large logits.
    present, absent = (
        (1.0 - label_smoothing) * share + 0.5 * label_smoothing for share in (labels, 1.0 - labels)
    )
    if positive_weights is not None:
        present *= tf.constant(positive_weights, logits.dtype)
    losses = present * tf.nn.softplus(-logits) + absent * tf.nn.softplus(logits)
    weights = tf.cast(weights, logits.dtype)
    return tf.reduce_sum(tf.reduce_mean(losses, axis=-1) * weights), tf.reduce_sum(weights)


def to_probabilities(logits: tf.Tensor) -> tf.Tensor:
    """Returns the probabilities that are served and compared with the threshold, float32."""
    return tf.cast(tf.sigmoid(logits), tf.float32)


def compute_metric_sums(
    logits: tf.Tensor,
    labels: tf.Tensor,
    weights: tf.Tensor,
    threshold: float,
    training: bool = False,
) -> dict[str, tf.Tensor]:
    """Returns weighted counts: `weight`, `exact`, `hits`, `predicted`, `support` and `loss`.

    `exact` counts the examples with all tags correct. `predicted` and `support` count the predicted
    and the present tags, `hits` the tags that are both; they are `[classes]`, in training scalars.
    `loss` is omitted in training.
    """
    labels = tf.cast(labels, logits.dtype)
    weights = tf.cast(weights, logits.dtype)
    chosen = to_probabilities(logits) >= threshold
    predicted = tf.cast(chosen, logits.dtype)
    exact = tf.reduce_all(chosen == (labels >= 0.5), axis=-1)
    axis = None if training else 0
    counts = {"hits": predicted * labels, "predicted": predicted, "support": labels}
    result = {name: tf.reduce_sum(n * weights[:, None], axis) for name, n in counts.items()}
    result["exact"] = tf.reduce_sum(tf.cast(exact, weights.dtype) * weights)
    result["weight"] = tf.reduce_sum(weights)
    if not training:
        result["loss"] = compute_loss(logits, labels, weights)[0]
    return result


def compute_metrics(
    sums: Mapping[str, np.ndarray],
    per_example: Mapping[str, np.ndarray] | None,
    class_names: Sequence[str],
) -> dict[str, Any]:
    """Computes metrics as JSON values.

    The metrics are `loss`, `mean_average_precision` (over the tags that occur),
    `micro_average_precision`, `macro_precision`, `macro_recall`, `macro_f1` (over the tags that
    occur or are predicted), `micro_precision`, `micro_recall`, `micro_f1`, `exact_match` and
    `per_tag` (name -> `average_precision`, `roc_auc`, `precision`, `recall`, `f1`, `support`). A
    ratio with denominator 0 is 0. `roc_auc` is the mean over the tags that are both present and
    absent in the data, and is omitted for many tags. The counts of training yield only the micro
    metrics and `exact_match`.

    Without a present tag, all but `loss` and `exact_match` are None, and so are the metrics of a
    tag that never occurs, besides `support`; `roc_auc` also of a tag that always occurs.

    Args:
        sums: counts of `compute_metric_sums`.
        per_example: `probabilities` and `label` `[n, classes]`, `weight` `[n]` of all examples.
        class_names: names of the tags.

    Raises:
        UserError: no example has a positive weight.
    """
    weight = check_weight(sums["weight"])
    counts = [np.atleast_1d(sums[name]) for name in ("hits", "predicted", "support")]
    any_present = counts[2].sum() > 0
    micro = {
        f"micro_{name}": float(value) if any_present else None
        for name, value in f1_scores(*(n.sum() for n in counts)).items()
    }
    exact = {"exact_match": float(sums["exact"]) / weight}
    if "loss" not in sums:
        return {**micro, **exact}
    _, predicted, support = counts
    scores = f1_scores(*counts)
    relevant = support + predicted > 0
    macro = {
        f"macro_{name}": float(values[relevant].mean()) if any_present else None
        for name, values in scores.items()
    }
    assert per_example is not None  # As in every evaluation.
    ranked, labels, weights = (
        np.asarray(per_example[name], np.float64) for name in ("probabilities", "label", "weight")
    )
    each = {name: where_present(values, support) for name, values in scores.items()}
    each["average_precision"] = [
        average_precision(ranked[:, k], labels[:, k], weights) for k in range(len(class_names))
    ]
    if len(class_names) <= _MOST_RANKED:
        each["roc_auc"], macro["roc_auc"] = class_roc_auc(ranked, labels, weights)
    each["support"] = support.tolist()
    flat = (ranked.ravel(), labels.ravel(), np.repeat(weights, len(class_names)))
    return {
        "loss": float(sums["loss"]) / weight,
        "mean_average_precision": mean_of_defined(each["average_precision"]),
        "micro_average_precision": average_precision(*flat),
        **macro,
        **micro,
        **exact,
        "per_tag": {
            name: {key: values[i] for key, values in each.items()}
            for i, name in enumerate(class_names)
        },
    }


@dataclasses.dataclass(frozen=True)
class Tagging(TaskConfig):
    """Learns which tags each example has, each tag independently.

    Attributes:
        label_smoothing: share by which training moves the targets 0 and 1 towards 1/2.
        positive_weights: factor of the training loss of each tag where it is present, in the order
            of the tags, such as the ratio of examples without the tag to examples with it.
        threshold: minimum probability of a predicted tag.
    """

    targets = (Tags,)
    adjustable = ("threshold",)

    label_smoothing: float = 0.0
    positive_weights: tuple[float, ...] | None = None
    threshold: float = 0.5

    def __post_init__(self):
        check_rate(label_smoothing=self.label_smoothing)
        weights = self.positive_weights
        if weights is not None and not min(weights, default=0) > 0:
            raise FieldError("positive_weights", f"must be numbers > 0, got {weights}")
        if not 0.0 < self.threshold < 1.0:
            raise FieldError("threshold", f"must be between 0 and 1, got {self.threshold}")

    def objective(self, data: BoundData) -> "TaggingObjective":
        return TaggingObjective(self, data)

    def serving(self, data: BoundData) -> "TaggingServing":
        return TaggingServing(data.get_target().names, self.threshold)


class TaggingObjective(Objective):
    """Binary cross-entropy and the metrics of tagging."""

    headline = ("loss", "mean_average_precision", "micro_f1")

    def __init__(self, config: Tagging, data: BoundData):
        super().__init__(data)
        self.config = config
        self.names = data.get_target().names
        self.num_outputs = len(self.names)
        config.check_count(data, "positive_weights")

    def mean_of_views(self, shares: list[float], logits: list[tf.Tensor]) -> tf.Tensor:
        """Returns the logits of the mean of the views' probabilities."""
        return mean_sigmoid(shares, logits)

    def loss(self, outputs: Tensors, batch: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        options = (self.config.label_smoothing, self.config.positive_weights)
        return compute_loss(outputs["logits"], batch["label"], batch["weight"], *options)

    def metric_sums(self, outputs: Tensors, batch: Tensors, training: bool = False) -> Tensors:
        logits, label, weight = outputs["logits"], batch["label"], batch["weight"]
        return compute_metric_sums(logits, label, weight, self.config.threshold, training)

    def per_example(self, outputs: Tensors, batch: Tensors) -> Tensors:
        """Returns `probabilities`, `label` and `weight` for the average precision."""
        probabilities = to_probabilities(outputs["logits"])
        return {"probabilities": probabilities, "label": batch["label"], "weight": batch["weight"]}

    def metrics(
        self, metric_sums: Mapping[str, np.ndarray], per_example: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        return compute_metrics(metric_sums, per_example, self.names)


class TaggingServing(Serving):
    """Serves `classes`, `scores` and `predicted`."""

    def __init__(self, names: tuple[str, ...], threshold: float):
        self.names = names
        self.threshold = threshold

    def to_serving(self, outputs: Tensors) -> Tensors:
        """Returns `classes` (string), `scores` (float32) and `predicted` (bool), each `[n, tags]`.

        They are the names of the tags, their probabilities, and whether these reach the threshold.
        """
        scores = to_probabilities(outputs["logits"])
        classes = tf.tile(tf.constant([self.names]), [tf.shape(scores)[0], 1])
        return {"classes": classes, "scores": scores, "predicted": scores >= self.threshold}

    def from_serving(self, served: Tensors) -> Tensors:
        """Returns `logits`; probabilities of 0 and 1 become the nearest float32 between them."""
        limits = np.finfo(np.float32)
        scores = tf.clip_by_value(served["scores"], limits.tiny, 1 - limits.epsneg)
        return {"logits": tf.math.log(scores) - tf.math.log1p(-scores)}

    def to_json(self, served: Mapping[str, np.ndarray], top: int | None = None) -> dict[str, Any]:
        """Returns `tags`, the predicted tags and their probabilities; `top` ranks all tags."""
        scores, names = served["scores"], self.names
        order = (-scores).argsort(kind="stable")
        tags = {names[i]: float(scores[i]) for i in order if served["predicted"][i]}
        if top is None:
            return {"tags": tags}
        best = [{"tag": names[i], "probability": float(scores[i])} for i in order[:top]]
        return {"tags": tags, "top": best}
