import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

from modelzoo.decoding.config import Decoding
from modelzoo.decoding.search import search
from modelzoo.fields.input_specs import PairTokens
from modelzoo.models.lstm_seq2seq import LSTMSeq2Seq

PAIR = PairTokens(source_vocab=9, target_vocab=9, shared=True, source_length=6, target_length=5)
SMALL = {"embedding_dim": 4, "units": 3, "encoder_layers": 2, "decoder_layers": 2}
KINDS = {
    "luong": {"attention": "luong"},
    "luong_dot": {"attention": "luong_dot", "bidirectional": False},
    "bahdanau": {"attention": "bahdanau"},
}
SOURCE = np.array([[5, 3, 7, 1, 2, 8], [6, 2, 8, 0, 0, 0], [8, 0, 0, 0, 0, 0]], "int32")
TARGET = np.array([[8, 3, 7, 1, 2], [8, 6, 0, 0, 0], [8, 1, 4, 2, 0]], "int32")
BOTH = {"source": SOURCE, "target": TARGET}
LENGTHS = (6, 3, 1)


def build(config, spec=PAIR):
    """The model with random weights, biases too."""
    model = config.build(spec, spec.target_vocab)
    rng = np.random.default_rng(3)
    for v in model.weights:
        v.assign(rng.normal(0.0, 0.7, v.shape))
    return model


@pytest.fixture(params=KINDS)
def model(request):
    return build(LSTMSeq2Seq(**SMALL, **KINDS[request.param]))


def decoded(model, source, target, step=None, **kwargs):
    """Logits of each position, from cached steps, `[n, k, length, vocabulary]`; and the state.

    target: `[n, k, length]`.
    """
    step = step or model.step
    state = model.start(tf.constant(source), target.shape[1], target.shape[2], **kwargs)
    logits = []
    for t in range(target.shape[2]):
        new, state = step(tf.constant(target[:, :, t]), state)
        logits.append(new)
    return np.stack(logits, axis=2), state


def in_torch(weights, config):
    """The logits of `BOTH` in PyTorch, of weights by path; its LSTM reads the source."""
    units, directions = config.units, 2 if config.bidirectional else 1
    lstm = torch.nn.LSTM(
        config.embedding_dim,
        units,
        config.encoder_layers,
        batch_first=True,
        bidirectional=config.bidirectional,
        dtype=torch.float64,
    )
    copied = {}
    for number in range(config.encoder_layers):
        for direction in range(directions):
            end = f"l{number}{'_reverse' * direction}"
            side = ("_forward", "_backward")[direction] if config.bidirectional else ""
            cell = f"encoder{number + 1}{side}/lstm_cell"
            copied[f"weight_ih_{end}"] = weights[f"{cell}/kernel"].T
            copied[f"weight_hh_{end}"] = weights[f"{cell}/recurrent_kernel"].T
            copied[f"bias_ih_{end}"] = weights[f"{cell}/bias"]
            copied[f"bias_hh_{end}"] = torch.zeros(4 * units, dtype=torch.float64)

    def embed(side, tokens):
        shared = weights.get("embedding/embeddings")
        matrix = weights[f"{side}_embedding/embeddings"] if shared is None else shared
        return matrix[torch.from_numpy(tokens).long()] * config.embedding_dim**0.5, matrix

    x = torch.nn.utils.rnn.pack_padded_sequence(
        embed("source", SOURCE)[0], LENGTHS, batch_first=True
    )
    packed, states = torch.func.functional_call(lstm, copied, (x,))
    values, _ = torch.nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)
    keys = values @ weights["keys/kernel"] if "keys/kernel" in weights else values
    target, matrix = embed("target", TARGET)
    hidden = []
    for k in range(config.decoder_layers):
        # The last states of both directions, side by side.
        own = [
            s.reshape(-1, directions, len(SOURCE), units)[min(k, config.encoder_layers - 1)]
            for s in states
        ]
        own = [torch.cat(list(s), dim=-1) for s in own]
        name = f"decoder{k + 1}"
        starts = [
            s @ weights[f"{name}_{n}/kernel"] + weights[f"{name}_{n}/bias"]
            for s, n in zip(own, "hc", strict=True)
        ]
        hidden.append([torch.tanh(starts[0]), starts[1]])

    def attend(scores):
        scores = scores.masked_fill(torch.from_numpy(SOURCE == 0), -torch.inf)
        return (torch.softmax(scores, dim=-1)[:, :, None] * values).sum(dim=1)

    logits = []
    for t in range(TARGET.shape[1]):
        x = target[:, t]
        for k, states in enumerate(hidden):
            name = f"decoder{k + 1}"
            cell = {
                v.removeprefix(f"{name}/").removeprefix("lstm_cell/"): w
                for v, w in weights.items()
                if v.startswith(f"{name}/")
            }
            ih, seen = cell["kernel"].T, x
            if "query_kernel" in cell:
                query = (states[0] @ cell["query_kernel"])[:, None]
                context = attend((torch.tanh(query + keys) @ cell["scale"])[..., 0])
                ih = torch.cat([ih, cell["context_kernel"].T], dim=1)
                seen = torch.cat([x, context], dim=1)
            states[:] = torch.lstm_cell(
                seen, states, ih, cell["recurrent_kernel"].T, cell["bias"], 0 * cell["bias"]
            )
            x = states[0]
        if config.attention != "bahdanau":
            context = attend((x[:, None] * keys).sum(dim=-1))
        x = torch.tanh(torch.cat([context, x], dim=1) @ weights["attentional/kernel"])
        if config.share_embeddings == "none":
            logits.append(x @ weights["logits/kernel"] + weights["logits/bias"])
        else:
            logits.append(x @ matrix.T)
    return torch.stack(logits, dim=1)


