"""Multi-label classification, where an example has any number of classes: loss, scores, head.

Shapes: `logits` and `labels` (float, 0 to 1) `[n, classes]`, `weights` `[n]`, of the examples; one
of weight 0 counts nowhere. Scores are what scikit-learn gives with `sample_weight` and
`zero_division=0`, where every tag occurs.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from modelzoo.fields.errors import UserError
from modelzoo.tasks.base import BoundTask, TaskConfig
from modelzoo.tasks.ranking import average_precision, class_roc_auc, ratio
from modelzoo.tasks.task import Tensors


def loss(
    logits: tf.Tensor,
    labels: tf.Tensor,
    weights: tf.Tensor,
    label_smoothing: float = 0.0,
    positive_weights: Sequence[float] | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Weighted sum of the binary cross-entropies in nats, and sum of the weights, both scalars.

    That of an example is the mean over its tags, so that a learning rate does not depend on how
    many there are. With label smoothing e a target y becomes (1 - e) y + e / 2. Of each tag the
    term of what is present, -y log p, is multiplied by its positive weight; no weight is.
    """
    labels = tf.cast(labels, logits.dtype)
    if label_smoothing:
        labels = (1.0 - label_smoothing) * labels + 0.5 * label_smoothing
    if positive_weights is None:
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
    else:
        factors = tf.constant(positive_weights, logits.dtype)
        losses = tf.nn.weighted_cross_entropy_with_logits(labels, logits, factors)
    weights = tf.cast(weights, logits.dtype)
    return tf.reduce_sum(tf.reduce_mean(losses, axis=-1) * weights), tf.reduce_sum(weights)


def probabilities(logits: tf.Tensor) -> tf.Tensor:
    """What is served and thresholded: float32."""
    return tf.cast(tf.sigmoid(logits), tf.float32)


def sums(
    logits: tf.Tensor,
    labels: tf.Tensor,
    weights: tf.Tensor,
    threshold: float,
    training: bool = False,
) -> dict[str, tf.Tensor]:
    """Weighted counts: `weight`, `exact`, `hits`, `predicted`, `support`, `loss` (not in training).

    `exact` counts the examples whose tags are predicted exactly; `hits`, `predicted` and `support`
    the tags that are both, predicted and present: `[classes]`, in training scalars over all.
    """
    labels = tf.cast(labels, logits.dtype)
    weights = tf.cast(weights, logits.dtype)
    chosen = probabilities(logits) >= threshold
    predicted = tf.cast(chosen, logits.dtype)
    exact = tf.reduce_all(chosen == (labels >= 0.5), axis=-1)
    axis = None if training else 0
    counts = {"hits": predicted * labels, "predicted": predicted, "support": labels}
    result = {name: tf.reduce_sum(n * weights[:, None], axis) for name, n in counts.items()}
    result["exact"] = tf.reduce_sum(tf.cast(exact, weights.dtype) * weights)
    result["weight"] = tf.reduce_sum(weights)
    if not training:
        result["loss"] = loss(logits, labels, weights)[0]
    return result


