import numpy as np
import pytest
import tensorflow as tf
import torch
from torch_transformers import copy_block, randomise

from modelzoo.models.layers.transformer import Block, FeedForward

DIM, HEADS, FFN, BATCH, LENGTH, OTHER = 8, 2, 12, 3, 5, 4
X = np.random.default_rng(1).normal(size=(BATCH, LENGTH, DIM)).astype("float32")
MEMORY = np.random.default_rng(2).normal(size=(BATCH, OTHER, DIM)).astype("float32")
REAL = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1, 1, 0]], bool)
MEMORY_REAL = REAL[:, 1:]


def build(**kwargs):
    block = Block(HEADS, FFN, **kwargs)
    block.build((None, None, DIM))
    randomise(block.weights)
    return block


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("cross", [False, True])
def test_values_and_gradients_are_torchs(norm, activation, cross):
    ours = build(norm=norm, activation=activation, cross=cross, causal=cross, use_bias=True)
    kind = torch.nn.TransformerDecoderLayer if cross else torch.nn.TransformerEncoderLayer
    theirs = kind(DIM, HEADS, FFN, 0.0, activation, batch_first=True, norm_first=norm == "pre")
    copy_block(ours, theirs)
    x, their_x = tf.constant(X), torch.from_numpy(X).requires_grad_()
    with tf.GradientTape() as tape:
        tape.watch(x)
        if cross:
            outputs = ours(x, MEMORY, memory_real=MEMORY_REAL, training=True)
        else:
            outputs = ours(x, real=REAL, training=True)
        loss = tf.reduce_sum(tf.sin(outputs))
    if cross:
        expected = theirs(
            their_x,
            torch.from_numpy(MEMORY),
            torch.nn.Transformer.generate_square_subsequent_mask(LENGTH),
            memory_key_padding_mask=torch.from_numpy(~MEMORY_REAL),
        )
    else:
        expected = theirs(their_x, src_key_padding_mask=torch.from_numpy(~REAL))
    torch.sin(expected).sum().backward()
    np.testing.assert_allclose(outputs, expected.detach(), rtol=0, atol=1e-5)
    got = tape.gradient(loss, [x, ours.ffn.inner_kernel.value])
    np.testing.assert_allclose(got[0], their_x.grad, rtol=0, atol=5e-5)
    np.testing.assert_allclose(got[1], theirs.linear1.weight.grad.T, rtol=0, atol=5e-5)


def test_swiglu_is_the_papers():
    layer = FeedForward(FFN, "swiglu")
    layer.build(X.shape)
    randomise(layer.weights)
    assert [v.name for v in layer.weights] == ["inner_kernel", "outer_kernel"]
    gate, value = np.split(layer.inner_kernel.numpy(), 2, axis=1)
    gate = X @ gate
    expected = (gate / (1 + np.exp(-gate)) * (X @ value)) @ layer.outer_kernel.numpy()
    np.testing.assert_allclose(layer(X), expected, rtol=0, atol=1e-5)


def test_dropout_inside_the_feed_forward_net():
    layer = FeedForward(FFN, dropout=0.5)
    layer.build((None, None, 1))
    layer.inner_kernel.assign(np.ones([1, FFN]))
    layer.outer_kernel.assign(np.ones([FFN, 1]) / FFN)
    x = np.ones([1, 200, 1], "float32")
    np.testing.assert_allclose(layer(x), x, atol=1e-6)
    outputs = layer(x, training=True).numpy()
    # Each is a number of those that stay, of 12, over 6.
    np.testing.assert_allclose(outputs * 6, (outputs * 6).round(), atol=1e-5)
    assert outputs.std() > 0.1
    assert 0.9 < outputs.mean() < 1.1


def test_dropout_is_before_the_residual():
    block = build(dropout=0.5, norm="pre")
    for part in block.parts:
        for variable in part.weights:
            variable.assign(np.zeros(variable.shape))
    block.ffn.outer_bias.assign(np.ones(DIM))
    change = block(X, training=True) - X
    # What is added is 1 for each value, of which half are dropped and the others double.
    np.testing.assert_allclose(np.abs(change - 1), np.ones_like(X), atol=1e-6)
    assert 0.3 < np.mean(change > 1) < 0.7
