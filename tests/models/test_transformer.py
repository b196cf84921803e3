import collections
import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from torch_transformers import randomise

from modelzoo.fields.input_specs import PairTokens
from modelzoo.models.transformer import Transformer

PAIR = PairTokens(11, 11, True, source_length=6, target_length=5)
APART = PairTokens(13, 11, False, source_length=6, target_length=5)
TINY = {"dim": 8, "ffn_dim": 12, "heads": 2, "encoder_layers": 2, "decoder_layers": 2}
SOURCE = np.array([[3, 4, 9, 5, 7, 10], [2, 10, 0, 0, 0, 0], [6, 6, 1, 10, 0, 0]], "int32")
TARGET = np.array([[10, 4, 5, 6, 7], [10, 1, 0, 0, 0], [10, 8, 3, 2, 0]], "int32")
# Each choice of a field at least once.
KINDS = {
    "paper": {},
    "modern": {"norm": "pre", "positions": "rotary", "activation": "swiglu"},
    "learned": {"positions": "learned", "activation": "gelu", "share_embeddings": "target"},
}


def build(pair=PAIR, **fields):
    """The model with random weights, small enough that no softmax is flat or saturated."""
    model = Transformer(**{**TINY, **fields}).build(pair, pair.target_vocab)
    randomise(model.weights)
    return model


def call(model, source=SOURCE, target=TARGET, **kwargs):
    return np.array(model({"source": source, "target": target}, **kwargs))


def decode(model, source, paths, coverage=False):
    """Logits of each step `[n, k, steps, vocabulary]` and the last state, without a loop.

    `paths` `[steps, n, k]` are the tokens taken.
    """
    steps, _, rows = paths.shape
    state, logits = model.start(tf.constant(source), rows, steps, coverage), []
    for tokens in paths:
        step, state = model.step(tf.constant(tokens), state)
        logits.append(step)
    return np.stack(logits, axis=2), state


def block(dim, ffn, cross):
    """Parameters of a block: attention without biases, two layers with biases, norms."""
    attention = 4 * dim * dim
    return (1 + cross) * attention + 2 * dim * ffn + ffn + dim + (2 + cross) * 2 * dim


def parameters(layers, dim, ffn, vocabulary):
    """Of a Transformer without biases in its attention: matrices, biases and norms, by hand."""
    attention, feed_forward = 4 * dim * dim, 2 * dim * ffn + ffn + dim
    encoder = attention + feed_forward + 2 * 2 * dim
    decoder = 2 * attention + feed_forward + 3 * 2 * dim
    return vocabulary * dim + layers * (encoder + decoder)


@pytest.mark.field("Transformer.encoder_layers", "Transformer.decoder_layers", "Blocks.dim")
@pytest.mark.field("Blocks.ffn_dim")
@pytest.mark.parametrize(
    ("config", "sizes", "papers"),
    [
        (Transformer.base(), (6, 512, 2048, 37_000), 65e6),
        (Transformer.big(), (6, 1024, 4096, 37_000), 213e6),
        (Transformer.small(), (4, 256, 1024, 10_000), None),
        (Transformer.tiny(), (4, 128, 256, 10_000), None),
    ],
    ids=["base", "big", "small", "tiny"],
)
def test_presets_have_the_papers_sizes(config, sizes, papers):
    vocabulary = sizes[-1]
    pair = PairTokens(vocabulary, vocabulary, True, 9, 9)
    one = dataclasses.replace(config, encoder_layers=1, decoder_layers=1)
    # Large ones take seconds to build: of them one layer is built, for all are alike.
    model = (one if papers else config).build(pair, vocabulary)
    counts = collections.Counter()
    for variable in model.trainable_variables:
        counts[variable.path.split("/")[0]] += int(np.prod(variable.shape))
    repeated = config.encoder_layers if papers else 1
    total = counts["embedding"] + repeated * (counts["encoder"] + counts["decoder"])
    assert config.encoder_layers == config.decoder_layers
    assert total == counts.total() + (repeated - 1) * (counts["encoder"] + counts["decoder"])
    assert total == parameters(*sizes)
    # The paper counts in millions, with "about 37000" tokens.
    assert papers is None or abs(total / papers - 1) < 0.035


