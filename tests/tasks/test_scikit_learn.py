"""Hundreds of random comparisons with scikit-learn: ties, weights, absent and all-present classes.

Examples without a weight do not count, so scikit-learn does not get them: it would take in their
classes.
"""

import numpy as np
import pytest
import sklearn.metrics as sk
import tensorflow as tf
from comparisons import Comparisons
from linear import softmax

from modelzoo.tasks import classification, ranking, regression, tagging

WEIGHTS = ((1.0,), (0.0, 0.5, 1.0, 3.0), (2.0**-20, 1.0, 1024.0))


def draw_weights(rng, n):
    weights = rng.choice(WEIGHTS[rng.integers(len(WEIGHTS))], n)
    weights[0] = 1.0
    return weights.astype(np.float32)


def summed(function, *arrays, **options):
    arrays = (tf.constant(array) for array in arrays)
    return {name: value.numpy() for name, value in function(*arrays, **options).items()}


def areas(labels, scores, weights):
    """Areas under the ROC curves of the columns of 0 and 1 that have both."""
    both = [k for k in range(labels.shape[1]) if 0 < labels[:, k].sum() < len(labels)]
    return both, [sk.roc_auc_score(labels[:, k], scores[:, k], sample_weight=weights) for k in both]


def test_classification():
    compare = Comparisons()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        n, classes = rng.integers(1, 60), rng.integers(2, 9)
        # Rounded logits are tied; some classes are never predicted, others no label.
        logits = np.round(rng.normal(0, 2, (n, classes)) - 4 * (rng.random(classes) < 0.2), 1)
        logits = logits.astype(np.float32)
        present = rng.permutation(classes)[: rng.integers(1, classes + 1)]
        labels, weights = rng.choice(present, n), draw_weights(rng, n)
        names = tuple(map(str, range(classes)))
        probabilities = classification.to_probabilities(tf.constant(logits)).numpy()
        per_example = {"probabilities": probabilities, "label": labels, "weight": weights}
        sums = summed(classification.compute_metric_sums, logits, labels, weights)
        got = classification.compute_metrics(sums, names, per_example)

        kept = weights > 0
        labels, logits, weights = labels[kept], logits[kept], weights[kept]
        every, best, exact = np.arange(classes), logits.argmax(axis=1), softmax(np.float64(logits))
        keywords = {"sample_weight": weights}
        compare(got["accuracy"], sk.accuracy_score(labels, best, **keywords), seed)
        compare(got["loss"], sk.log_loss(labels, exact, labels=every, **keywords), seed)
        confusion = sk.confusion_matrix(labels, best, labels=every, **keywords)
        compare(got["confusion"], confusion, seed)
        for average in ("macro", "micro"):
            expected = sk.precision_recall_fscore_support(
                labels, best, average=average, zero_division=0, **keywords
            )[:3]
            names = [f"{average}_{name}" for name in ("precision", "recall", "f1")]
            compare([got[name] for name in names], expected, (seed, average))
        expected = sk.precision_recall_fscore_support(
            labels, best, labels=every, zero_division=0, **keywords
        )
        found = [tuple(values.values()) for values in got["per_class"].values()]
        compare(np.transpose(found), expected, seed)
        if classes > classification.TOP and len(np.unique(labels)) > 1:
            # scikit-learn breaks ties by the higher class, so they get a winner.
            untied = logits - 1e-4 * every
            expected = sk.top_k_accuracy_score(labels, untied, k=5, labels=every, **keywords)
            compare(got["top5_accuracy"], expected, seed)
        first = 1 if classes == 2 else 0
        ranked, truth = probabilities[kept, first:], np.eye(classes)[labels][:, first:]
        _, expected = areas(truth, ranked, weights)
        if expected:
            compare(got["roc_auc"], np.mean(expected), seed)
    assert compare.count > 200


