import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from torch_transformers import copy_attention, randomise

from modelzoo.models.layers.attention import Attention

DIM, HEADS, BATCH, LENGTH, OTHER = 8, 2, 3, 5, 4
X = np.random.default_rng(1).normal(size=(BATCH, LENGTH, DIM)).astype("float32")
MEMORY = np.random.default_rng(2).normal(size=(BATCH, OTHER, DIM)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1, 1, 0]], bool)
MEMORY_MASK = MASK[:, 1:]


def build(**kwargs):
    layer = Attention(HEADS, **kwargs, name="attention")
    layer.build((None, None, DIM))
    randomise(layer.weights)
    return layer


def by_numpy(layer, x, memory, mask):
    """Output and weights of equation 1 of the paper, head by head."""
    if layer.cross:
        query, other = layer.query_kernel.numpy(), layer.key_value_kernel.numpy()
        key, value = np.split(other, 2, axis=1)
    else:
        query, key, value = np.split(layer.query_key_value_kernel.numpy(), 3, axis=1)
    width, heads, weights = DIM // HEADS, [], []
    for head in range(HEADS):
        part = slice(head * width, (head + 1) * width)
        q, k, v = x @ query[:, part], memory @ key[:, part], memory @ value[:, part]
        scores = np.where(mask, q @ k.transpose(0, 2, 1) / np.sqrt(width), -np.inf)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights.append(scores / scores.sum(axis=-1, keepdims=True))
        heads.append(weights[-1] @ v)
    return np.concatenate(heads, axis=-1) @ layer.output_kernel.numpy(), np.stack(weights, axis=1)


def test_values_are_the_papers():
    past = np.tril(np.ones([LENGTH, LENGTH], bool))
    for kwargs, args, mask in (
        ({}, {"padding_mask": MASK}, MASK[:, None]),
        ({"causal": True}, {}, past[None]),
        ({"causal": True}, {"padding_mask": MASK}, past & MASK[:, None]),
        ({"cross": True}, {"memory": MEMORY, "padding_mask": MEMORY_MASK}, MEMORY_MASK[:, None]),
    ):
        layer = build(**kwargs)
        expected = by_numpy(layer, X, args.get("memory", X), mask)
        for got, value in zip(layer(X, **args, return_weights=True), expected, strict=True):
            np.testing.assert_allclose(got, value, rtol=0, atol=1e-5)


@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("use_bias", [False, True])
def test_values_and_gradients_are_torchs(cross, use_bias):
    ours = build(cross=cross, use_bias=use_bias)
    theirs = torch.nn.MultiheadAttention(DIM, HEADS, bias=use_bias, batch_first=True)
    copy_attention(ours, theirs)
    x, memory = tf.constant(X), MEMORY if cross else None
    mask = MEMORY_MASK if cross else MASK
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = ours(x, memory, mask, training=True)
        loss = tf.reduce_sum(tf.sin(outputs))
    their_x = torch.from_numpy(X).requires_grad_()
    their_memory = torch.from_numpy(MEMORY) if cross else their_x
    expected = theirs(
        their_x, their_memory, their_memory, torch.from_numpy(~mask), need_weights=False
    )[0]
    torch.sin(expected).sum().backward()
    np.testing.assert_allclose(outputs, expected.detach(), rtol=0, atol=1e-5)
    got = tape.gradient(loss, [x, ours.output_kernel.value])
    np.testing.assert_allclose(got[0], their_x.grad, rtol=0, atol=2e-5)
    np.testing.assert_allclose(got[1], theirs.out_proj.weight.grad.T, rtol=0, atol=2e-5)


@pytest.mark.parametrize("rotary", [False, True])
def test_steps_give_what_all_at_once_does(rotary):
    layer = build(causal=True, rotary=rotary, use_bias=True)
    whole = layer(X)
    cache = {name: tf.zeros([BATCH, HEADS, LENGTH, DIM // HEADS]) for name in ("keys", "values")}
    for position in range(LENGTH):
        mask = np.broadcast_to(np.arange(LENGTH) <= position, [BATCH, 1, LENGTH])
        step = X[:, position : position + 1]
        outputs, cache = layer.step(tf.constant(step), cache, mask, tf.constant(position))
        np.testing.assert_allclose(outputs[:, 0], whole[:, position], rtol=0, atol=1e-5)


def test_a_memory_is_projected_once():
    layer = build(cross=True)
    keys, values = layer.project_memory(tf.constant(MEMORY))
    mask = tf.constant(MEMORY_MASK)
    outputs, weights = layer.attend_to_memory(tf.constant(X), keys, values, mask)
    expected = layer(X, MEMORY, MEMORY_MASK, return_weights=True)
    np.testing.assert_allclose(outputs, expected[0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(weights, expected[1], rtol=0, atol=1e-6)


def test_rotary_attention_depends_on_distances_alone():
    """Masked positions in front move all others and change nothing."""
    moved = np.concatenate([np.ones_like(X[:, :3]), X], axis=1)
    mask = np.arange(LENGTH + 3) >= 3
    mask = np.broadcast_to(mask, [BATCH, LENGTH + 3])
    for rotary in (True, False):
        layer = build(rotary=rotary)
        np.testing.assert_allclose(
            layer(moved, padding_mask=mask)[:, 3:], layer(X), rtol=0, atol=1e-5
        )
    rotated = build(rotary=True)(X)
    assert np.abs(rotated - build()(X)).max() > 0.01


def test_a_sequence_of_padding_gives_finite_outputs():
    layer = build()
    assert np.isfinite(layer(X, padding_mask=np.zeros([BATCH, LENGTH], bool))).all()


def test_dropout_is_of_the_weights():
    layer = build(dropout=0.5)
    layer.output_kernel.assign(np.eye(DIM))
    kernel = layer.query_key_value_kernel
    kernel.assign(np.concatenate([np.zeros([DIM, 2 * DIM]), np.eye(DIM)], axis=1))
    x = np.eye(DIM, dtype="float32")[None]
    outputs = layer(np.tile(x, [50, 1, 1]), training=True).numpy()
    # Weights are 1/8: half of them become 0 and the others double, in each head.
    assert set(np.unique(outputs.round(6))) == {0.0, 0.25}
    assert 0.45 < (outputs > 0).mean() < 0.55
    np.testing.assert_allclose(layer(x), np.full_like(x, 0.125), atol=1e-6)


def test_precision():
    exact = build()
    for policy, error in (("mixed_bfloat16", 0.05), ("mixed_float16", 0.005), ("float64", 1e-5)):
        keras.config.set_dtype_policy(policy)
        layer = build()
        layer.set_weights(exact.get_weights())
        outputs, weights = layer(X, padding_mask=MASK, return_weights=True)
        assert outputs.dtype == keras.config.dtype_policy().compute_dtype
        assert weights.dtype == ("float64" if policy == "float64" else "float32")
        expected = exact(X, padding_mask=MASK)
        assert np.abs(np.subtract(outputs, expected)).max() < error * np.abs(expected).max()
