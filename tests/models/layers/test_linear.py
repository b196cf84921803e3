import numpy as np
import tensorflow as tf

from modelzoo.models.layers.linear import Projection, linear


def test_any_rank_and_dtype():
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(4, 3)), rng.normal(size=3)
    for shape in ((4,), (2, 4), (2, 0, 4), (2, 3, 5, 4)):
        x = rng.normal(size=shape)
        got = linear(tf.constant(x, tf.float32), kernel, bias)
        np.testing.assert_allclose(got, x @ kernel + bias, rtol=0, atol=1e-5)
    assert linear(tf.constant(x, tf.bfloat16), tf.constant(kernel)).dtype == tf.bfloat16


def test_projection_is_a_matrix_alone():
    layer = Projection(3)
    x = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")
    np.testing.assert_allclose(layer(x), x @ layer.kernel.numpy(), rtol=0, atol=1e-5)
    assert [v.name for v in layer.weights] == ["kernel"]