@pytest.mark.field(
    "LSTMSeq2Seq.attention",
    "LSTMSeq2Seq.bidirectional",
    "LSTMSeq2Seq.encoder_layers",
    "LSTMSeq2Seq.decoder_layers",
    "LSTMSeq2Seq.share_embeddings",
)
@pytest.mark.parametrize(
    ("kind", "share", "depths"),
    [
        ("luong", "none", (2, 2)),
        ("luong", "all", (1, 2)),
        ("luong_dot", "target", (2, 1)),
        ("bahdanau", "none", (1, 1)),
        ("bahdanau", "target", (2, 2)),
    ],
)
def test_values_and_gradients_are_torchs(kind, share, depths):
    keras.config.set_dtype_policy("float64")
    config = LSTMSeq2Seq(
        embedding_dim=4,
        units=3,
        encoder_layers=depths[0],
        decoder_layers=depths[1],
        share_embeddings=share,
        **KINDS[kind],
    )
    model = build(config)
    weights = {v.path: torch.tensor(v.numpy(), requires_grad=True) for v in model.weights}
    expected = in_torch(weights, config)
    torch.sin(expected).sum().backward()
    with tf.GradientTape() as tape:
        logits = model(BOTH, training=True)
        loss = tf.reduce_sum(tf.sin(logits))
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    np.testing.assert_allclose(logits, expected.detach(), rtol=0, atol=1e-9)
    for v, gradient in zip(model.trainable_variables, gradients, strict=True):
        gradient = tf.convert_to_tensor(gradient)
        np.testing.assert_allclose(gradient, weights[v.path].grad, rtol=0, atol=1e-9)


def test_cached_steps_are_the_whole(model):
    # Three sequences of each source, which must not see each other.
    rng = np.random.default_rng(0)
    target = rng.integers(1, 9, (3, 3, 5), "int32")
    logits, state = decoded(model, SOURCE, target)
    assert state["position"] == 5
    for k in range(3):
        whole = model({"source": SOURCE, "target": target[:, k]})
        np.testing.assert_allclose(logits[:, k], whole, rtol=0, atol=1e-5)


def test_sequences_go_on_from_others(model):
    """What a search does: sequences are continued from others, examples leave."""
    target = np.random.default_rng(0).integers(1, 9, (3, 2, 5), "int32")
    state = decoded(model, SOURCE, target[:, :, :3])[1]
    state["rows"] = {name: tf.gather(x, [1, 1], axis=1) for name, x in state["rows"].items()}
    for part in ("shared", "rows"):
        state[part] = {name: tf.gather(x, [2, 0]) for name, x in state[part].items()}
    logits, _ = model.step(tf.constant(target[[2, 0], :, 3]), state)
    for k in range(2):
        tokens = np.concatenate([target[[2, 0], 1, :3], target[[2, 0], k, 3:4]], axis=1)
        whole = model({"source": SOURCE[[2, 0]], "target": tokens})
        np.testing.assert_allclose(logits[:, k], whole[:, -1], rtol=0, atol=1e-5)


def test_padding_changes_no_output(model):
    whole = model(BOTH)
    longer = {name: np.pad(tokens, ((0, 0), (0, 3))) for name, tokens in BOTH.items()}
    np.testing.assert_allclose(model(longer)[:, :5], whole, rtol=0, atol=1e-6)
    for n, length in enumerate(LENGTHS):
        alone = model({"source": SOURCE[n : n + 1, :length], "target": TARGET[n : n + 1]})
        np.testing.assert_allclose(whole[n], alone[0], rtol=0, atol=1e-6)
    # A source that is nothing but padding, as in the rows that fill a batch.
    assert np.isfinite(model({"source": 0 * SOURCE, "target": TARGET})).all()


