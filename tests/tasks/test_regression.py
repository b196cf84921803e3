"""Regression's losses against NumPy, its scores against scikit-learn."""

import keras
import numpy as np
import pytest
import sklearn.metrics as sk
import tensorflow as tf

from modelzoo.fields.errors import UserError
from modelzoo.tasks import regression

RNG = np.random.default_rng(0)
TARGETS = RNG.normal(size=(50, 3)) * (1, 10, 0.1)
PREDICTIONS = TARGETS + RNG.normal(size=(50, 3)) * (0.5, 20, 0.01)
WEIGHTS = RNG.choice([0.0, 0.5, 1.0, 3.0], 50)
NAMES = ("x", "y", "z")


@pytest.mark.parametrize("kind", ["squared", "absolute", "huber"])
def test_loss_is_the_mean_over_outputs(kind):
    error = PREDICTIONS - TARGETS
    each = {
        "squared": error**2,
        "absolute": abs(error),
        "huber": np.array([[float(keras.losses.huber([0.0], [e], 0.7)) for e in r] for r in error]),
    }[kind]
    arrays = (tf.constant(a) for a in (PREDICTIONS, TARGETS, WEIGHTS))
    total, weight = regression.loss(*arrays, kind, delta=0.7)
    expected = [(each.mean(axis=1) * WEIGHTS).sum(), WEIGHTS.sum()]
    np.testing.assert_allclose([total, weight], expected, rtol=1e-5)


def expected_scores(targets, predictions, outputs):
    of = {
        "mse": sk.mean_squared_error,
        "rmse": sk.root_mean_squared_error,
        "mae": sk.mean_absolute_error,
        "r2": sk.r2_score,
    }
    return {
        name: score(targets, predictions, sample_weight=WEIGHTS, multioutput=outputs)
        for name, score in of.items()
    }


def test_scores_are_those_of_scikit_learn():
    got = regression.scores(PREDICTIONS, TARGETS, WEIGHTS, NAMES)
    for name, value in expected_scores(TARGETS, PREDICTIONS, "uniform_average").items():
        assert got[name] == pytest.approx(value, rel=1e-12), name
    for name, values in expected_scores(TARGETS, PREDICTIONS, "raw_values").items():
        for output, value in zip(NAMES, values, strict=True):
            assert got["per_output"][output][name] == pytest.approx(value, rel=1e-12)


def test_r2_bears_a_mean_that_is_large_beside_the_spread():
    shifted = (PREDICTIONS + 1e7, TARGETS + 1e7)
    assert regression.scores(*shifted, WEIGHTS, NAMES)["r2"] == pytest.approx(
        regression.scores(PREDICTIONS, TARGETS, WEIGHTS, NAMES)["r2"], rel=1e-6
    )


@pytest.mark.parametrize("error, expected", [(0.0, 1.0), (0.5, 0.0)])
def test_targets_all_the_same(error, expected):
    targets = np.full((50, 3), 2.0)
    got = regression.scores(targets + error, targets, WEIGHTS, NAMES)
    assert got["r2"] == expected == sk.r2_score(targets, targets + error, sample_weight=WEIGHTS)


def test_nothing_of_weight_is_a_user_error():
    with pytest.raises(UserError, match="nothing to score"):
        regression.scores(PREDICTIONS, TARGETS, np.zeros(50), NAMES)
