"""The tagging task: its fields, what it serves and what it says of it."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from modelzoo.data.spec import ImageSpec
from modelzoo.fields.errors import UserError
from modelzoo.tasks import tagging
from modelzoo.tasks.image_tagging import ImageTagging

SPEC = ImageSpec(4, 6, 3, ("ant", "bee", "cät"), targets="tags")


@dataclasses.dataclass(frozen=True)
class Linear:
    def build(self, input_spec, num_outputs):
        inputs = keras.Input(input_spec.shape[1:], name="image")
        x = keras.layers.Flatten(name="flatten")(inputs)
        return keras.Model(inputs, keras.layers.Dense(num_outputs, name="logits")(x))


def batch_of(n=8):
    rng = np.random.default_rng(0)
    logits = tf.constant(rng.normal(size=(n, 3)), tf.float32)
    label = tf.constant(rng.integers(0, 2, (n, 3)), tf.float32)
    weight = tf.constant(rng.choice([0.0, 0.5, 2.0], n), tf.float32)
    return {"logits": logits}, {"label": label, "weight": weight}


@pytest.mark.field("TagTargets.label_smoothing", "TagTargets.positive_weights")
def test_loss_is_smoothed_and_weighted_and_its_score_is_not():
    outputs, batch = batch_of()
    arrays = (outputs["logits"], batch["label"], batch["weight"])
    smoothed = ImageTagging(label_smoothing=0.2).bind(SPEC)
    weighted = ImageTagging(positive_weights=(1.0, 2.0, 3.0)).bind(SPEC)
    expected = tagging.loss(*arrays, label_smoothing=0.2)
    np.testing.assert_allclose(smoothed.loss(outputs, batch), expected)
    expected = tagging.loss(*arrays, positive_weights=(1.0, 2.0, 3.0))
    np.testing.assert_allclose(weighted.loss(outputs, batch), expected)
    plain = tagging.loss(*arrays)[0]
    for task in (smoothed, weighted):
        np.testing.assert_allclose(task.sums(outputs, batch)["loss"], plain)
        assert abs(task.loss(outputs, batch)[0] - plain) > 0.1


@pytest.mark.field("TagTargets.threshold")
@pytest.mark.parametrize("threshold", [0.3, 0.7])
def test_the_threshold_decides_in_scores_and_in_what_is_served(threshold):
    outputs, batch = batch_of()
    task = ImageTagging(threshold=threshold).bind(SPEC)
    served = {name: value.numpy() for name, value in task.served(outputs).items()}
    expected = 1 / (1 + np.exp(-outputs["logits"].numpy()))
    np.testing.assert_allclose(served["scores"], expected, rtol=1e-5)
    assert (served["predicted"] == (expected >= threshold)).all()
    weighted = (expected >= threshold) * batch["weight"].numpy()[:, None]
    np.testing.assert_allclose(task.sums(outputs, batch)["predicted"], weighted.sum(axis=0))
    row = {name: value[2] for name, value in served.items()}
    tags = task.answer(row)["tags"]
    assert tags == {
        SPEC.class_names[k]: float(served["scores"][2, k])
        for k in range(3)
        if expected[2, k] >= threshold
    }


@pytest.mark.parametrize("n", [0, 1, 5])
def test_signatures_give_names_probabilities_and_decisions(n):
    task = ImageTagging().bind(SPEC)
    model = task.build_model(Linear())
    images = np.random.default_rng(1).integers(0, 256, (n, *SPEC.shape), np.uint8)
    logits = model((images / 127.5 - 1).astype(np.float32)) if n else np.zeros((0, 3))
    result = task.signatures(model)["serving_default"](tf.constant(images))
    np.testing.assert_allclose(result["scores"], tf.sigmoid(logits), atol=1e-5)
    np.testing.assert_array_equal(result["predicted"], result["scores"].numpy() >= 0.5)
    assert result["classes"].shape == (n, 3)
    assert all(
        [c.decode() for c in row] == list(SPEC.class_names) for row in result["classes"].numpy()
    )


def test_outputs_are_told_from_what_is_served():
    outputs, _ = batch_of()
    task = ImageTagging().bind(SPEC)
    served = {name: value.numpy() for name, value in task.served(outputs).items()}
    np.testing.assert_allclose(task.outputs_of(served)["logits"], outputs["logits"], rtol=1e-5)
    ends = task.outputs_of({"scores": np.array([[0.0, 1.0, 0.5]], np.float32)})["logits"].numpy()
    assert np.isfinite(ends).all() and ends[0, 0] < -80 and ends[0, 1] > 16 and ends[0, 2] == 0


def test_answers_are_sorted_and_top_is_of_all_tags():
    task = ImageTagging().bind(SPEC)
    scores = np.array([0.6, 0.2, 0.9], np.float32)
    answer = task.answer({"scores": scores, "predicted": scores >= 0.5}, top=2)
    assert list(answer["tags"]) == ["cät", "ant"]
    assert answer["top"] == [
        {"tag": "cät", "probability": pytest.approx(0.9)},
        {"tag": "ant", "probability": pytest.approx(0.6)},
    ]
    assert task.answer({"scores": scores, "predicted": scores > 1}) == {"tags": {}}
    assert task.truth(np.array([0.0, 1.0, 1.0])) == ["bee", "cät"]


def test_evaluation_lowers_to_xla():
    outputs, batch = batch_of()
    task = ImageTagging(threshold=0.4).bind(SPEC)

    def step(outputs, batch):
        return {**task.sums(outputs, batch), **task.collected(outputs, batch)}

    compiled = tf.function(step, jit_compile=True, autograph=False)(outputs, batch)
    for name, value in step(outputs, batch).items():
        np.testing.assert_allclose(compiled[name], value, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("label_smoothing", 1.0),
        ("positive_weights", (1.0, 0.0, 1.0)),
        ("positive_weights", ()),
        ("threshold", 0.0),
        ("threshold", 1.0),
        ("std", (0.1, 0.0, 0.1)),
    ],
)
def test_impossible_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=f"^{field} must be"):
        ImageTagging(**{field: value})


def test_weights_that_do_not_fit_the_tags_are_refused_by_key():
    with pytest.raises(UserError, match=r"config\.task\.positive_weights .* 3 tags, got 2"):
        ImageTagging(positive_weights=(1.0, 2.0)).bind(SPEC)
