import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from named_inputs import NEW_IDS, feed, image, text

from modelzoo.fields.input_specs import ArraySpec, MaskSpec, TokenSpec
from modelzoo.models.layers import recurrent
from modelzoo.models.lstm import LSTM

VOCABULARY = 11
TOKENS = text(VOCABULARY)
SERIES = {"series": ArraySpec("series", (6, 4))}
SMALL = {"embedding_dim": 4, "units": (5, 3)}
TEXTS = np.array([[5, 3, 10, 1, 2, 7], [8, 8, 1, 0, 0, 0], [9, 0, 0, 0, 0, 0], [0] * 6])
LENGTHS = (6, 3, 1, 0)


def build(config, inputs=TOKENS, num_outputs=2, **kwargs):
    """The model with random weights and biases."""
    model = config.build(inputs, num_outputs, **kwargs)
    rng = np.random.default_rng(3)
    for v in model.weights:
        v.assign(rng.normal(0.0, 0.7, v.shape))
    return model


def names(model, kind):
    return [layer.name for layer in model.layers if isinstance(layer, kind)]


@pytest.mark.field("LSTM.bidirectional", "LSTM.units", "LSTM.embedding_dim")
@pytest.mark.parametrize("bidirectional", [False, True])
def test_values_and_gradients_are_torchs(bidirectional):
    model = build(LSTM(**{**SMALL, "units": (3, 3)}, bidirectional=bidirectional))
    embedding = torch.nn.Embedding(VOCABULARY, 4)
    lstm = torch.nn.LSTM(4, 3, 2, batch_first=True, bidirectional=bidirectional)
    head = torch.nn.Linear(6 if bidirectional else 3, 2)
    pairs = [(embedding.weight, "embedding/embeddings"), (head.weight, "logits/kernel")]
    pairs += [(head.bias, "logits/bias")]
    for layer in (1, 2):
        for direction in ("forward", "backward")[: 1 + bidirectional]:
            end = f"l{layer - 1}{'_reverse' if direction == 'backward' else ''}"
            path = f"lstm{layer}_{direction}" if bidirectional else f"lstm{layer}"
            for theirs, ours in (("weight_ih", "kernel"), ("weight_hh", "recurrent_kernel")):
                pairs.append((getattr(lstm, f"{theirs}_{end}"), f"{path}/lstm_cell/{ours}"))
            pairs.append((getattr(lstm, f"bias_ih_{end}"), f"{path}/lstm_cell/bias"))
            getattr(lstm, f"bias_hh_{end}").data.zero_()
    variables = {v.path: v for v in model.trainable_variables}
    assert sorted(variables) == sorted(path for _, path in pairs)

    def turned(array, path):
        return array.T if path.endswith("kernel") else array

    for parameter, path in pairs:
        parameter.data = torch.from_numpy(np.array(turned(variables[path].numpy(), path)))
    texts, lengths = TEXTS[:3], LENGTHS[:3]
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        embedding(torch.from_numpy(texts)), lengths, batch_first=True
    )
    states = lstm(packed)[1][0]
    expected = head(torch.cat(list(states[-2:] if bidirectional else states[-1:]), dim=-1))
    torch.sin(expected).sum().backward()
    sources = [variables[path].value for _, path in pairs]
    with tf.GradientTape() as tape:
        logits = model(feed(texts), training=True)
        loss = tf.reduce_sum(tf.sin(logits))
    gradients = [tf.convert_to_tensor(g).numpy() for g in tape.gradient(loss, sources)]
    np.testing.assert_allclose(logits, expected.detach(), rtol=0, atol=1e-5)
    for (parameter, path), gradient in zip(pairs, gradients, strict=True):
        np.testing.assert_allclose(turned(gradient, path), parameter.grad, rtol=0, atol=1e-5)


