import keras
import numpy as np
import pytest
import tensorflow as tf

from modelzoo.models.layers.dropout import Dropout

X = np.random.default_rng(0).uniform(1, 2, (101, 99)).astype("float32")


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_a_share_is_dropped_and_the_others_count_more(rate):
    factor = Dropout(rate)(X, training=True) / X
    dropped = np.equal(factor, 0)
    np.testing.assert_allclose(factor[~dropped], 1 / (1 - rate), rtol=1e-4)
    # Within four standard deviations, of all and of each of the two halves of the bits drawn.
    for part in (dropped, dropped.ravel()[::2], dropped.ravel()[1::2]):
        assert abs(part.mean() - rate) < 4 * (rate * (1 - rate) / part.size) ** 0.5
    # Neighbours, who share what was drawn, are as independent as any.
    both = (dropped.ravel()[0:-1:2] & dropped.ravel()[1::2]).mean()
    assert abs(both - rate**2) < 4 * (rate**2 * (1 - rate**2) / (X.size // 2)) ** 0.5


def test_masks_are_of_the_seed_alone():
    layer = Dropout(0.5)
    (state,) = layer.variables

    def run(seed, x=X):
        with keras.StatelessScope([(state, tf.constant([seed, 7], state.dtype))]):
            return layer(x, training=True)

    np.testing.assert_array_equal(run(1), run(1))
    assert 0.4 < np.mean(np.not_equal(run(1), run(2))) < 0.6
    assert 0.4 < np.mean(np.not_equal(layer(X, training=True), layer(X, training=True))) < 0.6
    compiled = tf.function(run, jit_compile=True)
    np.testing.assert_allclose(compiled(1, tf.constant(X)), run(1), rtol=1e-6)
    np.testing.assert_array_equal(layer(X), X)
    assert layer.trainable_variables == []


def test_gradients_pass_where_values_do():
    layer, x = Dropout(0.3), tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = layer(x, training=True)
    np.testing.assert_allclose(tape.gradient(outputs, x), outputs / x, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_dtypes(dtype):
    outputs = Dropout(0.5, dtype=dtype)(tf.cast(X, dtype), training=True)
    assert outputs.dtype == dtype
    assert 0.4 < np.mean(np.equal(outputs, 0)) < 0.6
