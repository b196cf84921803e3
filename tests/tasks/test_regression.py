"""Regression: losses against NumPy, metrics against scikit-learn."""

import keras
import numpy as np
import pytest
import sklearn.metrics as sk
import tensorflow as tf
from bound_data import image_data

from modelzoo.data import Values
from modelzoo.data.bound import BoundData
from modelzoo.data.targets.values import BoundValues
from modelzoo.fields.errors import UserError
from modelzoo.tasks import Regression, regression

RNG = np.random.default_rng(0)
TARGETS = RNG.normal(size=(50, 3)) * (1, 10, 0.1)
PREDICTIONS = TARGETS + RNG.normal(size=(50, 3)) * (0.5, 20, 0.01)
WEIGHTS = RNG.choice([0.0, 0.5, 1.0, 3.0], 50)
NAMES = ("x", "y", "z")

DATA = image_data((4, 6, 3), ("width", "height"), "values")
MEAN, STD = np.array([100.0, -3.0]), np.array([20.0, 0.5])
SCALED = Regression(target_mean=tuple(MEAN), target_std=tuple(STD)).bind(DATA)
LEARNED = BoundData(
    DATA.inputs, BoundValues(Values(), ("width", "height"), tuple(MEAN), tuple(STD))
)


@pytest.mark.parametrize("kind", ["squared", "absolute", "huber"])
def test_loss_is_the_mean_over_outputs(kind):
    error = PREDICTIONS - TARGETS
    each = {
        "squared": error**2,
        "absolute": abs(error),
        "huber": np.array([[float(keras.losses.huber([0.0], [e], 0.7)) for e in r] for r in error]),
    }[kind]
    arrays = (tf.constant(a) for a in (PREDICTIONS, TARGETS, WEIGHTS))
    total, weight = regression.compute_loss(*arrays, kind, delta=0.7)
    expected = [(each.mean(axis=1) * WEIGHTS).sum(), WEIGHTS.sum()]
    np.testing.assert_allclose([total, weight], expected, rtol=1e-5)


def expected_metrics(targets, predictions, outputs):
    of = {
        "mse": sk.mean_squared_error,
        "rmse": sk.root_mean_squared_error,
        "mae": sk.mean_absolute_error,
        "r2": sk.r2_score,
    }
    return {
        name: function(targets, predictions, sample_weight=WEIGHTS, multioutput=outputs)
        for name, function in of.items()
    }


def test_metrics_equal_scikit_learn():
    got = regression.compute_metrics(PREDICTIONS, TARGETS, WEIGHTS, NAMES)
    for name, value in expected_metrics(TARGETS, PREDICTIONS, "uniform_average").items():
        assert got[name] == pytest.approx(value, rel=1e-12), name
    for name, values in expected_metrics(TARGETS, PREDICTIONS, "raw_values").items():
        for output, value in zip(NAMES, values, strict=True):
            assert got["per_output"][output][name] == pytest.approx(value, rel=1e-12)


def test_r2_is_exact_if_the_mean_is_large_beside_the_spread():
    shifted = (PREDICTIONS + 1e7, TARGETS + 1e7)
    assert regression.compute_metrics(*shifted, WEIGHTS, NAMES)["r2"] == pytest.approx(
        regression.compute_metrics(PREDICTIONS, TARGETS, WEIGHTS, NAMES)["r2"], rel=1e-6
    )


@pytest.mark.parametrize("error", [0.0, 0.5])
@pytest.mark.parametrize("value", [2.0, 0.1, 1e7 + 0.3])
def test_r2_of_equal_targets_is_undefined_and_no_part_of_the_mean(value, error):
    equal = np.full((50, 3), value)
    equal[WEIGHTS == 0] += 1  # Of no weight.
    got = regression.compute_metrics(equal + error, equal, WEIGHTS, NAMES)
    assert got["r2"] is None and got["per_output"]["x"]["r2"] is None
    assert got["mae"] == pytest.approx(error)
    targets = np.where(np.arange(3) == 1, equal, TARGETS)
    got = regression.compute_metrics(PREDICTIONS, targets, WEIGHTS, NAMES)
    others = [0, 2]
    expected = sk.r2_score(TARGETS[:, others], PREDICTIONS[:, others], sample_weight=WEIGHTS)
    assert got["r2"] == pytest.approx(expected, rel=1e-12)
    assert got["per_output"]["y"]["r2"] is None


def test_examples_without_a_weight_cannot_be_measured():
    with pytest.raises(UserError, match="nothing to measure"):
        regression.compute_metrics(PREDICTIONS, TARGETS, np.zeros(50), NAMES)


def batch_of(n=8):
    rng = np.random.default_rng(0)
    normalized = tf.constant(rng.normal(size=(n, 2)), tf.float32)
    label = tf.constant(rng.normal(size=(n, 2)) * STD + MEAN, tf.float32)
    weight = tf.constant(rng.choice([0.0, 0.5, 2.0], n), tf.float32)
    return {"normalized": normalized}, {"label": label, "weight": weight}


