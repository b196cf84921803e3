import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from named_inputs import feed, feed_pair, pair

from modelzoo.decoding.config import Decoding
from modelzoo.decoding.search import search
from modelzoo.models.lstm_seq2seq import LSTMSeq2Seq

PAIR = pair(9)
SMALL = {"embedding_dim": 4, "units": 3, "num_encoder_layers": 2, "num_decoder_layers": 2}
KINDS = {
    "luong": {"attention": "luong"},
    "luong_dot": {"attention": "luong_dot", "bidirectional": False},
    "bahdanau": {"attention": "bahdanau"},
}
SOURCE = np.array([[5, 3, 7, 1, 2, 8], [6, 2, 8, 0, 0, 0], [8, 0, 0, 0, 0, 0]], "int32")
TARGET = np.array([[8, 3, 7, 1, 2], [8, 6, 0, 0, 0], [8, 1, 4, 2, 0]], "int32")
BOTH = feed_pair(SOURCE, TARGET)
LENGTHS = (6, 3, 1)


def build(config, inputs=PAIR):
    """The model with random weights and biases."""
    model = config.build(inputs, inputs["decoder/tokens"].vocab_size)
    rng = np.random.default_rng(3)
    for v in model.weights:
        v.assign(rng.normal(0.0, 0.7, v.shape))
    return model


@pytest.fixture(params=KINDS)
def model(request):
    return build(LSTMSeq2Seq(**SMALL, **KINDS[request.param]))