def scores(
    sums: dict[str, np.ndarray],
    collected: dict[str, np.ndarray] | None,
    class_names: Sequence[str],
    more: bool = False,
) -> dict[str, Any]:
    """Scores from the counts of `sums`, and from `scores`, `label` and `weight` of every example.

    `loss`, `mean_average_precision` (over the tags that occur), `micro_average_precision`,
    `macro_precision`, `macro_recall`, `macro_f1` (over the tags that occur or are predicted),
    `micro_precision`, `micro_recall`, `micro_f1`, `exact_match` and `per_tag` (name ->
    `average_precision`, `precision`, `recall`, `f1`, `support`). What has no denominator is 0. With
    `more` also `roc_auc`, each tag's and their mean over those that some examples have not.

    From the counts of training come those that are micro, and `exact_match`. Raises UserError
    where no example had a weight.
    """
    weight = float(sums["weight"])
    if not weight > 0:
        raise UserError(
            "no example with a positive weight was evaluated: there is nothing to score"
        )
    counts = [np.atleast_1d(sums[name]) for name in ("hits", "predicted", "support")]
    micro = {f"micro_{k}": float(v) for k, v in _f1(*(n.sum() for n in counts)).items()}
    exact = {"exact_match": float(sums["exact"]) / weight}
    if "loss" not in sums:
        return {**micro, **exact}
    _, predicted, support = counts
    each = _f1(*counts)
    shown = support + predicted > 0
    macro = {f"macro_{k}": float(v[shown].mean()) if shown.any() else 0.0 for k, v in each.items()}
    ranked, labels, weights = (
        np.asarray(collected[name], np.float64) for name in ("scores", "label", "weight")
    )
    each["average_precision"] = np.array(
        [average_precision(ranked[:, k], labels[:, k], weights) for k in range(len(class_names))]
    )
    if more:
        each["roc_auc"], macro["roc_auc"] = class_roc_auc(ranked, labels, weights)
    each["support"] = support
    occurring = support > 0
    mean = float(each["average_precision"][occurring].mean()) if occurring.any() else 0.0
    flat = (ranked.ravel(), labels.ravel(), np.repeat(weights, len(class_names)))
    return {
        "loss": float(sums["loss"]) / weight,
        "mean_average_precision": mean,
        "micro_average_precision": average_precision(*flat),
        **macro,
        **micro,
        **exact,
        "per_tag": {
            name: {key: float(values[i]) for key, values in each.items()}
            for i, name in enumerate(class_names)
        },
    }


def _f1(hits, predicted, support):
    return {
        "precision": ratio(hits, predicted),
        "recall": ratio(hits, support),
        "f1": ratio(2 * hits, support + predicted),
    }


@dataclasses.dataclass(frozen=True)
class TagTargets(TaskConfig):
    """Fields of every task that learns which of a set of tags each example has, each for itself.

    label_smoothing: how far the targets 0 and 1 are moved towards 1/2, as a share of the way, in
        training only.
    positive_weights: a factor for each tag, in the order of the tags, on the loss of the examples
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


class TaggingHead(BoundTask):
    """The part of a task that is about any number of tags for each example."""

    targets = "tags"
    things = "tags"
    headline = ("loss", "mean_average_precision", "micro_f1")

    def __init__(self, config: TagTargets, spec: Any):
        super().__init__(config, spec)
        config.check_lengths(spec.num_classes, "tags", "positive_weights")

    def loss(self, outputs: Tensors, batch: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        """The smoothed, weighted `modelzoo.tasks.tagging.loss`."""
        return loss(
            outputs["logits"],
            batch["label"],
            batch["weight"],
            self.config.label_smoothing,
            self.config.positive_weights,
        )

    def sums(self, outputs: Tensors, batch: Tensors, training: bool = False) -> Tensors:
        """The counts of `modelzoo.tasks.tagging.sums`."""
        logits, label, weight = outputs["logits"], batch["label"], batch["weight"]
        return sums(logits, label, weight, self.config.threshold, training)

    def collected(self, outputs: Tensors, batch: Tensors) -> Tensors:
        """What the average precisions rank: `scores` as they are served, `label` and `weight`."""
        scores = probabilities(outputs["logits"])
        return {"scores": scores, "label": batch["label"], "weight": batch["weight"]}

    def scores(
        self, sums: dict[str, np.ndarray], collected: dict[str, np.ndarray] | None = None
    ) -> dict[str, Any]:
        """The scores of `modelzoo.tasks.tagging.scores`."""
        return scores(sums, collected, self.spec.class_names, self.more_scores)

    def served(self, outputs: Tensors) -> Tensors:
        """`classes` (string: the tags' names), `scores` (float32), `predicted` (bool).

        All are `[n, tags]`, in the order of the tags: each tag's name, its probability, and
        whether that reaches the threshold.
        """
        scores = probabilities(outputs["logits"])
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
