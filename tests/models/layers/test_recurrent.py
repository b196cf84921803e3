import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

from modelzoo.models.layers import recurrent
from modelzoo.models.layers.recurrent import GRU, LSTM, SimpleRNN

KINDS = {"LSTM": LSTM, "GRU": GRU, "SimpleRNN": SimpleRNN}
BATCH, LENGTH, FEATURES, UNITS = 4, 6, 3, 5


def inputs(*shape, seed=0):
    shape = shape or (BATCH, LENGTH, FEATURES)
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def make(cls, **kwargs):
    """A layer that returns all, with random weights that depend on their shapes alone."""
    layer = cls(UNITS, return_sequences=True, return_state=True, **kwargs)
    layer.build((None, None, FEATURES))
    for number, v in enumerate(layer.weights):
        v.assign(0.7 * inputs(*v.shape, seed=number))
    return layer


def run(layer, x, training=True, **kwargs):
    """Output, states and the gradients of x, the initial state and all weights."""
    states = kwargs.pop("initial_state", [])

    def function(x, *states):
        with tf.GradientTape() as tape:
            tape.watch([x, *states])
            given = {"initial_state": list(states)} if states else {}
            results = layer(x, training=training, **given, **kwargs)
            loss = tf.add_n([tf.reduce_sum(tf.sin(tf.cast(y, "float32"))) for y in results])
        sources = [x, *states, *(v.value for v in layer.weights)]
        return [*results, *tape.gradient(loss, sources)]

    return tf.function(function, autograph=False)(tf.constant(x), *map(tf.constant, states))


def assert_close(ours, theirs, tolerance=1e-5):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        scale = max(1.0, np.abs(b).max())
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_values_and_gradients_are_keras(kind, backwards, masked):
    mask, states = None, []
    if not masked:
        states = [inputs(BATCH, UNITS, seed=7 + k) for k in range(2 if kind == "LSTM" else 1)]
    else:
        mask = np.random.default_rng(0).random((BATCH, LENGTH)) > 0.4
        mask[0] = False
    results = [
        run(make(cls, go_backwards=backwards), inputs(), mask=mask, initial_state=states)
        for cls in (KINDS[kind], getattr(keras.layers, kind))
    ]
    assert_close(*results)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("masked", [False, True])