def test_tagging():
    compare = Comparisons()
    for seed in range(30):
        rng = np.random.default_rng(seed)
        n, tags, threshold = rng.integers(1, 60), rng.integers(1, 7), (0.3, 0.5, 0.8)[seed % 3]
        logits = (rng.integers(-8, 9, (n, tags)) / 2).astype(np.float32)
        # Some tags are always there, some never.
        shares = rng.choice([0.0, 0.1, 0.5, 1.0], tags)
        labels, weights = rng.random((n, tags)) < shares, draw_weights(rng, n)
        arrays = (logits, labels.astype(np.float32), weights)
        probabilities = tagging.to_probabilities(tf.constant(logits)).numpy()
        per_example = {"probabilities": probabilities, "label": labels, "weight": weights}
        names = tuple(map(str, range(tags)))
        sums = summed(tagging.compute_metric_sums, *arrays, threshold=threshold)
        got = tagging.compute_metrics(sums, per_example, names)

        kept = weights > 0
        labels, scores, weights = labels[kept].astype(int), probabilities[kept], weights[kept]
        predicted = (scores >= threshold).astype(int)
        columns = {
            name: np.array([got["per_tag"][tag][name] for tag in names])
            for name in got["per_tag"]["0"]
        }
        counts = [
            sk.precision_recall_fscore_support(
                labels[:, k], predicted[:, k], labels=[1], sample_weight=weights, zero_division=0
            )
            for k in range(tags)
        ]
        for column, name in enumerate(("precision", "recall", "f1", "support")):
            compare(columns[name], [np.ravel(count[column])[0] for count in counts], (seed, name))
        flat = (labels.ravel(), predicted.ravel())
        repeated = np.repeat(weights, tags)
        for name, function in (
            ("precision", sk.precision_score),
            ("recall", sk.recall_score),
            ("f1", sk.f1_score),
        ):
            expected = function(*flat, sample_weight=repeated, zero_division=0)
            compare(got[f"micro_{name}"], expected, (seed, name))
        same = (labels == predicted).all(axis=1)
        compare(got["exact_match"], np.average(same, weights=weights), seed)
        exact = 1 / (1 + np.exp(-np.float64(logits[kept])))
        expected = sk.log_loss(flat[0], exact.ravel(), labels=[0, 1], sample_weight=repeated)
        compare(got["loss"], expected, seed)
        occurring = np.flatnonzero(labels.any(axis=0))
        if len(occurring):
            expected = [
                sk.average_precision_score(labels[:, k], scores[:, k], sample_weight=weights)
                for k in occurring
            ]
            compare(columns["average_precision"][occurring], expected, seed)
            compare(got["mean_average_precision"], np.mean(expected), seed)
            expected = sk.average_precision_score(flat[0], scores.ravel(), sample_weight=repeated)
            compare(got["micro_average_precision"], expected, seed)
        both, expected = areas(labels, scores, weights)
        if both:
            compare(columns["roc_auc"][both], expected, seed)
            compare(got["roc_auc"], np.mean(expected), seed)
    assert compare.count > 200


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
def test_regression():
    compare = Comparisons(rel=1e-7)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        n, outputs = rng.integers(2, 60), rng.integers(1, 5)
        targets = rng.normal(rng.choice([0, 1e5]), rng.choice([1e-2, 1.0, 1e3]), (n, outputs))
        weights = np.float64(draw_weights(rng, n))
        if seed % 3 == 0:
            targets[weights > 0, 0] = 0.1  # An output whose targets are equal.
        predictions = targets + rng.normal(0, rng.choice([1e-2, 1.0]), (n, outputs))
        if seed % 6 == 0:
            predictions[:, 0] = targets[:, 0]
        names = tuple(map(str, range(outputs)))
        got = regression.compute_metrics(predictions, targets, weights, names)
        kept = weights > 0
        for name, function in (
            ("mse", sk.mean_squared_error),
            ("rmse", sk.root_mean_squared_error),
            ("mae", sk.mean_absolute_error),
            ("r2", sk.r2_score),
        ):
            if name == "r2" and kept.sum() < 2:
                continue
            # scikit-learn's means of equal targets round.
            shifted = [a[kept] - targets[kept][0] for a in (targets, predictions)]
            finite = {"force_finite": False} if name == "r2" else {}
            keywords = {"sample_weight": weights[kept], "multioutput": "raw_values", **finite}
            with np.errstate(divide="ignore", invalid="ignore"):
                each = function(*shifted, **keywords)
            defined = np.isfinite(each)
            each = np.where(defined, each, 0.0)
            compare([got["per_output"][key][name] for key in names], each, (seed, name))
            compare(got[name], each[defined].mean() if defined.any() else 0.0, (seed, name))
    assert compare.count > 200


def test_ranking():
    compare = Comparisons(rel=1e-9)
    for seed in range(120):
        rng = np.random.default_rng(seed)
        n = rng.integers(2, 80)
        labels = rng.integers(0, 2, n)
        labels[:2] = 0, 1
        scores = np.round(rng.random(n) + 0.3 * labels, rng.integers(1, 9))
        weights = np.float64(draw_weights(rng, n))
        weights[:2] = 1.0
        given = (np.float64(labels), weights)
        expected = sk.roc_auc_score(labels, scores, sample_weight=weights)
        compare(ranking.roc_auc(scores, *given), expected, seed)
        expected = sk.average_precision_score(labels, scores, sample_weight=weights)
        compare(ranking.average_precision(scores, *given), expected, seed)
    assert compare.count == 240
