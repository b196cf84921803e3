"""Metrics of a ranking, against scikit-learn."""

import numpy as np
import pytest
import sklearn.metrics as sk

from modelzoo.tasks.ranking import average_precision, class_roc_auc, roc_auc


@pytest.mark.parametrize("levels", [3, 1000])
def test_roc_auc_with_ties_and_weights_equals_scikit_learn(levels):
    rng = np.random.default_rng(levels)
    labels = rng.integers(0, 2, 200).astype(float)
    scores = np.round(rng.random(200) * levels + labels) / levels
    weights = rng.choice([0.0, 0.5, 2.0], 200)
    expected = sk.roc_auc_score(labels, scores, sample_weight=weights)
    assert 0.5 < expected < 0.95
    assert roc_auc(scores, labels, weights) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("label", [0.0, 1.0])
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_roc_auc_of_equal_labels_is_undefined(label, weight):
    labels, weights = np.array([label, label, 1 - label]), np.array([1.0, 0.3, 0.0])
    assert roc_auc(np.arange(3.0), labels, weights) is None
    assert roc_auc(np.arange(2.0), labels[:2], np.full(2, weight)) is None


def test_average_precision_without_a_label_of_1_is_undefined():
    labels, weights = np.array([0.0, 0.0, 1.0]), np.array([1.0, 1.0, 0.0])
    assert average_precision(np.arange(3.0), labels, weights) is None
    assert average_precision(np.arange(3.0), 1 - labels, weights) == 1.0


def test_the_mean_is_over_the_classes_that_occur():
    rng = np.random.default_rng(0)
    numbers = rng.choice([0, 1, 3], 50)
    scores = rng.dirichlet(np.ones(4), 50)
    labels = np.eye(4)[numbers]
    each, mean = class_roc_auc(scores, labels, np.ones(50))
    expected = [sk.roc_auc_score(numbers == k, scores[:, k]) for k in (0, 1, 3)]
    np.testing.assert_allclose([each[k] for k in (0, 1, 3)], expected, rtol=1e-12)
    assert each[2] is None
    assert mean == pytest.approx(np.mean(expected), rel=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_a_class_that_every_weighted_example_has_is_in_no_mean(seed):
    # Sums of the same weights in another order differ in their last digits.
    rng = np.random.default_rng(seed)
    weights = rng.random(500)
    weights[:3] = 0
    labels = np.stack([np.ones(500), rng.integers(0, 2, 500)], axis=1)
    labels[:3, 0] = 0  # Without a weight, they count as no negatives.
    scores = rng.random((500, 2))
    each, mean = class_roc_auc(scores, labels, weights)
    expected = sk.roc_auc_score(labels[:, 1], scores[:, 1], sample_weight=weights)
    assert each[1] == mean == pytest.approx(expected, rel=1e-12)
