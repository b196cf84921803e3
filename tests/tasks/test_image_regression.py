"""The regression task: its fields, what it serves and what it says of it."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from modelzoo.data.spec import ImageSpec
from modelzoo.fields.errors import UserError
from modelzoo.tasks.image_regression import ImageRegression

SPEC = ImageSpec(4, 6, 3, ("width", "height"), targets="values")
MEAN, STD = np.array([100.0, -3.0]), np.array([20.0, 0.5])
SCALED = {"target_mean": tuple(MEAN), "target_std": tuple(STD)}


@dataclasses.dataclass(frozen=True)
class Linear:
    def build(self, input_spec, num_outputs):
        inputs = keras.Input(input_spec.shape[1:], name="image")
        x = keras.layers.Flatten(name="flatten")(inputs)
        return keras.Model(inputs, keras.layers.Dense(num_outputs, name="logits")(x))


def batch_of(n=8):
    rng = np.random.default_rng(0)
    normalized = tf.constant(rng.normal(size=(n, 2)), tf.float32)
    label = tf.constant(rng.normal(size=(n, 2)) * STD + MEAN, tf.float32)
    weight = tf.constant(rng.choice([0.0, 0.5, 2.0], n), tf.float32)
    return {"normalized": normalized}, {"label": label, "weight": weight}


def scores_of(task, outputs, batch):
    arrays = [
        {name: value.numpy() for name, value in of(outputs, batch).items()}
        for of in (task.sums, task.collected)
    ]
    return task.scores(*arrays)


@pytest.mark.field("ValueTargets.loss", "ValueTargets.delta")
def test_the_loss_is_the_chosen_one():
    outputs, batch = batch_of()
    batch["label"] = outputs["normalized"] + tf.constant([0.5, -3.0])

    def loss(**fields):
        total, weight = ImageRegression(**fields).bind(SPEC).loss(outputs, batch)
        return float(total / weight)

    assert loss() == pytest.approx((0.25 + 9) / 2)
    assert loss(loss="absolute") == pytest.approx((0.5 + 3) / 2)
    assert loss(loss="huber") == pytest.approx((0.125 + 2.5) / 2)
    assert loss(loss="huber", delta=0.2) == pytest.approx((0.2 * 0.4 + 0.2 * 2.9) / 2)


@pytest.mark.field("ValueTargets.target_mean", "ValueTargets.target_std")
def test_targets_are_normalised_for_the_loss_and_the_rest_is_in_the_datas_units():
    outputs, batch = batch_of()
    task = ImageRegression(**SCALED).bind(SPEC)
    normalized, weight = outputs["normalized"].numpy(), batch["weight"].numpy()
    error = normalized - (batch["label"].numpy() - MEAN) / STD
    loss = ((error**2).mean(axis=1) * weight).sum() / weight.sum()
    values = task.served(outputs)["values"]
    assert values.dtype == tf.float32
    np.testing.assert_allclose(values, normalized * STD + MEAN, rtol=1e-6)
    scores = scores_of(task, outputs, batch)
    assert scores["loss"] == pytest.approx(loss, rel=1e-4)
    mae = (abs(error * STD) * weight[:, None]).sum(axis=0) / weight.sum()
    assert scores["mae"] == pytest.approx(mae.mean(), rel=1e-4)
    assert scores["per_output"]["height"]["mae"] == pytest.approx(mae[1], rel=1e-4)
    again = task.outputs_of({"values": values.numpy()})["normalized"]
    np.testing.assert_allclose(again, normalized, atol=1e-5)


def test_training_counts_give_the_same_errors():
    outputs, batch = batch_of()
    task = ImageRegression(**SCALED).bind(SPEC)
    sums = {k: v.numpy() for k, v in task.sums(outputs, batch, training=True).items()}
    whole = scores_of(task, outputs, batch)
    assert task.scores(sums) == {
        "mse": pytest.approx(whole["mse"], rel=1e-5),
        "mae": pytest.approx(whole["mae"], rel=1e-5),
    }


@pytest.mark.parametrize("n", [0, 1, 5])
def test_signatures_give_values(n):
    task = ImageRegression(**SCALED).bind(SPEC)
    model = task.build_model(Linear())
    images = np.random.default_rng(1).integers(0, 256, (n, *SPEC.shape), np.uint8)
    raw = model((images / 127.5 - 1).astype(np.float32)).numpy() if n else np.zeros((0, 2))
    result = task.signatures(model)["serving_default"](tf.constant(images))
    assert result.keys() == {"values"}
    np.testing.assert_allclose(result["values"], raw * STD + MEAN, rtol=1e-5, atol=1e-4)


def test_answers_are_by_name():
    task = ImageRegression().bind(SPEC)
    assert task.answer({"values": np.float32([1.5, 2])}) == {
        "values": {"width": 1.5, "height": 2.0}
    }
    assert task.truth(np.float32([3, 4])) == {"width": 3.0, "height": 4.0}
    with pytest.raises(UserError, match="--top is of classes and tags"):
        task.answer({"values": np.float32([1, 2])}, top=1)


@pytest.mark.parametrize(
    ("field", "value"),
    [("delta", 0.5), ("target_std", (1.0, 0.0)), ("target_std", ())],
)
def test_impossible_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=f"^{field} must be"):
        ImageRegression(**{field: value})


def test_a_delta_must_be_positive():
    with pytest.raises(ValueError, match="^delta must be"):
        ImageRegression(loss="huber", delta=0.0)


@pytest.mark.parametrize("field", ["target_mean", "target_std"])
def test_lengths_that_do_not_fit_the_data_are_refused_by_key(field):
    with pytest.raises(UserError, match=rf"config\.task\.{field} .* 2 values, got 1"):
        ImageRegression(**{field: (1.0,)}).bind(SPEC)