@pytest.mark.field("LSTM.cell", "LSTM.pooling", "LSTM.bidirectional")
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", ["last", "mean", "max", "mean_max", "attention", None])
def test_padding_changes_no_output(cell, bidirectional, pooling):
    config = LSTM(**SMALL, cell=cell, bidirectional=bidirectional, pooling=pooling or "last")
    model = build(config, per_token=pooling is None)
    padded = np.pad(TEXTS, ((0, 0), (0, 3)))
    for tokens, length, got, more in zip(
        TEXTS, LENGTHS, model(feed(TEXTS)), model(feed(padded)), strict=True
    ):
        # A text without tokens has one padding token.
        alone = model(feed(tokens[None, : max(length, 1)]))[0]
        for given in (got, more):
            given = given[:length] if pooling is None else given
            np.testing.assert_allclose(given, alone[: len(given)], rtol=0, atol=1e-6)
    assert model(feed(TEXTS)).shape == ((4, 6, 2) if pooling is None else (4, 2))


@pytest.mark.field("LSTM.pooling")
def test_pooling_is_of_the_last_layers_outputs():
    steps = build(LSTM(**SMALL, pooling="mean"), per_token=True)
    outputs = keras.Model(steps.input, steps.get_layer("lstm2").output)(feed(TEXTS)).numpy()
    seen = {
        "last": lambda x: x[-1],
        "mean": lambda x: x.mean(axis=0),
        "max": lambda x: x.max(axis=0),
    }
    for pooling, of in seen.items():
        model = build(LSTM(**SMALL, pooling=pooling))
        model.set_weights(steps.get_weights())
        kernel, bias = (v.numpy() for v in model.get_layer("logits").weights)
        rows = [of(x[:length]) for x, length in zip(outputs[:3], LENGTHS[:3], strict=True)]
        np.testing.assert_allclose(
            model(feed(TEXTS[:3])), np.stack(rows) @ kernel + bias, atol=1e-5
        )
    attention = build(LSTM(**SMALL, pooling="attention"))
    assert [v.shape for v in attention.get_layer("pooling").weights] == [(3, 3), (3,), (3, 1)]


def test_each_steps_logits_depend_on_the_past_alone_in_one_direction():
    for bidirectional in (False, True):
        model = build(LSTM(**SMALL, bidirectional=bidirectional), per_token=True)
        changed = TEXTS[:1].copy()
        changed[0, 4] = 1
        same = np.isclose(model(feed(TEXTS[:1])), model(feed(changed)), rtol=0, atol=1e-7).all(
            axis=-1
        )[0]
        assert same.tolist() == [not bidirectional] * 4 + [False] * 2


# Embedding of 25,002 words: 100; https://github.com/bentrevett's "upgraded" net has 4,810,857
# parameters of which PyTorch's second biases are 2 * 2 * 4 * 256.
@pytest.mark.field("LSTM.embedding_dim", "LSTM.units", "LSTM.bidirectional")
def test_sizes_of_known_nets():
    words = text(25_002)
    config = LSTM(embedding_dim=100, units=(256, 256), bidirectional=True, dropout=0.5)
    assert config.build(words, 1).count_params() == 4_810_857 - 2 * 2 * 4 * 256
    rows = LSTM(units=(128, 128)).build(image(28, 28, 1), 10)
    assert rows.count_params() == 4 * 128 * (28 + 128 + 1 + 128 + 128 + 1) + 128 * 10 + 10
    ten = LSTM(units=(8, 8)).build({"series": ArraySpec("series", (1, 10))}, 1)
    assert ten.count_params() == 4 * 8 * (10 + 8 + 1 + 8 + 8 + 1) + 9


def test_an_image_is_the_series_of_its_rows():
    x = np.random.default_rng(0).normal(size=(2, 6, 2, 2)).astype("float32")
    by_rows = build(LSTM(units=(3,)), image(6, 2, 2))
    series = build(LSTM(units=(3,)), SERIES)
    np.testing.assert_array_equal(by_rows({"image": x}), series({"series": x.reshape(2, 6, 4)}))