def test_no_position_sees_the_future(model):
    changed = TARGET.copy()
    changed[:, 3] = 5
    same = np.isclose(model(BOTH), model({**BOTH, "target": changed}), rtol=0, atol=1e-7)
    assert same.all(axis=-1).tolist() == [[True] * 3 + [False] * 2] * 3


def test_attention_and_coverage(model):
    cross = model.attention(SOURCE, TARGET)["cross"]
    assert cross.shape == (3, 1, 1, 5, 6)
    weights = np.array(cross[:, 0, 0])
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=0, atol=1e-6)
    assert (weights[np.broadcast_to(SOURCE[:, None] == 0, weights.shape)] == 0).all()
    assert np.ptp(weights[0], axis=0).max() > 1e-3
    _, state = decoded(model, SOURCE, np.stack([TARGET, TARGET[::-1]], axis=1), coverage=True)
    coverage = state["rows"]["coverage"]
    assert coverage.shape == (3, 2, 6)
    np.testing.assert_allclose(coverage[:, 0], weights.sum(axis=1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("attention", ["luong", "bahdanau"])
def test_compiles_under_xla(attention):
    model = build(LSTMSeq2Seq(embedding_dim=4, units=3, bidirectional=False, attention=attention))

    def loss_and_gradients(source, target):
        with tf.GradientTape() as tape:
            logits = model({"source": source, "target": target}, training=True)
            loss = tf.reduce_sum(tf.sin(logits))
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        return [loss, *map(tf.convert_to_tensor, gradients)]

    arrays = tf.constant(SOURCE), tf.constant(TARGET)
    compiled = tf.function(loss_and_gradients, jit_compile=True)(*arrays)
    for got, expected in zip(compiled, tf.function(loss_and_gradients)(*arrays), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)
    step = tf.function(model.step, jit_compile=True)
    logits, _ = decoded(model, SOURCE, TARGET[:, None], step)
    np.testing.assert_allclose(logits[:, 0], model(BOTH), rtol=0, atol=1e-5)


def test_runs_in_a_loop_of_any_lengths(model):
    """In a graph that knows neither the number of examples nor the length."""
    free = tf.TensorSpec((None, None), "int32")

    @tf.function(input_signature=[free, free])
    def last(source, target):
        state = model.start(source, 2, 7, coverage=True)
        logits = tf.zeros((tf.shape(source)[0], 2, 9))

        def body(t, logits, state):
            return t + 1, *model.step(tf.repeat(target[:, t, None], 2, axis=1), state)

        return tf.while_loop(lambda t, *_: t < tf.shape(target)[1], body, (0, logits, state))[1]

    for length in (2, 5):
        whole = model({"source": SOURCE, "target": TARGET[:, :length]})
        for k in range(2):
            got = last(SOURCE, TARGET[:, :length])[:, k]
            np.testing.assert_allclose(got, whole[:, -1], rtol=0, atol=1e-5)


def test_is_searched(model):
    def found(leave, **fields):
        decoding = Decoding(**fields)
        state = model.start(tf.constant(SOURCE), decoding.beams, 6, coverage=True)
        real = tf.constant(SOURCE != 0)
        return search(
            model, state, decoding, start=8, end=8, capacity=6, source_real=real, leave=leave
        )

    # Greedy: what the whole says is best, token by token, but never padding.
    tokens = np.full((3, 1), 8)
    for _ in range(5):
        last = model({"source": SOURCE, "target": tokens})[:, -1, 1:]
        tokens = np.concatenate([tokens, 1 + np.argmax(last, axis=-1)[:, None]], axis=1)
    for row, got in zip(tokens[:, 1:], found(leave=False).tokens[:, 0].numpy(), strict=True):
        ended = np.flatnonzero(row == 8)
        length = ended[0] + 1 if len(ended) else 5
        np.testing.assert_array_equal(got[:length], row[:length])
    fields = {"beams": 3, "n_best": 2, "length_penalty": 0.6, "coverage_penalty": 0.4}
    static = tf.function(lambda: found(leave=False, **fields))()
    moving = tf.function(lambda: found(leave=True, **fields))()
    np.testing.assert_allclose(moving.scores, static.scores, rtol=0, atol=1e-5)
    longest = moving.tokens.shape[2]
    np.testing.assert_array_equal(moving.tokens, static.tokens[:, :, :longest])


def test_weights_are_those_of_the_scope(model):
    other = [0.5 * v.numpy() for v in model.weights]
    before = model(BOTH)
    with keras.StatelessScope(
        [(v, tf.constant(a)) for v, a in zip(model.weights, other, strict=True)]
    ):
        whole = model(BOTH)
        logits, _ = decoded(model, SOURCE, TARGET[:, None])
        cross = model.attention(SOURCE, TARGET)["cross"]
    np.testing.assert_array_equal(model(BOTH), before)
    model.set_weights(other)
    np.testing.assert_allclose(whole, model(BOTH), rtol=0, atol=1e-6)
    np.testing.assert_allclose(logits[:, 0], whole, rtol=0, atol=1e-5)
    np.testing.assert_allclose(cross, model.attention(SOURCE, TARGET)["cross"], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_precision(kind):
    config = LSTMSeq2Seq(**SMALL, **KINDS[kind])
    exact = build(config)
    for policy, outer in (("mixed_bfloat16", "float32"), ("float64", "float64")):
        keras.config.set_dtype_policy(policy)
        model = build(config)
        inner = keras.config.dtype_policy().compute_dtype
        tolerance = 0.1 if inner == "bfloat16" else 1e-5
        logits, state = decoded(model, SOURCE, TARGET[:, None], coverage=True)
        assert model(BOTH).dtype == inner and logits.dtype == outer
        assert {v.dtype for v in model.weights} == {outer}
        assert state["rows"]["coverage"].dtype == "float32"
        for got in (logits[:, 0], tf.cast(model(BOTH), "float64")):
            assert np.abs(np.subtract(got, exact(BOTH))).max() < tolerance


@pytest.mark.field("LSTMSeq2Seq.dropout", "LSTMSeq2Seq.recurrent_dropout")
@pytest.mark.parametrize("name", ["dropout", "recurrent_dropout"])
@pytest.mark.parametrize("kind", KINDS)
def test_dropout_is_drawn_from_the_models_seeds(kind, name):
    model = build(LSTMSeq2Seq(**SMALL, **KINDS[kind], **{name: 0.5}))
    weights = {id(v) for v in model.weights}
    seeds = [v for v in model.variables if id(v) not in weights]

    def run(seed):
        values = [(v, tf.constant([seed, k], v.dtype)) for k, v in enumerate(seeds)]
        with keras.StatelessScope(values):
            return model(BOTH, training=True).numpy()

    np.testing.assert_array_equal(run(1), run(1))
    assert np.abs(run(1) - run(2)).max() > 1e-3
    np.testing.assert_array_equal(model(BOTH), model(BOTH))


@pytest.mark.field("LSTMSeq2Seq.dropout")
def test_places_of_dropout():
    model = LSTMSeq2Seq(**SMALL, dropout=0.4).build(PAIR, 9)
    dropouts = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert sorted(layer.name for layer in dropouts) == [
        "decoder2_dropout",
        "dropout",
        "encoder1_dropout",
        "encoder2_dropout",
        "source_dropout",
        "target_dropout",
    ]
    assert {layer.rate for layer in dropouts} == {0.4}


@pytest.mark.field("LSTMSeq2Seq.embedding_dim", "LSTMSeq2Seq.units", "LSTMSeq2Seq.share_embeddings")
def test_sizes():
    spec = PairTokens(11, 7, shared=False, source_length=6, target_length=5)
    config = LSTMSeq2Seq(embedding_dim=5, units=3, share_embeddings="none")
    lstm = [4 * 3 * (size + 3 + 1) for size in (5, 5, 5)]
    starts, keys = 2 * (6 * 3 + 3), 6 * 3
    expected = sum(lstm) + starts + keys
    assert config.build(spec, 7).count_params() == (
        expected + 5 * 11 + 5 * 7 + (6 + 3) * 3 + 3 * 7 + 7
    )
    tied = LSTMSeq2Seq(embedding_dim=5, units=3, share_embeddings="target")
    assert tied.build(spec, 7).count_params() == expected + 5 * 11 + 5 * 7 + (6 + 3) * 5
    one = LSTMSeq2Seq(embedding_dim=5, units=3, share_embeddings="all")
    assert one.build(PAIR, 9).count_params() == expected + 5 * 9 + (6 + 3) * 5
    with pytest.raises(ValueError, match='^share_embeddings must be .*, got "all"'):
        one.build(spec, 7)


def test_keras_file_gives_the_same_model(model, tmp_path):
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(BOTH), model(BOTH))
    np.testing.assert_array_equal(
        again.attention(SOURCE, TARGET)["cross"], model.attention(SOURCE, TARGET)["cross"]
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("embedding_dim", 0),
        ("units", 0),
        ("encoder_layers", 0),
        ("decoder_layers", 0),
        ("attention", "dot"),
        ("attention", "luong_dot"),
        ("share_embeddings", "both"),
        ("dropout", 1.0),
        ("recurrent_dropout", -0.1),
    ],
)
def test_impossible_values_are_named(field, value):
    with pytest.raises(ValueError, match=rf"^{field} must .*, got "):
        LSTMSeq2Seq(**{field: value})
