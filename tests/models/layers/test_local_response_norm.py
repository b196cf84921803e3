import numpy as np
import pytest
import tensorflow as tf

from modelzoo.models.layers.local_response_norm import LocalResponseNorm


def values(*shape):
    return np.random.default_rng(0).normal(0.0, 3.0, shape).astype("float32")


def test_values_by_hand():
    x = np.float32([[1.0, 2.0, 0.0, -4.0]])
    y = LocalResponseNorm(3, alpha=0.6, beta=0.5)(x)
    # Sums of squares 5, 5, 20 and 16, of which a third of 0.6 counts.
    np.testing.assert_allclose(y, x / np.sqrt([[2.0, 2.0, 5.0, 4.2]]), rtol=1e-6)


@pytest.mark.parametrize(("size", "channels"), [(1, 3), (5, 9), (13, 24), (9, 4)])
def test_is_tensorflows(size, channels):
    x = tf.constant(values(2, 3, 4, channels))
    layer = LocalResponseNorm(size, alpha=0.1, beta=0.75)
    results = []
    for function in (
        layer,
        lambda x: tf.nn.local_response_normalization(x, size // 2, 1.0, 0.1 / size, 0.75),
    ):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
            loss = tf.reduce_sum(y * values(*x.shape))
        results.append((y, tape.gradient(loss, x)))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_compiles_under_xla():
    layer, x = LocalResponseNorm(5), tf.constant(values(2, 3, 3, 8))
    compiled = tf.function(lambda x: layer(x), jit_compile=True)
    np.testing.assert_allclose(compiled(x), layer(x), rtol=1e-5)


def test_precision():
    x = values(4, 2, 2, 16)
    exact = LocalResponseNorm(5, dtype="float64")(x)
    assert exact.dtype == "float64"
    low = LocalResponseNorm(5, dtype="mixed_bfloat16")(x)
    assert low.dtype == "bfloat16"
    np.testing.assert_allclose(tf.cast(low, "float64"), exact, rtol=0.01)