@pytest.mark.field("LSTM.cell")
def test_cells_are_the_fast_layers():
    for cell, cls in (
        ("lstm", recurrent.LSTM),
        ("gru", recurrent.GRU),
        ("rnn", recurrent.SimpleRNN),
    ):
        model = LSTM(cell=cell).build(SERIES, 2)
        assert names(model, cls) == [f"{cell}1"]
    bias = LSTM(units=(2,)).build(SERIES, 2).get_layer("lstm1").cell.bias
    np.testing.assert_array_equal(bias, [0, 0, 1, 1, 0, 0, 0, 0])


@pytest.mark.field("LSTM.dense", "LSTM.dropout")
def test_dense_layers_and_places_of_dropout():
    plain = build(LSTM(**SMALL, dense=(7, 6)))
    assert names(plain, keras.layers.Dense) == ["dense1", "dense2", "logits"]
    assert [plain.get_layer(f"dense{k}").units for k in (1, 2)] == [7, 6]
    assert plain.get_layer("dense1").activation is keras.activations.relu
    assert names(plain, keras.layers.Dropout) == []
    model = LSTM(**SMALL, dense=(7,), dropout=0.4).build(TOKENS, 2)
    dropouts = ["embedding_dropout", "lstm1_dropout", "dropout", "dense1_dropout"]
    assert names(model, keras.layers.Dropout) == dropouts
    assert {model.get_layer(name).rate for name in dropouts} == {0.4}
    series = LSTM(units=(5,), dropout=0.4).build(SERIES, 2)
    assert names(series, keras.layers.Dropout) == ["dropout"]


@pytest.mark.field("LSTM.variational", "LSTM.word_dropout")
def test_what_is_dropped_together():
    x = np.ones((3, 50, 8), "float32")
    same = {}
    for variational in (True, False):
        model = LSTM(**SMALL, dropout=0.5, variational=variational).build(TOKENS, 2)
        dropped = model.get_layer("embedding_dropout")(x, training=True).numpy() == 0
        assert 0.2 < dropped.mean() < 0.8
        same[variational] = (dropped == dropped[:, :1]).all()
    assert same == {True: True, False: False}
    model = LSTM(**SMALL, word_dropout=0.3).build(TOKENS, 2)
    dropped = model.get_layer("word_dropout")(x, training=True).numpy() == 0
    assert (dropped == dropped[..., :1]).all()
    assert 0.2 < dropped.mean() < 0.4
    assert not (dropped == dropped[:, :1]).all()


@pytest.mark.field("LSTM.recurrent_dropout", "LSTM.word_dropout", "LSTM.dropout")
@pytest.mark.parametrize("name", ["recurrent_dropout", "word_dropout", "dropout"])
def test_dropout_is_drawn_from_the_models_seeds(name):
    model = build(LSTM(**SMALL, bidirectional=True, **{name: 0.5}))
    weights = {id(v) for v in model.weights}
    seeds = [v for v in model.variables if id(v) not in weights]

    def run(seed):
        values = [(v, tf.constant([seed, k], v.dtype)) for k, v in enumerate(seeds)]
        with keras.StatelessScope(values):
            return model(feed(TEXTS), training=True).numpy()

    np.testing.assert_array_equal(run(1), run(1))
    assert np.abs(run(1) - run(2))[:3].max() > 1e-3
    assert np.abs(run(1) - model(feed(TEXTS)))[:3].max() > 1e-3
    np.testing.assert_array_equal(model(feed(TEXTS)), model(feed(TEXTS)))


def test_compiles_under_xla():
    config = LSTM(embedding_dim=4, units=(3,), cell="gru", bidirectional=True, pooling="attention")
    model = build(config)

    def function(tokens):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.sin(model(feed(tokens), training=True)))
        return tape.gradient(loss, model.get_layer("gru1_backward").cell.kernel.value)

    tokens = tf.constant(TEXTS)
    compiled = tf.function(function, jit_compile=True)(tokens)
    np.testing.assert_allclose(compiled, function(tokens), rtol=0, atol=1e-5)


