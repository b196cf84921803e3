import numpy as np
import pytest
import tensorflow as tf
import torch
from torch_transformers import copy_block, randomise

from modelzoo.models.layers.transformer import Block, FeedForward

DIM, HEADS, FFN, BATCH, LENGTH, OTHER = 8, 2, 12, 3, 5, 4
X = np.random.default_rng(1).normal(size=(BATCH, LENGTH, DIM)).astype("float32")
MEMORY = np.random.default_rng(2).normal(size=(BATCH, OTHER, DIM)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1, 1, 0]], bool)
MEMORY_MASK = MASK[:, 1:]


def build(**kwargs):
    block = Block(HEADS, FFN, **kwargs)
    block.build((None, None, DIM))
    randomise(block.weights)
    return block


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("cross", [False, True])
def test_values_and_gradients_are_torchs(norm, activation, cross):
    ours = build(norm=norm, activation=activation, cross=cross, causal=cross, attention_bias=True)
    kind = torch.nn.TransformerDecoderLayer if cross else torch.nn.TransformerEncoderLayer
    theirs = kind(DIM, HEADS, FFN, 0.0, activation, batch_first=True, norm_first=norm == "pre")
    copy_block(ours, theirs)
    x, their_x = tf.constant(X), torch.from_numpy(X).requires_grad_()
    with tf.GradientTape() as tape:
        tape.watch(x)
        if cross:
            outputs = ours(x, MEMORY, memory_mask=MEMORY_MASK, training=True)
        else:
            outputs = ours(x, padding_mask=MASK, training=True)
        loss = tf.reduce_sum(tf.sin(outputs))
    if cross:
        expected = theirs(
            their_x,
            torch.from_numpy(MEMORY),
            torch.nn.Transformer.generate_square_subsequent_mask(LENGTH),
            memory_key_padding_mask=torch.from_numpy(~MEMORY_MASK),
        )
    else:
        expected = theirs(their_x, src_key_padding_mask=torch.from_numpy(~MASK))
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


@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu_tanh", "swiglu"])
@pytest.mark.parametrize("use_bias", [True, False, None])
def test_activations_and_biases_are_torchs(activation, use_bias):
    layer = FeedForward(FFN, activation, use_bias=use_bias)
    layer.build(X.shape)
    randomise(layer.weights)
    has_bias = activation != "swiglu" if use_bias is None else use_bias
    assert [v.name for v in layer.weights if "bias" in v.name] == (
        ["inner_bias", "outer_bias"] if has_bias else []
    )
    inner, outer = (
        [torch.tensor(v.numpy()) for v in layer.weights if part in v.name]
        for part in ("inner", "outer")
    )
    y = torch.nn.functional.linear(torch.tensor(X), inner[0].T, *inner[1:])
    if activation == "swiglu":
        gate, y = y.chunk(2, dim=-1)
        y = torch.nn.functional.silu(gate) * y
    elif activation == "relu":
        y = torch.relu(y)
    else:
        approximate = "tanh" if activation == "gelu_tanh" else "none"
        y = torch.nn.functional.gelu(y, approximate=approximate)
    y = torch.nn.functional.linear(y, outer[0].T, *outer[1:])
    np.testing.assert_allclose(layer(X), y, rtol=0, atol=1e-5)


@pytest.mark.parametrize("epsilon", [1e-12, 0.5])
def test_epsilon_and_biases_of_blocks_are_torchs(epsilon):
    ours = build(attention_bias=True, epsilon=epsilon, norm="pre")
    theirs = torch.nn.TransformerEncoderLayer(
        DIM, HEADS, FFN, 0.0, layer_norm_eps=epsilon, batch_first=True, norm_first=True
    )
    copy_block(ours, theirs)
    expected = theirs(torch.from_numpy(X)).detach()
    np.testing.assert_allclose(ours(X), expected, rtol=0, atol=1e-5)


def test_dropout_inside_the_feed_forward_net():
    layer = FeedForward(FFN, dropout=0.5)
    layer.build((None, None, 1))
    layer.inner_kernel.assign(np.ones([1, FFN]))
    layer.outer_kernel.assign(np.ones([FFN, 1]) / FFN)
    x = np.ones([1, 200, 1], "float32")
    np.testing.assert_allclose(layer(x), x, atol=1e-6)
    outputs = layer(x, training=True).numpy()
    # Each output is the number of remaining values, of 12, over 6.
    np.testing.assert_allclose(outputs * 6, (outputs * 6).round(), atol=1e-5)
    assert outputs.std() > 0.1
    assert 0.9 < outputs.mean() < 1.1


def test_dropout_is_before_the_residual():
    block = build(dropout=0.5, norm="pre")
    for part in block.sublayers:
        for variable in part.weights:
            variable.assign(np.zeros(variable.shape))
    block.ffn.outer_bias.assign(np.ones(DIM))
    change = block(X, training=True) - X
    # The added values are 1; half of them are dropped and the others double.
    np.testing.assert_allclose(np.abs(change - 1), np.ones_like(X), atol=1e-6)
    assert 0.3 < np.mean(change > 1) < 0.7
