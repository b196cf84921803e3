import keras
import numpy as np
import pytest
import tensorflow as tf

from modelzoo.models.layers.attention_lstm import (
    AttentionLSTM,
    LuongAttention,
    attention_lstm_scan,
)

BATCH, STEPS, LENGTH, FEATURES, UNITS, DIM = 3, 4, 5, 2, 3, 6
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 1, 1, 0]], bool)
SHAPES = {
    "x": (BATCH, STEPS, FEATURES),
    "keys": (BATCH, LENGTH, UNITS),
    "values": (BATCH, LENGTH, DIM),
    "h": (BATCH, UNITS),
    "c": (BATCH, UNITS),
}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def given(dtype="float32"):
    arrays = {n: normal(*s, seed=k).astype(dtype) for k, (n, s) in enumerate(SHAPES.items())}
    h, c = arrays.pop("h"), arrays.pop("c")
    return *arrays.values(), MASK, h, c


def make(**kwargs):
    layer = AttentionLSTM(UNITS, name="decoder1", **kwargs)
    layer.build(SHAPES["x"], SHAPES["keys"], SHAPES["values"])
    for number, v in enumerate(layer.weights):
        v.assign(normal(*v.shape, seed=9 + number))
    return layer


def weighted_mean(scores, values, mask):
    """The softmax over the real tokens of one example, and the mean of the values under it."""
    weights = np.where(mask, np.exp(scores - scores.max()), 0.0)
    weights /= weights.sum()
    return weights @ values, weights


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def by_hand(layer, x, keys, values, mask, h, c, drop=1.0):
    """Outputs, context vectors and weights of one example, by the equations in float64."""
    kernel, recurrent, from_context, bias, query, scale = (np.float64(v) for v in layer.weights)
    results = []
    for token in x:
        h = h * drop
        scores = [scale[:, 0] @ np.tanh(h @ query + key) for key in keys]
        context, weights = weighted_mean(np.array(scores), values, mask)
        gates = token @ kernel + h @ recurrent + context @ from_context + bias
        i, f, g, o = np.split(gates, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        results.append((h, context, weights))
    return [np.stack(part) for part in zip(*results, strict=True)]


def test_luong_attention_is_the_equations():
    queries = normal(BATCH, STEPS, UNITS)
    _, keys, values, *_ = given()
    context, weights = LuongAttention()(np.float32(queries), keys, values, MASK)
    for n in range(BATCH):
        for t in range(STEPS):
            scores = np.array([queries[n, t] @ key for key in keys[n]])
            expected = weighted_mean(scores, values[n], MASK[n])
            np.testing.assert_allclose(context[n, t], expected[0], rtol=0, atol=1e-5)
            np.testing.assert_allclose(weights[n, t], expected[1], rtol=0, atol=1e-5)
    assert (weights.numpy()[np.broadcast_to(~MASK[:, None], weights.shape)] == 0).all()


def test_attention_lstm_is_the_equations():
    layer, arrays = make(), given()
    results = layer(*arrays)
    for n in range(BATCH):
        for got, expected in zip(results, by_hand(layer, *(a[n] for a in arrays)), strict=True):
            np.testing.assert_allclose(got[n], expected, rtol=0, atol=1e-5)
    one = keras.ops.zeros(4 * UNITS).numpy()
    one[UNITS : 2 * UNITS] = 1
    fresh = AttentionLSTM(UNITS)
    fresh(*arrays)
    np.testing.assert_array_equal(fresh.bias, one)


def test_steps_are_the_loop():
    layer, (x, *source, h, c) = make(), given()
    outputs, contexts, weights = layer(x, *source, h, c)
    # Two sequences of each example; the second is another example's.
    x2, h, c = (np.stack([a, a[::-1]], axis=1) for a in (x, h, c))
    for t in range(STEPS):
        h, c, context, step_weights = layer.step(tf.constant(x2[:, :, t]), *source, h, c)
        for got, expected in ((h, outputs), (context, contexts), (step_weights, weights)):
            np.testing.assert_allclose(got[:, 0], expected[:, t], rtol=0, atol=1e-6)
    assert np.abs(h[:, 1] - outputs[::-1, -1])[[0, 2]].max() > 1e-3


@pytest.mark.parametrize("dropped", [False, True])
def test_gradients_are_the_slopes(dropped):
    layer = make()
    kernel, recurrent, from_context, bias, query, scale = (np.float64(v) for v in layer.weights)
    x, keys, values, mask, h, c = given("float64")
    drop = tf.constant(np.float64(normal(BATCH, UNITS) > 0) * 2) if dropped else None
    start = [x.transpose(1, 0, 2) @ kernel + bias, np.hstack([recurrent, query]), from_context]
    start = [tf.constant(a) for a in (*start, scale, keys, values, h, c)]
    upstream = [normal(STEPS, BATCH, size, seed=3) for size in (UNITS, DIM)]

    @tf.function(autograph=False)
    def loss(*arrays):
        results = attention_lstm_scan(*arrays, memory_mask=tf.constant(mask), drop=drop)
        return sum(tf.reduce_sum(a * b) for a, b in zip(results[:2], upstream, strict=True))

    with tf.GradientTape() as tape:
        tape.watch(start)
        value = loss(*start)
    gradients = tape.gradient(value, start)
    for k, gradient in enumerate(gradients):
        way = normal(*start[k].shape, seed=k)
        ends = [[*start[:k], start[k] + e * way, *start[k + 1 :]] for e in (1e-5, -1e-5)]
        slope = (loss(*ends[0]) - loss(*ends[1])) / 2e-5
        np.testing.assert_allclose(np.sum(gradient * way), slope, rtol=1e-7, atol=1e-8)


def test_recurrent_dropout_drops_the_same_of_all_steps():
    layer, arrays = make(recurrent_dropout=0.5), given()
    weights = {id(v) for v in layer.weights}
    (seed,) = (v for v in layer.variables if id(v) not in weights)

    def draw(number):
        values = tf.constant([number, 1], seed.dtype)
        with keras.StatelessScope([(seed, values)]):
            outputs = layer(*arrays, training=True)[0]
        with keras.StatelessScope([(seed, values)]):
            return outputs, layer.drop(np.ones((BATCH, UNITS), "float32"), training=True).numpy()

    draws = [draw(number) for number in range(2)]
    assert (draws[0][1] != draws[1][1]).any()
    for outputs, drop in draws:
        assert set(drop.ravel()) == {0.0, 2.0}
        for n in range(BATCH):
            expected = by_hand(layer, *(a[n] for a in arrays), drop=drop[n])[0]
            np.testing.assert_allclose(outputs[n], expected, rtol=0, atol=1e-5)
    undropped = make()(*arrays, training=True)[0]
    np.testing.assert_array_equal(layer(*arrays, training=False)[0], undropped)


def test_precision():
    exact = make()(*given())
    for policy, inner, outer in (
        ("mixed_bfloat16", "bfloat16", "float32"),
        ("float64", "float64", "float64"),
    ):
        keras.config.set_dtype_policy(policy)
        results = make()(*given())
        assert [r.dtype for r in results] == [inner, inner, outer]
        for got, expected in zip(results, exact, strict=True):
            error = np.abs(tf.cast(got, "float64") - tf.cast(expected, "float64")).max()
            assert error < (0.05 if inner == "bfloat16" else 1e-5)