def test_precision():
    exact = build(LSTM(**SMALL, pooling="mean"))
    for policy, outer in (("mixed_bfloat16", "float32"), ("float64", "float64")):
        keras.config.set_dtype_policy(policy)
        model = build(LSTM(**SMALL, pooling="mean"))
        model.set_weights(exact.get_weights())
        inner = keras.config.dtype_policy().compute_dtype
        assert model.get_layer("lstm1").output.dtype == inner
        assert model(feed(TEXTS)).dtype == outer
        assert {v.dtype for v in model.weights} == {outer}
        error = (
            np.abs(np.subtract(model(feed(TEXTS)), exact(feed(TEXTS)))).max()
            / np.abs(exact(feed(TEXTS))).max()
        )
        assert error < (0.05 if inner == "bfloat16" else 1e-5)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("embedding_dim", 0),
        ("cell", "elman"),
        ("units", ()),
        ("units", (3, 0)),
        ("pooling", "first"),
        ("dense", (0,)),
        ("dropout", 1.0),
        ("recurrent_dropout", -0.1),
        ("word_dropout", 1.0),
    ],
)
def test_impossible_values_are_named(field, value):
    with pytest.raises(ValueError, match=rf"^{field} must .*, got "):
        LSTM(**{field: value})


@pytest.mark.field("LSTM.embedding_dim")
def test_an_embedding_is_for_tokens():
    with pytest.raises(ValueError, match="^embedding_dim must be a number for tokens, got None"):
        LSTM().build(TOKENS, 2)
    with pytest.raises(ValueError, match="^embedding_dim must be None .*, got 4"):
        LSTM(embedding_dim=4).build(SERIES, 2)


@pytest.mark.parametrize(
    ("inputs", "wanted"),
    [
        ({}, "one of kind series or image"),
        ({"audio": ArraySpec("audio", (8,))}, "one of kind series or image"),
        (SERIES | image(2, 2, 1), "one of kind series or image"),
        (TOKENS | SERIES, "one of kind tokens and its mask"),
        ({"tokens": TokenSpec(9, mask="mask")}, "one of kind tokens and its mask"),
        (
            {"tokens": TokenSpec(9, "mask", decoder=True), "mask": MaskSpec()},
            "one of kind tokens and its mask",
        ),
    ],
)
def test_other_inputs_are_refused(inputs, wanted):
    with pytest.raises(ValueError, match=f"^inputs must be {wanted}, got .*: choose"):
        LSTM(**SMALL).build(inputs, 2)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_may_have_any_id(cell, bidirectional):
    """With permuted ids and vectors, where 3 is padding and 0 is a word, all outputs are equal."""
    config = LSTM(**SMALL, cell=cell, bidirectional=bidirectional, pooling="attention")
    model, permuted = build(config), build(config)
    vectors = model.get_layer("embedding").embeddings.numpy()
    permuted.get_layer("embedding").embeddings.assign(vectors[np.argsort(NEW_IDS)])
    np.testing.assert_array_equal(permuted(feed(NEW_IDS[TEXTS], pad=3)), model(feed(TEXTS)))


@pytest.mark.parametrize("names", [["tokens"], ["padding_mask"], ["tokens", "padding_mask", "a"]])
def test_a_call_takes_exactly_the_inputs(names):
    tensors = {**feed(TEXTS), "a": TEXTS}
    with pytest.raises(ValueError, match="padding_mask"):
        build(LSTM(**SMALL))({name: tensors[name] for name in names})


@pytest.mark.field("LSTM.embedding_init_range")
def test_vectors_start_within_their_scale():
    for scale in (0.05, 2.0):
        model = LSTM(**SMALL, embedding_init_range=scale).build(TOKENS, 2)
        vectors = model.get_layer("embedding").embeddings.numpy()
        assert 0.8 * scale < np.abs(vectors).max() <= scale
    with pytest.raises(ValueError, match="embedding_init_range must be above 0, got 0"):
        LSTM(embedding_init_range=0.0)
