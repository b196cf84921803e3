"""What users of Keras expect of every layer: its own test of layers, dtypes, files, arguments."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from modelzoo.models.layers.attention import Attention
from modelzoo.models.layers.attention_lstm import AttentionLSTM, LuongAttention
from modelzoo.models.layers.batch_norm import BatchNorm
from modelzoo.models.layers.dropout import Dropout
from modelzoo.models.layers.layer_norm import LayerNorm
from modelzoo.models.layers.linear import Projection
from modelzoo.models.layers.local_response_norm import LocalResponseNorm
from modelzoo.models.layers.pooling import StepPooling
from modelzoo.models.layers.positions import Positions
from modelzoo.models.layers.recurrent import GRU, LSTM, SimpleRNN
from modelzoo.models.layers.token_embedding import TokenEmbedding
from modelzoo.models.layers.transformer import Block, FeedForward, Stack

RNG = np.random.default_rng(0)
BATCH, LENGTH, DIM = 2, 4, 6
X = RNG.normal(size=(BATCH, LENGTH, DIM)).astype("float32")
TOKENS = np.array([[1, 2], [4, 0]], "int32")
MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], bool)
STATE = np.zeros([BATCH, 3], "float32")
RATES = {"dropout": 0.1, "attention_dropout": 0.1, "ffn_dropout": 0.1}
BLOCK = {"num_heads": 2, "intermediate_dim": 5, "norm": "pre", **RATES}
# By name: class, arguments, inputs of a call.
LAYERS = {
    "attention": (Attention, {"num_heads": 2, "dropout": 0.1, "causal": True}, [X]),
    "rotary": (Attention, {"num_heads": 1, "rotary": True}, [X]),
    "cross": (Attention, {"num_heads": 2, "dropout": 0.1, "cross": True}, [X, X]),
    "luong": (LuongAttention, {}, [X, X, X, MASK]),
    "attention_lstm": (
        AttentionLSTM,
        {"units": 3, "recurrent_dropout": 0.1},
        [X, X, X, MASK, STATE, STATE],
    ),
    "batch_norm": (BatchNorm, {"zero_gamma": True}, [X]),
    "dropout": (Dropout, {"rate": 0.5}, [X]),
    "layer_norm": (LayerNorm, {}, [X]),
    "projection": (Projection, {"units": 3}, [X]),
    "local_response_norm": (LocalResponseNorm, {"size": 3, "alpha": 0.2, "beta": 0.4}, [X]),
    "pooling": (StepPooling, {"kind": "mean_max"}, [X]),
    "attention_pooling": (StepPooling, {"kind": "attention"}, [X]),
    "sinusoids": (Positions, {}, [X]),
    "positions": (Positions, {"kind": "learned", "max_length": 7}, [X]),
    "lstm": (LSTM, {"units": 3, "dropout": 0.1, "recurrent_dropout": 0.1}, [X]),
    "gru": (GRU, {"units": 3, "return_sequences": True}, [X]),
    "rnn": (SimpleRNN, {"units": 3, "return_state": True}, [X]),
    "ffn": (FeedForward, {"intermediate_dim": 5, "activation": "swiglu", "dropout": 0.1}, [X]),
    "block": (Block, BLOCK, [X]),
    "decoder_block": (Block, {**BLOCK, "cross": True, "norm": "post"}, [X, X]),
    "stack": (
        Stack,
        {"num_layers": 2, "block": BLOCK, "positions": "learned", "max_length": 7},
        [X],
    ),
    "decoder": (
        Stack,
        {"num_layers": 1, "block": {**BLOCK, "cross": True}, "positions": "sinusoidal"},
        [X, X],
    ),
    "embedding": (TokenEmbedding, {"vocab_size": 5, "dim": 4}, [TOKENS]),
}


def outputs_of(layer, inputs):
    """The outputs of a call, as float64."""
    return [np.asarray(tf.cast(y, "float64")) for y in tf.nest.flatten(layer(*inputs))]


def set_random(layer):
    rng = np.random.default_rng(1)
    for v in layer.weights:
        v.assign(rng.uniform(0.2, 0.9, v.shape) * rng.choice([-1, 1], v.shape))
        if "variance" in v.name:
            v.assign(np.abs(v.numpy()))


@pytest.mark.parametrize("name", LAYERS)
def test_keras_own_test_of_layers(name):
    testing = pytest.importorskip("keras.src.testing")
    cls, arguments, inputs = LAYERS[name]
    checks = {}
    if len(inputs) > 1:
        # Its training and its mixed precision pass one input.
        checks = {"run_training_check": False, "run_mixed_precision_check": False}
    names = ["memory"] if len(inputs) == 2 else ["keys", "values", "memory_mask"]
    given = dict(zip(names, map(tf.constant, inputs[1:4]), strict=False))
    if len(inputs) > 4:
        # Its build needs all shapes.
        tensors = {"x": X, "keys": X, "values": X, "h": STATE, "c": STATE}
        checks["input_shape"] = {f"{key}_shape": value.shape for key, value in tensors.items()}
        given = {"memory_mask": given["memory_mask"]}
    else:
        checks["input_data"] = tf.constant(inputs[0])
    testing.TestCase().run_layer_test(cls, init_kwargs=arguments, call_kwargs=given, **checks)


@pytest.mark.parametrize("policy", ["float16", "mixed_bfloat16"])
@pytest.mark.parametrize("name", LAYERS)
def test_its_own_dtype_reaches_the_layers_inside(name, policy, tmp_path):
    cls, arguments, inputs = LAYERS[name]
    exact = cls(**arguments, name="layer")
    expected = exact(*inputs)
    set_random(exact)
    expected = outputs_of(exact, inputs)
    layer = cls(**arguments, dtype=policy, name="layer")
    tensors = [keras.Input(x.shape[1:], dtype=x.dtype.name) for x in inputs]
    model = keras.Model(tensors, layer(*tensors))
    layer.set_weights(exact.get_weights())
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras").get_layer("layer")
    for found in (layer, loaded):
        assert {inner.dtype_policy.name for inner in found._flatten_layers()} == {policy}
        first = tf.nest.flatten(found(*inputs))[0]
        assert first.dtype == found.compute_dtype
        tolerance = {"float16": 0.01, "mixed_bfloat16": 0.06}[policy]
        for got, value in zip(outputs_of(found, inputs), expected, strict=True):
            np.testing.assert_allclose(got, value, rtol=0, atol=tolerance * np.abs(value).max())
    for ours, theirs in zip(outputs_of(loaded, inputs), outputs_of(layer, inputs), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda rate: Dropout(rate), "rate"),
        (lambda rate: Attention(2, dropout=rate), "rate"),
        (lambda rate: FeedForward(5, dropout=rate), "rate"),
        (lambda rate: Block(2, 5, dropout=rate), "rate"),
        (lambda rate: Block(2, 5, attention_dropout=rate), "rate"),
        (lambda rate: Block(2, 5, ffn_dropout=rate), "rate"),
        (lambda rate: Stack(1, {**BLOCK, "dropout": rate}, "rotary"), "rate"),
        (lambda rate: AttentionLSTM(3, recurrent_dropout=rate), "recurrent_dropout"),
        *[
            (lambda rate, cls=cls, field=field: cls(3, **{field: rate}), field)
            for cls in (LSTM, GRU, SimpleRNN)
            for field in ("dropout", "recurrent_dropout")
        ],
    ],
)
def test_dropout_rates_are_at_least_0_and_below_1(make, field, rate):
    with pytest.raises(ValueError, match=f"^{field} must be at least 0 and below 1, got {rate}"):
        make(rate)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LSTM(3, unroll=True), "unroll must be False, got True"),
        (lambda: SimpleRNN(3, unroll=True), "unroll must be False, got True"),
        (lambda: GRU(3, implementation=1), "implementation must be 2, got 1"),
        (lambda: GRU(3, reset_after=False), "reset_after must be True, got False"),
        (lambda: LSTM(3, use_cudnn=True), "use_cudnn must be 'auto' or False, got True"),
        (lambda: StepPooling("sum"), 'kind must be "mean" or .* or "attention", got \'sum\''),
        (lambda: Positions("rotary"), 'kind must be "sinusoidal" or "learned", got \'rotary\''),
        (lambda: Positions("learned"), 'max_length must be a number for "learned", got None'),
        (lambda: Positions(max_length=3), 'max_length must be None for "sinusoidal", got 3'),
        (lambda: Block(2, 5, norm="both"), 'norm must be "post" or "pre", got \'both\''),
        (lambda: FeedForward(5, "tanh"), "activation must be \"relu\" or .*, got 'tanh'"),
        (lambda: Attention(2, cross=True, causal=True), "cross must be False with causal or rot"),
        (lambda: Attention(2, cross=True, rotary=True), "cross must be False with causal or rot"),
        (lambda: Attention(4).build((None, None, 6)), "num_heads must divide the width 6, got 4"),
    ],
)
def test_what_would_have_no_effect_is_refused(make, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()


@pytest.mark.parametrize("dtype", ["int32", "uint8", "int64"])
@pytest.mark.parametrize("name", ["lstm", "gru", "rnn", "projection", "layer_norm", "ffn"])
def test_integers_are_the_same_numbers_as_floats(name, dtype):
    cls, arguments, _ = LAYERS[name]
    whole = RNG.integers(0, 9, X.shape).astype(dtype)
    for policy in ("float32", "mixed_bfloat16"):
        layer = cls(**arguments, dtype=policy)
        layer.build(X.shape)
        set_random(layer)
        seeds = [v for v in layer.variables if v.path.endswith("seed_generator_state")]
        before = [v.numpy() for v in seeds]
        for training in (False, True):
            results = []
            for x in (whole, np.float32(whole)):
                for v, value in zip(seeds, before, strict=True):
                    v.assign(value)
                kwargs = {"training": training} if "dropout" in arguments else {}
                results.append(tf.nest.flatten(layer(x, **kwargs)))
            for a, b in zip(*results, strict=True):
                assert a.dtype == layer.compute_dtype
                np.testing.assert_array_equal(a, b)
