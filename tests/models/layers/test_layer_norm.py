import keras
import numpy as np
import tensorflow as tf
import torch
from torch_transformers import randomise

from modelzoo.models.layers.layer_norm import LayerNorm

X = np.random.default_rng(1).normal(2.0, 3.0, size=(3, 5, 8)).astype("float32")


def test_values_and_gradients_are_torchs():
    ours, theirs = LayerNorm(epsilon=1e-3), torch.nn.LayerNorm(8, eps=1e-3)
    ours.build(X.shape)
    randomise(ours.weights)
    theirs.weight.data = torch.from_numpy(ours.gamma.numpy())
    theirs.bias.data = torch.from_numpy(ours.beta.numpy())
    their_x = torch.from_numpy(X).requires_grad_()
    expected = theirs(their_x)
    torch.sin(expected).sum().backward()
    for jit in (False, True):

        def run(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                outputs = ours(x)
                loss = tf.reduce_sum(tf.sin(outputs))
            return outputs, tape.gradient(loss, [x, ours.gamma.value, ours.beta.value])

        outputs, gradients = tf.function(run, jit_compile=jit)(tf.constant(X))
        np.testing.assert_allclose(outputs, expected.detach(), rtol=0, atol=1e-5)
        parameters = (their_x, theirs.weight, theirs.bias)
        for got, parameter in zip(gradients, parameters, strict=True):
            np.testing.assert_allclose(got, parameter.grad, rtol=0, atol=1e-5)


def test_statistics_are_float32_at_least():
    exact = LayerNorm()(X)
    for policy, inner, error in (
        ("mixed_bfloat16", "bfloat16", 0.02),
        ("float64", "float64", 1e-6),
    ):
        keras.config.set_dtype_policy(policy)
        layer = LayerNorm()
        # A mean of 1000 leaves bfloat16 no digits for what differs from it.
        outputs = layer(tf.cast(tf.round(X) * 8 + 1000, inner))
        assert outputs.dtype == inner
        assert layer.gamma.dtype == ("float64" if inner == "float64" else "float32")
        expected = LayerNorm(dtype="float32")(np.round(X) * 8 + 1000)
        assert np.abs(np.subtract(outputs, expected)).max() < error
        assert np.abs(np.subtract(layer(X), exact)).max() < error