def test_halves_of_a_batch_give_what_the_whole_does(kind, masked):
    batch = 33
    mask = np.random.default_rng(0).random((batch, LENGTH)) > 0.4 if masked else None
    states = [inputs(batch, UNITS, seed=7 + k) for k in range(2 if kind == "LSTM" else 1)]
    options = {"seed": 3, "recurrent_dropout": 0.5, "dtype": "mixed_bfloat16"}
    results, loops = [], []
    for halves in (True, False):
        layer = make(KINDS[kind], halves=halves, **options)
        result = run(layer, inputs(batch, LENGTH, FEATURES), mask=mask, initial_state=states)
        results.append([np.float64(value) for value in result])
        function = tf.function(layer).get_concrete_function(inputs(batch, LENGTH, FEATURES))
        loops.append(sum("While" in node.op for node in function.graph.as_graph_def().node))
    assert_close(*results, 0.02)
    assert loops == [2, 1]
    assert not KINDS[kind].from_config(make(KINDS[kind], halves=False).get_config()).halves


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_the_equations(kind):
    layer, x = make(KINDS[kind]), np.float64(inputs())
    kernel, recurrent_kernel, bias = (np.float64(v) for v in layer.weights)

    def sigmoid(x):
        return 1.0 / (1.0 + np.exp(-x))

    h = c = np.zeros((BATCH, UNITS))
    outputs = []
    for t in range(LENGTH):
        if kind == "LSTM":
            i, f, g, o = np.split(x[:, t] @ kernel + h @ recurrent_kernel + bias, 4, axis=1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        elif kind == "GRU":
            xz, xr, xh = np.split(x[:, t] @ kernel + bias[0], 3, axis=1)
            hz, hr, hh = np.split(h @ recurrent_kernel + bias[1], 3, axis=1)
            z = sigmoid(xz + hz)
            h = z * h + (1 - z) * np.tanh(xh + sigmoid(xr + hr) * hh)
        else:
            h = np.tanh(x[:, t] @ kernel + h @ recurrent_kernel + bias)
        outputs.append(h)
    np.testing.assert_allclose(layer(x)[0], np.stack(outputs, 1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_are_torchs(kind):
    layer = make(KINDS[kind])
    theirs = getattr(torch.nn, "RNN" if kind == "SimpleRNN" else kind)(
        FEATURES, UNITS, batch_first=True
    )
    # PyTorch has the GRU's gates in the order reset, update, new.
    order = [1, 0, 2] if kind == "GRU" else list(range(layer.weights[0].shape[1] // UNITS))

    def reordered(array):
        return np.concatenate([np.split(array, len(order), axis=-1)[k] for k in order], axis=-1)

    def as_torch(kernel, recurrent_kernel, bias):
        bias = bias if bias.ndim == 2 else np.stack([bias, 0 * bias])
        return [reordered(a) for a in (kernel, recurrent_kernel, bias[0], bias[1])]

    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    parameters = [getattr(theirs, name) for name in names]
    with torch.no_grad():
        for p, value in zip(parameters, as_torch(*(v.numpy() for v in layer.weights)), strict=True):
            p.copy_(torch.from_numpy(value.T))
    x = torch.tensor(inputs(), requires_grad=True)
    y, states = theirs(x)
    states = [state[0] for state in (states if kind == "LSTM" else [states])]
    sum(torch.sin(value).sum() for value in (y, *states)).backward()
    expected = [value.detach().numpy() for value in (y, *states, x.grad)]
    *ours, kernel, recurrent_kernel, bias = map(np.array, run(layer, inputs()))
    assert_close(ours, expected)
    gradients = as_torch(kernel, recurrent_kernel, bias)
    count = 4 if kind == "GRU" else 3
    assert_close([g.T for g in gradients[:count]], [p.grad.numpy() for p in parameters[:count]])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backwards", [False, True])
def test_padding_changes_no_output(kind, backwards):
    layer = make(KINDS[kind], go_backwards=backwards)
    x = inputs()
    mask = np.array([[1, 1, 0, 1, 1, 0]] * BATCH, bool)
    expected, *states = layer(x[:, mask[0]])
    for filling in (0.0, 1e3):
        y, *others = layer(np.where(mask[..., None], x, np.float32(filling)), mask=mask)
        order = mask[:, ::-1] if backwards else mask
        np.testing.assert_allclose(y.numpy()[:, order[0]], expected, atol=1e-6)
        assert_close(others, states, 1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_bidirectional_is_keras(kind):
    results = []
    for cls in (KINDS[kind], getattr(keras.layers, kind)):
        layer = keras.layers.Bidirectional(cls(UNITS, return_sequences=True))
        layer.build((None, LENGTH, FEATURES))
        for number, v in enumerate(layer.weights):
            v.assign(inputs(*v.shape, seed=number))
        mask = np.arange(LENGTH) < np.array([[6], [2], [1], [0]])
        results.append(layer(inputs(), mask=mask))
    assert results[0].shape == (BATCH, LENGTH, 2 * UNITS)
    assert_close(results[:1], results[1:])


@pytest.mark.parametrize("kind", KINDS)
def test_compiles_under_xla(kind):
    layer = make(KINDS[kind])
    mask = np.arange(LENGTH) < np.array([[6], [2], [1], [0]])

    def function(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.sin(layer(x, mask=mask, training=True)[0]))
        return [loss, *tape.gradient(loss, [v.value for v in layer.weights])]

    x = tf.constant(inputs())
    assert_close(tf.function(function, jit_compile=True)(x), function(x))


@pytest.mark.parametrize("kind", KINDS)
def test_lengths_may_be_unknown_and_gradients_are_there_without_training(kind):
    layer = make(KINDS[kind])
    traces = []

    @tf.function(input_signature=[tf.TensorSpec([None, None, FEATURES])])
    def gradients(x):
        traces.append(x)
        with tf.GradientTape() as tape:
            loss = tf.add_n([tf.reduce_sum(tf.sin(y)) for y in layer(x, training=False)])
        return [loss, *tape.gradient(loss, [v.value for v in layer.weights])]

    for length in (1, LENGTH):
        x = inputs()[:, :length]
        results = run(layer, x)
        assert_close(gradients(x)[1:], results[-len(layer.weights) :])
    assert len(traces) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_precision(kind):
    results = {}
    for policy in ("float32", "float64", "mixed_bfloat16"):
        results[policy] = run(make(KINDS[kind], dtype=policy), inputs())
    assert {r.dtype for r in results["float64"][:-4]} == {tf.float64}
    assert results["mixed_bfloat16"][0].dtype == "bfloat16"
    exact = [np.float64(r) for r in results["float64"]]
    assert_close(results["float32"], exact)
    assert_close([np.float64(r) for r in results["mixed_bfloat16"]], exact, 0.03)


def test_the_states_are_float32_under_bfloat16():
    layer = LSTM(1, dtype="mixed_bfloat16")
    layer.build((None, None, 1))
    # Every gate is open, and each step adds 1 / 1024 to the cell's state.
    layer.cell.kernel.assign([[0.0, 0.0, 1 / 1024, 0.0]])
    layer.cell.recurrent_kernel.assign(np.zeros([1, 4]))
    layer.cell.bias.assign([20.0, 20.0, 0.0, 20.0])
    # In bfloat16 nothing this small would be added to more than 1 / 4.
    assert float(layer(np.ones([1, 1024, 1]))[0, 0]) == pytest.approx(np.tanh(1.0), abs=0.01)


def test_weights_are_those_of_a_stateless_scope():
    layer, x = make(LSTM), inputs()
    values = [tf.constant(0.5 * v.numpy()) for v in layer.weights]
    for _ in range(2):
        with tf.GradientTape() as tape:
            tape.watch(values)
            with keras.StatelessScope(list(zip(layer.weights, values, strict=True))):
                results = layer(x, training=True)
            loss = tf.add_n([tf.reduce_sum(tf.sin(y)) for y in results])
        found = [*results, *tape.gradient(loss, values)]
    for v, value in zip(layer.weights, values, strict=True):
        v.assign(value)
    expected = run(layer, x)
    assert_close(found, [*expected[:3], *expected[4:]])


def test_input_and_recurrent_dropout_are_keras():
    for options in ({"dropout": 0.5}, {"recurrent_dropout": 0.5}):
        results = [
            run(make(cls, seed=3, dtype="float64", **options), inputs())
            for cls in (SimpleRNN, keras.layers.SimpleRNN)
        ]
        assert_close(*results)
        assert np.abs(results[0][0].numpy() - make(SimpleRNN)(inputs())[0]).max() > 0.1
    results = [
        make(c, seed=3, dropout=0.5)(inputs(), training=True) for c in (LSTM, keras.layers.LSTM)
    ]
    assert_close(*results)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_all_gates_and_steps_share_one_recurrent_dropout_mask(kind):
    layer = make(KINDS[kind], recurrent_dropout=0.5, seed=3)
    state = inputs(BATCH, UNITS)
    mask = layer.cell.get_recurrent_dropout_mask(tf.constant(state)).numpy()
    assert set(np.unique(mask)) == {0.0, 2.0}
    layer.cell.reset_recurrent_dropout_mask()
    layer.cell.seed_generator.state.assign(keras.random.SeedGenerator(3).state)
    first = layer(inputs()[:, :2], training=True)[0]
    # With the mask on its output, the first step gives the second its input of the state.
    plain = make(KINDS[kind])
    h, *states = plain(inputs()[:, :1])[1:]
    if kind == "LSTM":
        second = plain(inputs()[:, 1:2], initial_state=[h * mask, *states])[1]
        np.testing.assert_allclose(first[:, 1], second, atol=1e-6)
    else:
        # The update gate carries the state as it is.
        x, kernel, bias = inputs()[:, 1] @ plain.cell.kernel, plain.cell.recurrent_kernel, None
        bias = plain.cell.bias
        seen = (h * mask) @ kernel + bias[1]
        np.testing.assert_allclose(first[:, 1], plain._step(x + bias[0], seen, [h])[0], atol=1e-6)
    np.testing.assert_allclose(layer(inputs())[0], plain(inputs())[0], atol=1e-6)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_gpu_is_left_to_keras_where_cudnn_can(monkeypatch, kind):
    # Without a GPU, Keras answers with its plain loop.
    layer, x = make(KINDS[kind]), inputs()
    right = np.arange(LENGTH) < np.array([[6], [2], [1], [5]])
    masks = {True: [None, right], False: [right[:, ::-1], right & (right.sum(1) > 1)[:, None]]}
    expected = {fits: [layer(x, mask=mask) for mask in masks[fits]] for fits in masks}
    gradients = run(layer, x, mask=right)
    used = []
    cls = getattr(keras.layers, kind)
    theirs = cls.inner_loop
    monkeypatch.setattr(cls, "inner_loop", lambda *args: used.append(args) or theirs(*args))
    layer(x)
    assert not used
    monkeypatch.setattr(recurrent, "on_gpu", lambda: True)
    for fits, results in expected.items():
        for mask, result in zip(masks[fits], results, strict=True):
            used.clear()
            assert_close(layer(x, mask=mask), result)
            assert bool(used) == fits
    assert_close(run(layer, x, mask=right), gradients)
    used.clear()
    layer.use_cudnn = False
    layer(x)
    make(KINDS[kind], recurrent_dropout=0.5)(x, training=True)
    assert not used
