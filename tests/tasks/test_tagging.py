"""Multi-label loss and scores against NumPy and scikit-learn."""

import numpy as np
import pytest
import sklearn.metrics as sk
import tensorflow as tf

from modelzoo.fields.errors import UserError
from modelzoo.tasks import tagging

RNG = np.random.default_rng(0)
N, TAGS = 60, 4
NAMES = ("a", "b", "c", "d")
# Few distinct values, so that many scores are equal.
LOGITS = RNG.integers(-4, 5, (N, TAGS)) / 2.0
LABELS = (RNG.random((N, TAGS)) < (0.5, 0.2, 0.7, 0.1)).astype(np.float32)
WEIGHTS = RNG.choice([0.0, 0.5, 1.0, 3.0], N).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def summed(labels=LABELS, weights=WEIGHTS, threshold=0.5, training=False, parts=1):
    total = {}
    for rows in np.array_split(np.arange(N), parts):
        arrays = (tf.constant(a[rows], tf.float32) for a in (LOGITS, labels, weights))
        for name, value in tagging.sums(*arrays, threshold, training).items():
            total[name] = total.get(name, 0) + value.numpy().astype(np.float64)
    return total


def scored(labels=LABELS, weights=WEIGHTS, **kwargs):
    collected = {"scores": sigmoid(LOGITS), "label": labels, "weight": weights}
    return tagging.scores(summed(labels, weights, **kwargs), collected, NAMES)


def test_loss_is_the_mean_over_tags_smoothed_and_weighted():
    factors = np.array([1.0, 2.0, 0.5, 4.0])
    targets = 0.8 * LABELS + 0.1
    p = sigmoid(LOGITS)
    each = -(factors * targets * np.log(p) + (1 - targets) * np.log(1 - p)).mean(axis=1)
    arrays = (tf.constant(LOGITS), tf.constant(LABELS), tf.constant(WEIGHTS))
    total, weight = tagging.loss(*arrays, label_smoothing=0.2, positive_weights=tuple(factors))
    np.testing.assert_allclose([total, weight], [(each * WEIGHTS).sum(), WEIGHTS.sum()], rtol=1e-6)
    plain = sk.log_loss(LABELS.ravel(), p.ravel(), sample_weight=np.repeat(WEIGHTS, TAGS))
    total, weight = tagging.loss(*arrays)
    np.testing.assert_allclose(total / weight, plain, rtol=1e-6)


def test_loss_stays_finite_far_from_0():
    logits = tf.constant([[-1000.0, 1000.0]])
    total, _ = tagging.loss(logits, tf.constant([[1.0, 0.0]]), tf.constant([1.0]))
    assert float(total) == 1000.0


def test_scores_are_those_of_scikit_learn():
    got, p = scored(), sigmoid(LOGITS)
    predicted = p >= 0.5
    for average in ("macro", "micro"):
        expected = sk.precision_recall_fscore_support(
            LABELS, predicted, average=average, sample_weight=WEIGHTS, zero_division=0
        )[:3]
        names = [f"{average}_{name}" for name in ("precision", "recall", "f1")]
        np.testing.assert_allclose([got[name] for name in names], expected, rtol=1e-6)
    for average, name in (("macro", "mean"), ("micro", "micro")):
        assert got[f"{name}_average_precision"] == pytest.approx(
            sk.average_precision_score(LABELS, p, average=average, sample_weight=WEIGHTS), rel=1e-9
        )
    assert got["exact_match"] == pytest.approx(
        sk.accuracy_score(LABELS, predicted, sample_weight=WEIGHTS)
    )
    each = sk.average_precision_score(LABELS, p, average=None, sample_weight=WEIGHTS)
    columns = sk.precision_recall_fscore_support(LABELS, predicted, sample_weight=WEIGHTS)
    for k, name in enumerate(NAMES):
        of_tag = got["per_tag"][name]
        expected = [each[k], *(column[k] for column in columns)]
        keys = ("average_precision", "precision", "recall", "f1", "support")
        np.testing.assert_allclose([of_tag[key] for key in keys], expected, rtol=1e-6)


def test_a_tag_that_never_occurs_is_in_no_mean_of_average_precisions():
    labels = LABELS.copy()
    labels[:, 1] = 0
    got = scored(labels)
    others = [0, 2, 3]
    expected = sk.average_precision_score(
        labels[:, others], sigmoid(LOGITS)[:, others], sample_weight=WEIGHTS
    )
    assert got["mean_average_precision"] == pytest.approx(expected, rel=1e-9)
    assert got["per_tag"]["b"]["average_precision"] == 0.0
    nothing = scored(np.zeros_like(LABELS))
    assert nothing["mean_average_precision"] == nothing["micro_average_precision"] == 0.0


def test_counts_add_up_over_any_split_and_the_threshold_moves_them():
    whole, parts = summed(), summed(parts=7)
    assert whole.keys() == parts.keys()
    for name, value in whole.items():
        np.testing.assert_allclose(parts[name], value, rtol=1e-5, err_msg=name)
    expected = ((sigmoid(LOGITS) >= 0.8) * WEIGHTS[:, None]).sum(axis=0)
    np.testing.assert_allclose(summed(threshold=0.8)["predicted"], expected, rtol=1e-6)


def test_training_counts_give_the_same_micro_scores():
    training = summed(training=True)
    assert all(np.ndim(value) == 0 for value in training.values())
    got = tagging.scores(training, None, NAMES)
    assert got.keys() == {"micro_precision", "micro_recall", "micro_f1", "exact_match"}
    whole = scored()
    for name, value in got.items():
        assert value == pytest.approx(whole[name], rel=1e-6), name


def test_nothing_of_weight_is_a_user_error():
    with pytest.raises(UserError, match="nothing to score"):
        scored(weights=np.zeros(N, np.float32))
