"""The tasks on numeric series: their scale, what they learn and what they serve."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from modelzoo.data.spec import SeriesSpec
from modelzoo.tasks.series import SeriesClassification, SeriesRegression

SPEC = SeriesSpec(
    class_names=("no", "yes"),
    length=3,
    features=("heat", "wind"),
    mean=(20.0, 5.0),
    std=(10.0, 0.5),
)
VALUES = dataclasses.replace(SPEC, class_names=("next",), targets="values")


@dataclasses.dataclass(frozen=True)
class Flat:
    def build(self, inputs, num_outputs):
        series = keras.Input(inputs.shape[1:], dtype=inputs.dtype, name="series")
        x = keras.layers.Flatten(name="flat")(series)
        return keras.Model(series, keras.layers.Dense(num_outputs, name="logits")(x))


def series_of(n):
    rng = np.random.default_rng(0)
    return (rng.normal(size=(n, 3, 2)) * SPEC.std + SPEC.mean).astype(np.float32)


def test_features_are_scaled_and_the_rest_passes_through():
    series = series_of(4)
    raw = {"series": tf.constant(series), "label": tf.range(4)}
    batch = SeriesClassification().bind(SPEC).features(raw, training=True)
    expected = (series - np.array([20, 5])) / np.array([10, 0.5])
    np.testing.assert_allclose(batch["series"], expected, atol=1e-5)
    assert batch["label"] is raw["label"]


@pytest.mark.parametrize("n", [0, 1, 5])
def test_signatures_take_the_datas_units(n):
    series = series_of(n)
    scaled = ((series - np.array([20, 5])) / np.array([10, 0.5])).reshape(n, 6)
    for config, spec in ((SeriesClassification(), SPEC), (SeriesRegression(), VALUES)):
        task = config.bind(spec)
        model = task.build_model(Flat())
        kernel, bias = (weight.numpy() for weight in model.weights)
        logits = scaled @ kernel + bias
        served = task.signatures(model)["serving_default"](tf.constant(series))
        if spec is VALUES:
            np.testing.assert_allclose(served["values"], logits, atol=1e-5)
        else:
            expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            np.testing.assert_allclose(served["scores"], expected, atol=1e-5)


def test_the_data_is_described_in_a_few_words():
    assert SeriesRegression().bind(VALUES).describe() == "1 values, series of 3 steps, 2 features"