def metrics_of(objective, outputs, batch):
    arrays = [
        {name: value.numpy() for name, value in of(outputs, batch).items()}
        for of in (objective.metric_sums, objective.per_example)
    ]
    return objective.metrics(*arrays)


@pytest.mark.field("Regression.loss", "Regression.delta")
def test_the_loss_is_the_chosen_one():
    outputs, batch = batch_of()
    batch["label"] = outputs["normalized"] + tf.constant([0.5, -3.0])

    def loss(**fields):
        total, weight = Regression(**fields).bind(DATA).objective.loss(outputs, batch)
        return float(total / weight)

    assert loss() == pytest.approx((0.25 + 9) / 2)
    assert loss(loss="absolute") == pytest.approx((0.5 + 3) / 2)
    assert loss(loss="huber") == pytest.approx((0.125 + 2.5) / 2)
    assert loss(loss="huber", delta=0.2) == pytest.approx((0.2 * 0.4 + 0.2 * 2.9) / 2)


@pytest.mark.parametrize("task", [SCALED, Regression().bind(LEARNED)])
def test_the_loss_is_of_normalised_targets_and_the_rest_in_the_datas_units(task):
    outputs, batch = batch_of()
    normalized, weight = outputs["normalized"].numpy(), batch["weight"].numpy()
    error = normalized - (batch["label"].numpy() - MEAN) / STD
    loss = ((error**2).mean(axis=1) * weight).sum() / weight.sum()
    served = task.serving.to_serving(outputs)
    assert served.keys() == {"values"} and served["values"].dtype == tf.float32
    np.testing.assert_allclose(served["values"], normalized * STD + MEAN, rtol=1e-6)
    found = metrics_of(task.objective, outputs, batch)
    assert found["loss"] == pytest.approx(loss, rel=1e-4)
    mae = (abs(error * STD) * weight[:, None]).sum(axis=0) / weight.sum()
    assert found["mae"] == pytest.approx(mae.mean(), rel=1e-4)
    assert found["per_output"]["height"]["mae"] == pytest.approx(mae[1], rel=1e-4)
    again = task.serving.from_serving(served)["normalized"]
    np.testing.assert_allclose(again, normalized, atol=1e-5)


@pytest.mark.field("Regression.target_mean", "Regression.target_std")
@pytest.mark.parametrize(
    "fields, mean, std",
    [
        ({"target_mean": (1.0, 2.0)}, (1, 2), (1, 1)),
        ({"target_std": (4.0, 5.0)}, (0, 0), (4, 5)),
        ({"target_mean": (0.0, 0.0)}, (0, 0), (1, 1)),
    ],
)
def test_a_scale_of_the_config_replaces_the_learned_one(fields, mean, std):
    task = Regression(**fields).bind(LEARNED)
    outputs, batch = batch_of()
    normalized = outputs["normalized"].numpy()
    served = task.serving.to_serving(outputs)["values"]
    np.testing.assert_allclose(served, normalized * std + mean, rtol=1e-6)
    error = normalized - (batch["label"].numpy() - mean) / std
    total, weight = task.objective.loss(outputs, batch)
    expected = ((error**2).mean(axis=1) * batch["weight"].numpy()).sum()
    np.testing.assert_allclose([total, weight], [expected, batch["weight"].numpy().sum()], 1e-5)


def test_training_counts_give_the_same_errors():
    outputs, batch = batch_of()
    found = SCALED.objective.metric_sums(outputs, batch, training=True)
    whole = metrics_of(SCALED.objective, outputs, batch)
    assert SCALED.objective.metrics({k: v.numpy() for k, v in found.items()}) == {
        "mse": pytest.approx(whole["mse"], rel=1e-5),
        "mae": pytest.approx(whole["mae"], rel=1e-5),
    }


def test_answers_are_by_name():
    serving = Regression().bind(DATA).serving
    row = {"values": np.float32([1.5, 2])}
    assert serving.to_json(row) == {"values": {"width": 1.5, "height": 2.0}}
    with pytest.raises(UserError, match="--top needs a model of classes"):
        serving.to_json(row, top=1)


@pytest.mark.parametrize(
    "fields",
    [
        {"delta": 0.5},
        {"delta": 0.0, "loss": "huber"},
        {"target_std": (1.0, 0.0)},
        {"target_std": ()},
    ],
)
def test_impossible_values_are_refused_by_name(fields):
    with pytest.raises(ValueError, match=f"^{next(iter(fields))} must be"):
        Regression(**fields)


@pytest.mark.parametrize("field", ["target_mean", "target_std"])
def test_scales_must_fit_the_values(field):
    with pytest.raises(UserError, match=rf"config\.task\.{field} .* 2 values, got 1"):
        Regression(**{field: (1.0,)}).bind(DATA)