def decoded(model, source, target, step=None, **kwargs):
    """Logits of each position, from cached steps, `[n, k, length, vocab_size]`; and the state.

    target: `[n, k, length]`.
    """
    step = step or model.step
    state = model.start(feed(tf.constant(source)), target.shape[1], target.shape[2], **kwargs)
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
        config.num_encoder_layers,
        batch_first=True,
        bidirectional=config.bidirectional,
        dtype=torch.float64,
    )
    copied = {}
    for number in range(config.num_encoder_layers):
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
    for k in range(config.num_decoder_layers):
        # The last states of both directions, side by side.
        own = [
            s.reshape(-1, directions, len(SOURCE), units)[min(k, config.num_encoder_layers - 1)]
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
            ih, read = cell["kernel"].T, x
            if "query_kernel" in cell:
                query = (states[0] @ cell["query_kernel"])[:, None]
                context = attend((torch.tanh(query + keys) @ cell["scale"])[..., 0])
                ih = torch.cat([ih, cell["context_kernel"].T], dim=1)
                read = torch.cat([x, context], dim=1)
            states[:] = torch.lstm_cell(
                read, states, ih, cell["recurrent_kernel"].T, cell["bias"], 0 * cell["bias"]
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
    "LSTMSeq2Seq.num_encoder_layers",
    "LSTMSeq2Seq.num_decoder_layers",
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
        num_encoder_layers=depths[0],
        num_decoder_layers=depths[1],
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
    # Three beams of each source, which must not affect each other.
    rng = np.random.default_rng(0)
    target = rng.integers(1, 9, (3, 3, 5), "int32")
    logits, state = decoded(model, SOURCE, target)
    assert state["position"] == 5
    for k in range(3):
        whole = model(feed_pair(SOURCE, target[:, k]))
        np.testing.assert_allclose(logits[:, k], whole, rtol=0, atol=1e-5)


def test_beams_continue_others(model):
    """A search continues beams from others and removes examples."""
    target = np.random.default_rng(0).integers(1, 9, (3, 2, 5), "int32")
    state = decoded(model, SOURCE, target[:, :, :3])[1]
    state["beams"] = {name: tf.gather(x, [1, 1], axis=1) for name, x in state["beams"].items()}
    for part in ("shared", "beams"):
        state[part] = {name: tf.gather(x, [2, 0]) for name, x in state[part].items()}
    logits, _ = model.step(tf.constant(target[[2, 0], :, 3]), state)
    for k in range(2):
        tokens = np.concatenate([target[[2, 0], 1, :3], target[[2, 0], k, 3:4]], axis=1)
        whole = model(feed_pair(SOURCE[[2, 0]], tokens))
        np.testing.assert_allclose(logits[:, k], whole[:, -1], rtol=0, atol=1e-5)


def test_padding_changes_no_output(model):
    whole = model(BOTH)
    longer = {name: np.pad(array, ((0, 0), (0, 3))) for name, array in BOTH.items()}
    np.testing.assert_allclose(model(longer)[:, :5], whole, rtol=0, atol=1e-6)
    for n, length in enumerate(LENGTHS):
        alone = model(feed_pair(SOURCE[n : n + 1, :length], TARGET[n : n + 1]))
        np.testing.assert_allclose(whole[n], alone[0], rtol=0, atol=1e-6)
    # A source of nothing but padding, as in the examples that fill a batch.
    assert np.isfinite(model(feed_pair(0 * SOURCE, TARGET))).all()


@pytest.mark.parametrize("kind", KINDS)
def test_padding_may_have_any_id(kind):
    """With permuted ids and vectors, where 3 is padding and 0 is a word, logits are permuted."""
    new_ids = np.array([3, 8, 2, 0, 4, 5, 6, 7, 1], "int32")
    model, permuted = (build(LSTMSeq2Seq(**SMALL, **KINDS[kind])) for _ in range(2))
    for v, new in zip(model.weights, permuted.weights, strict=True):
        new.assign(v.numpy()[np.argsort(new_ids)] if "embedding" in v.path else v)
    got = permuted(feed_pair(new_ids[SOURCE], new_ids[TARGET], pad=3))
    np.testing.assert_allclose(got.numpy()[..., new_ids], model(BOTH), rtol=0, atol=1e-6)


@pytest.mark.parametrize("names", [["tokens"], ["padding_mask"], list(BOTH)])
def test_a_decoder_starts_from_exactly_the_encoders_inputs(model, names):
    assert model.encoder_inputs == ("tokens", "padding_mask")
    assert model.decoder_inputs == ("decoder/tokens", "decoder/padding_mask")
    with pytest.raises(ValueError, match=r"^inputs must be a dict of \['tokens', 'padding_mask'\]"):
        model.start({name: BOTH[name] for name in names}, 1, 5)


def test_no_position_sees_the_future(model):
    changed = TARGET.copy()
    changed[:, 3] = 5
    same = np.isclose(model(BOTH), model(feed_pair(SOURCE, changed)), rtol=0, atol=1e-7)
    assert same.all(axis=-1).tolist() == [[True] * 3 + [False] * 2] * 3


def test_attention_and_coverage(model):
    cross = model.attention(BOTH)["cross"]
    assert cross.shape == (3, 1, 1, 5, 6)
    weights = np.array(cross[:, 0, 0])
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=0, atol=1e-6)
    assert (weights[np.broadcast_to(SOURCE[:, None] == 0, weights.shape)] == 0).all()
    assert np.ptp(weights[0], axis=0).max() > 1e-3
    _, state = decoded(model, SOURCE, np.stack([TARGET, TARGET[::-1]], axis=1), coverage=True)
    coverage = state["beams"]["coverage"]
    assert coverage.shape == (3, 2, 6)
    np.testing.assert_allclose(coverage[:, 0], weights.sum(axis=1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("attention", ["luong", "bahdanau"])
def test_compiles_under_xla(attention):
    model = build(LSTMSeq2Seq(embedding_dim=4, units=3, bidirectional=False, attention=attention))

    def loss_and_gradients(source, target):
        with tf.GradientTape() as tape:
            logits = model(feed_pair(source, target), training=True)
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
    """In a graph with dynamic numbers of examples and tokens."""
    free = tf.TensorSpec((None, None), "int32")

    @tf.function(input_signature=[free, free])
    def last(source, target):
        state = model.start(feed(source), 2, 7, coverage=True)
        logits = tf.zeros((tf.shape(source)[0], 2, 9))

        def body(t, logits, state):
            return t + 1, *model.step(tf.repeat(target[:, t, None], 2, axis=1), state)

        return tf.while_loop(lambda t, *_: t < tf.shape(target)[1], body, (0, logits, state))[1]

    for length in (2, 5):
        whole = model(feed_pair(SOURCE, TARGET[:, :length]))
        for k in range(2):
            got = last(SOURCE, TARGET[:, :length])[:, k]
            np.testing.assert_allclose(got, whole[:, -1], rtol=0, atol=1e-5)


def test_is_searched(model):
    def found(remove_finished, **fields):
        decoding = Decoding(**fields)
        inputs = feed(tf.constant(SOURCE))
        return search(
            model,
            model.start(inputs, decoding.beams, 6, coverage=True),
            decoding,
            start=8,
            end=8,
            pad=0,
            forbidden=(0,),
            capacity=6,
            memory_mask=inputs["padding_mask"],
            remove_finished=remove_finished,
        )

    # Greedy search: the best token of the whole model at each position, but never padding.
    tokens = np.full((3, 1), 8)
    for _ in range(5):
        last = model(feed_pair(SOURCE, tokens))[:, -1, 1:]
        tokens = np.concatenate([tokens, 1 + np.argmax(last, axis=-1)[:, None]], axis=1)
    for row, got in zip(
        tokens[:, 1:], found(remove_finished=False).tokens[:, 0].numpy(), strict=True
    ):
        ended = np.flatnonzero(row == 8)
        length = ended[0] + 1 if len(ended) else 5
        np.testing.assert_array_equal(got[:length], row[:length])
    fields = {"beams": 3, "n_best": 2, "length_penalty": 0.6, "coverage_penalty": 0.4}
    static = tf.function(lambda: found(remove_finished=False, **fields))()
    moving = tf.function(lambda: found(remove_finished=True, **fields))()
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
        cross = model.attention(BOTH)["cross"]
    np.testing.assert_array_equal(model(BOTH), before)
    model.set_weights(other)
    np.testing.assert_allclose(whole, model(BOTH), rtol=0, atol=1e-6)
    np.testing.assert_allclose(logits[:, 0], whole, rtol=0, atol=1e-5)
    np.testing.assert_allclose(cross, model.attention(BOTH)["cross"], atol=1e-6)


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
        assert state["beams"]["coverage"].dtype == "float32"
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
    apart = pair(11, 7)
    config = LSTMSeq2Seq(embedding_dim=5, units=3, share_embeddings="none")
    lstm = [4 * 3 * (size + 3 + 1) for size in (5, 5, 5)]
    starts, keys = 2 * (6 * 3 + 3), 6 * 3
    expected = sum(lstm) + starts + keys
    assert config.build(apart, 7).count_params() == (
        expected + 5 * 11 + 5 * 7 + (6 + 3) * 3 + 3 * 7 + 7
    )
    tied = LSTMSeq2Seq(embedding_dim=5, units=3, share_embeddings="target")
    assert tied.build(apart, 7).count_params() == expected + 5 * 11 + 5 * 7 + (6 + 3) * 5
    one = LSTMSeq2Seq(embedding_dim=5, units=3, share_embeddings="all")
    assert one.build(PAIR, 9).count_params() == expected + 5 * 9 + (6 + 3) * 5
    with pytest.raises(ValueError, match='^share_embeddings must be .*, got "all"'):
        one.build(apart, 7)
    with pytest.raises(ValueError, match='^share_embeddings must be "none" if the number of outp'):
        one.build(PAIR, 7)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("embedding_dim", 0),
        ("units", 0),
        ("num_encoder_layers", 0),
        ("num_decoder_layers", 0),
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
