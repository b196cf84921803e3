import keras
import numpy as np
import pytest
import tensorflow as tf

from modelzoo.models.layers.pooling import StepPooling

MASK = np.array([[1, 1, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]], bool)


def values():
    return np.random.default_rng(0).normal(-3.0, 1.0, (3, 4, 5)).astype("float32")


def expected(kind, layer):
    rows = []
    for x, real in zip(values(), MASK, strict=True):
        x = x[real]
        if not len(x):
            rows.append(np.zeros(10 if kind == "mean_max" else 5))
        elif kind == "mean_max":
            rows.append(np.concatenate([x.mean(axis=0), x.max(axis=0)]))
        elif kind == "attention":
            kernel, bias, context = (v.numpy() for v in layer.weights)
            scores = np.exp(np.tanh(x @ kernel + bias) @ context)
            rows.append((scores * x).sum(0) / scores.sum())
        else:
            rows.append(getattr(x, kind)(axis=0))
    return np.stack(rows)


@pytest.mark.parametrize("kind", ["mean", "max", "mean_max", "attention"])
def test_real_steps_alone_count(kind):
    layer = StepPooling(kind)
    layer.build((None, None, 5))
    for v in layer.weights:
        v.assign(np.random.default_rng(1).normal(size=v.shape))
    np.testing.assert_allclose(layer(values(), mask=MASK), expected(kind, layer), rtol=1e-5)
    filled = np.where(MASK[..., None], values(), 1e4).astype("float32")
    np.testing.assert_array_equal(layer(filled, mask=MASK), layer(values(), mask=MASK))
    assert np.abs(layer(values()) - layer(values(), mask=MASK)).max() > 0.1
    np.testing.assert_allclose(layer(values()), layer(values(), mask=np.ones_like(MASK)), rtol=1e-6)


@pytest.mark.parametrize("kind", ["mean", "max", "mean_max", "attention"])
def test_gradients_are_finite_and_zero_in_the_padding(kind):
    layer, x = StepPooling(kind), tf.constant(100 * values())
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(layer(x, mask=MASK))
    gradient = tape.gradient(loss, x).numpy()
    assert np.isfinite(gradient).all()
    assert not gradient[~MASK].any() and gradient[MASK].any()


@pytest.mark.parametrize("kind", ["mean", "max", "mean_max", "attention"])
def test_precision_and_keras_file(tmp_path, kind):
    for policy, dtype in (("mixed_bfloat16", "bfloat16"), ("float64", "float64")):
        assert StepPooling(kind, dtype=policy)(values(), mask=MASK).dtype == dtype
    x = keras.Input((None, 5))
    model = keras.Model(x, StepPooling(kind)(x))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(values()), model(values()))