def test_presets_take_changes():
    assert Transformer.tiny(dropout=0.1) == dataclasses.replace(Transformer.tiny(), dropout=0.1)
    assert Transformer.tiny().dropout == Transformer.big().dropout == 0.3


@pytest.mark.field("Blocks.norm", "Blocks.positions", "Blocks.activation")
@pytest.mark.field("Transformer.share_embeddings")
@pytest.mark.parametrize("kind", KINDS)
def test_no_position_sees_the_future(kind):
    model = build(**KINDS[kind])
    before = call(model)
    for position in range(1, 5):
        changed = TARGET.copy()
        changed[:, position] = 9
        same = np.isclose(call(model, target=changed), before, rtol=0, atol=1e-6).all(axis=-1)
        assert same[:, :position].all()
        assert not same[:, position].any()


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_no_output(kind):
    model = build(**KINDS[kind])
    longer = 0 if kind == "learned" else 3
    source = np.pad(SOURCE, ((0, 0), (0, longer)))
    target = np.pad(TARGET, ((0, 0), (0, longer)))
    attention = model.attention(source, target)
    for row, got in enumerate(call(model, source, target)):
        a, b = np.count_nonzero(SOURCE[row]), np.count_nonzero(TARGET[row])
        alone = call(model, SOURCE[row : row + 1, :a], TARGET[row : row + 1, :b])[0]
        np.testing.assert_allclose(got[:b], alone, rtol=0, atol=1e-5)
        assert not np.any(attention["cross"][row, ..., a:])
        assert not np.any(attention["encoder"][row, ..., a:])
        alone = model.attention(SOURCE[row : row + 1, :a], TARGET[row : row + 1, :b])
        for name, (rows, columns) in {
            "encoder": (a, a),
            "decoder": (b, b),
            "cross": (b, a),
        }.items():
            part = attention[name][row, :, :, :rows, :columns]
            np.testing.assert_allclose(part, alone[name][0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_cached_logits_are_the_uncached(kind):
    model = build(**KINDS[kind])
    logits, state = decode(model, SOURCE, TARGET.T[..., None], coverage=True)
    np.testing.assert_allclose(logits[:, 0], call(model), rtol=0, atol=1e-5)
    assert int(state["position"]) == 5
    # The sum over the steps of the mean of the last layer's heads.
    seen = np.mean(model.attention(SOURCE, TARGET)["cross"][:, -1], axis=1).sum(axis=1)
    np.testing.assert_allclose(state["rows"]["coverage"][:, 0], seen, rtol=0, atol=1e-5)
    assert "coverage" not in model.start(tf.constant(SOURCE), 1, 5)["rows"]


@pytest.mark.parametrize("kind", KINDS)
def test_sequences_go_on_from_any_other_without_their_cache_being_moved(kind):
    model, rng, rows = build(**KINDS[kind]), np.random.default_rng(0), 3
    state = model.start(tf.constant(SOURCE), rows, 5, coverage=True)
    written = np.zeros([3, rows, 0], "int32")
    for _ in range(5):
        tokens = rng.integers(1, 11, (3, rows, 1), "int32")
        written = np.concatenate([written, tokens], axis=2)
        logits, state = model.step(tf.constant(tokens[..., 0]), state)
        for row in range(rows):
            expected = call(model, target=written[:, row])[:, -1]
            np.testing.assert_allclose(logits[:, row], expected, rtol=0, atol=1e-5)
        seen = model.attention(SOURCE, written[:, 0])["cross"][:, -1]
        seen = np.mean(seen, axis=1).sum(axis=1)
        np.testing.assert_allclose(state["rows"]["coverage"][:, 0], seen, rtol=0, atol=1e-5)
        ancestors = rng.integers(0, rows, (3, rows))
        written = np.take_along_axis(written, ancestors[..., None], axis=1)
        state["rows"] = {
            name: tf.gather(value, ancestors, batch_dims=1) for name, value in state["rows"].items()
        }


def test_examples_may_leave():
    model = build()
    paths = np.stack([TARGET, TARGET[:, ::-1]], axis=2).transpose(1, 0, 2)
    expected, _ = decode(model, SOURCE, paths)
    state = model.start(tf.constant(SOURCE), 2, 5)
    for position, tokens in enumerate(paths):
        stay = slice(0, 3) if position < 2 else slice(1, 3)
        if position == 2:
            for part in ("shared", "rows"):
                state[part] = tf.nest.map_structure(lambda x: x[1:], state[part])
        logits, state = model.step(tf.constant(tokens[stay]), state)
        np.testing.assert_allclose(logits, expected[stay, :, position], rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["paper", "modern"])
@pytest.mark.parametrize("jit", [False, True])
def test_steps_in_a_loop_of_a_graph(kind, jit):
    """Under a StatelessScope with other weights, as a training step's, and of any batch size."""
    model = build(**KINDS[kind])
    others = [tf.constant(0.9 * v.numpy()) for v in model.weights]

    def run(source, target):
        with keras.StatelessScope(list(zip(model.weights, others, strict=True))):
            state = model.start(source, 1, 5)
            logits = tf.TensorArray(tf.float32, 5, element_shape=[None, 11])

            def body(position, state, logits):
                step, state = model.step(target[:, position][:, None], state)
                return position + 1, state, logits.write(position, step[:, 0])

            start = (tf.constant(0), state, logits)
            return tf.while_loop(lambda t, *_: t < 5, body, start)[2].stack()

    static = tf.function(run, jit_compile=jit, autograph=False)
    logits = static(tf.constant(SOURCE), tf.constant(TARGET))
    if not jit:
        any_size = [tf.TensorSpec([None, None], tf.int32)] * 2
        dynamic = tf.function(run, input_signature=any_size, autograph=False)
        np.testing.assert_allclose(dynamic(SOURCE, TARGET), logits, rtol=0, atol=1e-6)
    for variable, value in zip(model.weights, others, strict=True):
        variable.assign(value)
    np.testing.assert_allclose(np.swapaxes(logits, 0, 1), call(model), rtol=0, atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_under_xla(kind):
    model = build(**KINDS[kind])

    def run(source, target):
        with tf.GradientTape() as tape:
            logits = model({"source": source, "target": target}, training=False)
            loss = tf.reduce_sum(tf.sin(logits))
        sources = [v.value for v in model.trainable_variables]
        return logits, [tf.convert_to_tensor(g) for g in tape.gradient(loss, sources)]

    arguments = (tf.constant(SOURCE), tf.constant(TARGET))
    logits, gradients = tf.function(run, jit_compile=True)(*arguments)
    plain, plain_gradients = tf.function(run)(*arguments)
    np.testing.assert_allclose(logits, plain, rtol=0, atol=2e-5)
    np.testing.assert_allclose(plain, call(model), rtol=0, atol=1e-5)
    for a, b in zip(gradients, plain_gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * max(1, np.abs(b).max()))


def test_precision():
    exact = build()
    for policy, error in (("mixed_bfloat16", 0.1), ("mixed_float16", 0.02), ("float64", 1e-5)):
        keras.config.set_dtype_policy(policy)
        model = build()
        model.set_weights(exact.get_weights())
        inner = keras.config.dtype_policy().compute_dtype
        outer = "float64" if policy == "float64" else "float32"
        logits = model({"source": SOURCE, "target": TARGET})
        assert logits.dtype == inner
        assert {v.dtype for v in model.weights} == {outer}
        scale = np.abs(call(exact)).max()
        assert np.abs(np.subtract(logits, call(exact))).max() < error * scale
        steps, state = decode(model, SOURCE, TARGET.T[..., None])
        assert steps.dtype == outer
        assert state["shared"]["block1"]["keys"].dtype == inner
        np.testing.assert_allclose(steps[:, 0], np.float64(logits), atol=error * scale)


@pytest.mark.field("Blocks.dropout", "Blocks.attention_dropout", "Blocks.ffn_dropout")
@pytest.mark.parametrize("name", ["dropout", "attention_dropout", "ffn_dropout"])
def test_dropout_in_training_alone_by_the_seeds(name):
    rates = {"dropout": 0.0, "attention_dropout": 0.0, "ffn_dropout": 0.0, name: 0.5}
    model = build(**rates)
    weights = {id(v) for v in model.weights}
    seeds = [v for v in model.variables if id(v) not in weights]

    def run(seed):
        values = [(v, tf.constant([seed, k], v.dtype)) for k, v in enumerate(seeds)]
        with keras.StatelessScope(values):
            return call(model, training=True)

    np.testing.assert_array_equal(run(1), run(1))
    assert np.abs(run(1) - run(2)).max() > 1e-3
    assert np.abs(run(1) - call(model)).max() > 1e-3
    np.testing.assert_array_equal(call(model), call(model))


@pytest.mark.field("Transformer.share_embeddings")
def test_shared_embeddings():
    for share, pair, matrices in (
        ("all", PAIR, {"embedding/embeddings": 11}),
        ("target", PAIR, {"source_embedding/embeddings": 11, "target_embedding/embeddings": 11}),
        ("target", APART, {"source_embedding/embeddings": 13, "target_embedding/embeddings": 11}),
        (
            "none",
            APART,
            {
                "source_embedding/embeddings": 13,
                "target_embedding/embeddings": 11,
                "logits/kernel": 8,
            },
        ),
    ):
        model = build(pair, share_embeddings=share)
        sizes = {
            v.path: v.shape[0] for v in model.weights if "embed" in v.path or "logits" in v.path
        }
        assert sizes == matrices
        assert call(model).shape == (3, 5, 11)
        assert len({v.path for v in model.weights}) == len(model.weights)
    with pytest.raises(ValueError, match='^share_embeddings must be "target" or "none" where'):
        Transformer(**TINY).build(APART, 11)
    with pytest.raises(ValueError, match='^share_embeddings must be "none" where outputs, 3, are'):
        Transformer(**TINY).build(PAIR, 3)
    assert Transformer(**TINY, share_embeddings="none").build(PAIR, 3).output_shape[-1] == 3


@pytest.mark.field("Blocks.positions")
def test_learned_positions_end_where_training_did():
    model = build(positions="learned")
    lengths = {v.path: v.shape[0] for v in model.weights if "positions" in v.path}
    assert lengths == {"encoder/positions/table": 6, "decoder/positions/table": 5}
    with pytest.raises(ValueError, match=r"positions must be .* 6 tokens, got .* 7 tokens"):
        call(model, np.pad(SOURCE, ((0, 0), (0, 1))))
    with pytest.raises(ValueError, match=r"positions must be .* 5 tokens, got .* 6 tokens"):
        model.start(tf.constant(SOURCE), rows=1, capacity=6)


@pytest.mark.field("Blocks.heads")
def test_heads_part_the_attention():
    assert build(heads=4).attention(SOURCE, TARGET)["encoder"].shape == (3, 2, 4, 6, 6)
    assert np.abs(call(build(heads=4)) - call(build(heads=2))).max() > 1e-3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dim", 0),
        ("dim", 9),
        ("ffn_dim", 0),
        ("heads", 3),
        ("norm", "sandwich"),
        ("positions", "relative"),
        ("activation", "tanh"),
        ("dropout", 1.0),
        ("attention_dropout", -0.1),
        ("ffn_dropout", 1.0),
        ("encoder_layers", 0),
        ("decoder_layers", 0),
        ("share_embeddings", "source"),
    ],
)
def test_impossible_values_are_named(field, value):
    with pytest.raises(ValueError, match=rf"^{field} must .*, got "):
        Transformer(**{**TINY, field: value})
    if field == "heads":
        with pytest.raises(ValueError, match="^heads must divide dim, 8, into even parts"):
            Transformer(**{**TINY, "heads": 8, "positions": "rotary"})
