import collections
import dataclasses
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from named_inputs import NEW_IDS, feed, feed_pair, image, pair, text
from torch_transformers import randomise

from modelzoo.decoding.config import Decoding
from modelzoo.decoding.search import search
from modelzoo.models.transformer import Transformer

PAIR = pair(11)
APART = pair(13, 11)
TINY = {
    "hidden_dim": 8,
    "intermediate_dim": 12,
    "num_heads": 2,
    "num_encoder_layers": 2,
    "num_decoder_layers": 2,
}
SOURCE = np.array([[3, 4, 9, 5, 7, 10], [2, 10, 0, 0, 0, 0], [6, 6, 1, 10, 0, 0]], "int32")
TARGET = np.array([[10, 4, 5, 6, 7], [10, 1, 0, 0, 0], [10, 8, 3, 2, 0]], "int32")
# Each choice of a field at least once.
KINDS = {
    "paper": {},
    "modern": {"norm": "pre", "positions": "rotary", "activation": "swiglu"},
    "learned": {"positions": "learned", "activation": "gelu", "share_embeddings": "target"},
}


def build(inputs=PAIR, **fields):
    """The model with random weights, small enough that no softmax is flat or saturated."""
    model = Transformer(**{**TINY, **fields}).build(inputs, 11)
    randomise(model.weights)
    return model


def call(model, source=SOURCE, target=TARGET, **kwargs):
    return np.array(model(feed_pair(source, target), **kwargs))


def decode(model, source, paths, coverage=False):
    """Logits of each step `[n, k, steps, vocab_size]` and the last state, without a loop.

    `paths` `[steps, n, k]` are the tokens that are read.
    """
    steps, _, beams = paths.shape
    state, logits = start(model, source, beams, steps, coverage), []
    for tokens in paths:
        step, state = model.step(tf.constant(tokens), state)
        logits.append(step)
    return np.stack(logits, axis=2), state


def start(model, source, beams, capacity, coverage=False):
    return model.start(feed(tf.convert_to_tensor(source)), beams, capacity, coverage)


def parameters(layers, dim, ffn, vocab_size):
    """Parameters of a Transformer without attention biases: matrices, biases and norms."""
    attention, feed_forward = 4 * dim * dim, 2 * dim * ffn + ffn + dim
    encoder = attention + feed_forward + 2 * 2 * dim
    decoder = 2 * attention + feed_forward + 3 * 2 * dim
    return vocab_size * dim + layers * (encoder + decoder)


@pytest.mark.field("Transformer.num_encoder_layers", "Transformer.num_decoder_layers")
@pytest.mark.field("TransformerBlockConfig.hidden_dim", "TransformerBlockConfig.intermediate_dim")
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
    vocab_size = sizes[-1]
    one = dataclasses.replace(config, num_encoder_layers=1, num_decoder_layers=1)
    # Large models take seconds to build, so one of their equal layers is built.
    model = (one if papers else config).build(pair(vocab_size), vocab_size)
    counts = collections.Counter()
    for variable in model.trainable_variables:
        counts[variable.path.split("/")[0]] += int(np.prod(variable.shape))
    repeated = config.num_encoder_layers if papers else 1
    total = counts["embedding"] + repeated * (counts["encoder"] + counts["decoder"])
    assert config.num_encoder_layers == config.num_decoder_layers
    assert total == counts.total() + (repeated - 1) * (counts["encoder"] + counts["decoder"])
    assert total == parameters(*sizes)
    # The paper counts in millions, with "about 37000" tokens.
    assert papers is None or abs(total / papers - 1) < 0.035


def test_presets_take_changes():
    assert Transformer.tiny(dropout=0.1) == dataclasses.replace(Transformer.tiny(), dropout=0.1)
    assert Transformer.tiny().dropout == Transformer.big().dropout == 0.3


@pytest.mark.field("TransformerBlockConfig.norm", "TransformerBlockConfig.positions")
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
    attention = model.attention(feed_pair(source, target))
    for row, got in enumerate(call(model, source, target)):
        a, b = np.count_nonzero(SOURCE[row]), np.count_nonzero(TARGET[row])
        alone = call(model, SOURCE[row : row + 1, :a], TARGET[row : row + 1, :b])[0]
        np.testing.assert_allclose(got[:b], alone, rtol=0, atol=1e-5)
        assert not np.any(attention["cross"][row, ..., a:])
        assert not np.any(attention["encoder"][row, ..., a:])
        alone = model.attention(feed_pair(SOURCE[row : row + 1, :a], TARGET[row : row + 1, :b]))
        for name, (length, other) in {
            "encoder": (a, a),
            "decoder": (b, b),
            "cross": (b, a),
        }.items():
            part = attention[name][row, :, :, :length, :other]
            np.testing.assert_allclose(part, alone[name][0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_cached_logits_are_the_uncached(kind):
    model = build(**KINDS[kind])
    logits, state = decode(model, SOURCE, TARGET.T[..., None], coverage=True)
    np.testing.assert_allclose(logits[:, 0], call(model), rtol=0, atol=1e-5)
    assert int(state["position"]) == 5
    # The sum over the steps of the mean of the last layer's heads.
    cross = model.attention(feed_pair(SOURCE, TARGET))["cross"]
    expected = np.mean(cross[:, -1], axis=1).sum(axis=1)
    np.testing.assert_allclose(state["beams"]["coverage"][:, 0], expected, rtol=0, atol=1e-5)
    assert "coverage" not in start(model, SOURCE, 1, 5)["beams"]


@pytest.mark.parametrize("kind", KINDS)
def test_beams_continue_others_without_a_copy_of_the_cache(kind):
    model, rng, beams = build(**KINDS[kind]), np.random.default_rng(0), 3
    state = start(model, SOURCE, beams, 5, coverage=True)
    written = np.zeros([3, beams, 0], "int32")
    for _ in range(5):
        tokens = rng.integers(1, 11, (3, beams, 1), "int32")
        written = np.concatenate([written, tokens], axis=2)
        logits, state = model.step(tf.constant(tokens[..., 0]), state)
        for beam in range(beams):
            expected = call(model, target=written[:, beam])[:, -1]
            np.testing.assert_allclose(logits[:, beam], expected, rtol=0, atol=1e-5)
        weights = model.attention(feed_pair(SOURCE, written[:, 0]))["cross"][:, -1]
        expected = np.mean(weights, axis=1).sum(axis=1)
        np.testing.assert_allclose(state["beams"]["coverage"][:, 0], expected, rtol=0, atol=1e-5)
        ancestors = rng.integers(0, beams, (3, beams))
        written = np.take_along_axis(written, ancestors[..., None], axis=1)
        state["beams"] = {
            name: tf.gather(value, ancestors, batch_dims=1)
            for name, value in state["beams"].items()
        }


def test_examples_can_be_removed():
    model = build()
    paths = np.stack([TARGET, TARGET[:, ::-1]], axis=2).transpose(1, 0, 2)
    expected, _ = decode(model, SOURCE, paths)
    state = start(model, SOURCE, 2, 5)
    for position, tokens in enumerate(paths):
        remaining = slice(0, 3) if position < 2 else slice(1, 3)
        if position == 2:
            for part in ("shared", "beams"):
                state[part] = tf.nest.map_structure(lambda x: x[1:], state[part])
        logits, state = model.step(tf.constant(tokens[remaining]), state)
        np.testing.assert_allclose(logits, expected[remaining, :, position], rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["paper", "modern"])
@pytest.mark.parametrize("jit", [False, True])
def test_steps_in_a_loop_of_a_graph(kind, jit):
    """Under a StatelessScope with other weights, as in a train step, and for any batch size."""
    model = build(**KINDS[kind])
    others = [tf.constant(0.9 * v.numpy()) for v in model.weights]

    def run(source, target):
        with keras.StatelessScope(list(zip(model.weights, others, strict=True))):
            state = start(model, source, 1, 5)
            logits = tf.TensorArray(tf.float32, 5, element_shape=[None, 11])

            def body(position, state, logits):
                step, state = model.step(target[:, position][:, None], state)
                return position + 1, state, logits.write(position, step[:, 0])

            first = (tf.constant(0), state, logits)
            return tf.while_loop(lambda t, *_: t < 5, body, first)[2].stack()

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
            logits = model(feed_pair(source, target), training=False)
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
        logits = model(feed_pair(SOURCE, TARGET))
        assert logits.dtype == inner
        assert {v.dtype for v in model.weights} == {outer}
        scale = np.abs(call(exact)).max()
        assert np.abs(np.subtract(logits, call(exact))).max() < error * scale
        steps, state = decode(model, SOURCE, TARGET.T[..., None])
        assert steps.dtype == outer
        assert state["shared"]["block1"]["keys"].dtype == inner
        np.testing.assert_allclose(steps[:, 0], np.float64(logits), atol=error * scale)


@pytest.mark.field("TransformerBlockConfig.dropout", "TransformerBlockConfig.attention_dropout")
@pytest.mark.field("TransformerBlockConfig.ffn_dropout")
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
    for share, inputs, matrices in (
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
        model = build(inputs, share_embeddings=share)
        sizes = {
            v.path: v.shape[0] for v in model.weights if "embed" in v.path or "logits" in v.path
        }
        assert sizes == matrices
        assert call(model).shape == (3, 5, 11)
        assert len({v.path for v in model.weights}) == len(model.weights)
    with pytest.raises(ValueError, match='^share_embeddings must be "target" or "none" if'):
        Transformer(**TINY).build(APART, 11)
    with pytest.raises(
        ValueError, match='^share_embeddings must be "none" if the number of outputs, 3,'
    ):
        Transformer(**TINY).build(PAIR, 3)
    assert Transformer(**TINY, share_embeddings="none").build(PAIR, 3).output_shape[-1] == 3


@pytest.mark.field("TransformerBlockConfig.positions")
def test_learned_positions_end_where_training_did():
    model = build(positions="learned")
    lengths = {v.path: v.shape[0] for v in model.weights if "positions" in v.path}
    assert lengths == {"encoder/positions/table": 6, "decoder/positions/table": 5}
    with pytest.raises(ValueError, match=r"positions must be .* 6 tokens, got .* 7 tokens"):
        call(model, np.pad(SOURCE, ((0, 0), (0, 1))))
    with pytest.raises(ValueError, match=r"positions must be .* 5 tokens, got .* 6 tokens"):
        start(model, SOURCE, 1, 6)


@pytest.mark.field("TransformerBlockConfig.num_heads")
def test_heads_split_the_attention():
    assert build(num_heads=4).attention(feed_pair(SOURCE, TARGET))["encoder"].shape == (
        3,
        2,
        4,
        6,
        6,
    )
    assert np.abs(call(build(num_heads=4)) - call(build(num_heads=2))).max() > 1e-3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hidden_dim", 0),
        ("hidden_dim", 9),
        ("intermediate_dim", 0),
        ("num_heads", 3),
        ("norm_epsilon", 0.0),
        ("embedding_scale", 0.0),
        ("norm", "sandwich"),
        ("positions", "relative"),
        ("activation", "tanh"),
        ("dropout", 1.0),
        ("attention_dropout", -0.1),
        ("ffn_dropout", 1.0),
        ("num_encoder_layers", 0),
        ("num_decoder_layers", 0),
        ("share_embeddings", "source"),
    ],
)
def test_impossible_values_are_named(field, value):
    with pytest.raises(ValueError, match=rf"^{field} must .*, got "):
        Transformer(**{**TINY, field: value})
    if field == "num_heads":
        with pytest.raises(ValueError, match="^num_heads must divide hidden_dim, 8, into even"):
            Transformer(**{**TINY, "num_heads": 8, "positions": "rotary"})


def test_other_inputs_are_refused():
    wanted = "tokens for an encoder, tokens for a decoder and their masks"
    for inputs in (text(11), {**PAIR, **image(2, 2, 1)}, {**PAIR, "more": PAIR["tokens"]}, {}):
        with pytest.raises(ValueError, match=f"^inputs must be {wanted}, got .*: choose"):
            Transformer(**TINY).build(inputs, 11)
    with pytest.raises(ValueError, match="^inputs must be a dict of .*, got .*decoder/tokens"):
        build().start(feed_pair(SOURCE, TARGET), 1, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_may_have_any_id(kind):
    """With permuted ids and vectors, where 3 is padding and 0 is a word, logits are permuted."""
    model, permuted = build(**KINDS[kind]), build(**KINDS[kind])
    for v, new in zip(model.weights, permuted.weights, strict=True):
        new.assign(v.numpy()[np.argsort(NEW_IDS)] if "embedding" in v.path else v)
    inputs = feed_pair(NEW_IDS[SOURCE], NEW_IDS[TARGET], pad=3)
    np.testing.assert_allclose(
        permuted(inputs).numpy()[..., NEW_IDS], call(model), rtol=0, atol=1e-6
    )
    end, beams = 10, Decoding(beams=3, n_best=2, coverage_penalty=0.3)
    found = [
        search(
            decoder,
            decoder.start(feed(tf.constant(source), pad), 3, 5, coverage=True),
            beams,
            start=ids[end],
            end=ids[end],
            pad=pad,
            forbidden=(pad,),
            capacity=5,
            memory_mask=tf.constant(source != pad),
        )
        for decoder, source, pad, ids in (
            (model, SOURCE, 0, np.arange(11)),
            (permuted, NEW_IDS[SOURCE], 3, NEW_IDS),
        )
    ]
    np.testing.assert_array_equal(found[1].tokens, NEW_IDS[found[0].tokens])
    np.testing.assert_array_equal(found[1].lengths, found[0].lengths)
    np.testing.assert_allclose(found[1].scores, found[0].scores, rtol=1e-5)
    assert np.min(found[0].lengths) < 5


@pytest.mark.field("TransformerBlockConfig.attention_bias", "TransformerBlockConfig.ffn_bias")
@pytest.mark.field("TransformerBlockConfig.norm_epsilon", "TransformerBlockConfig.activation")
@pytest.mark.field("TransformerBlockConfig.embedding_scale")
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"attention_bias": True},
        {"ffn_bias": False},
        {"norm_epsilon": 0.5},
        {"norm_epsilon": 0.5, "norm": "pre", "positions": "sinusoidal"},
        {"activation": "gelu"},
        {"activation": "gelu_tanh"},
        {"activation": "swiglu"},
        {"activation": "swiglu", "ffn_bias": True},
        {"embedding_scale": 1.0},
        {"attention_bias": True, "activation": "gelu_tanh", "embedding_scale": 0.5, "norm": "pre"},
    ],
    ids=str,
)
def test_forward_pass_is_numpys(fields):
    """All fields of the blocks, in the encoder and the decoder, against NumPy in float64."""
    config = Transformer(**{**TINY, **fields})
    model = build(**fields)
    weights = {v.path: np.float64(v) for v in model.weights}
    has_bias = any("bias" in path and "attention" in path for path in weights)
    assert has_bias == config.attention_bias
    assert any("ffn/inner_bias" in path for path in weights) == (
        config.activation != "swiglu" if config.ffn_bias is None else config.ffn_bias
    )
    expected = numpy_transformer(config, weights, SOURCE, SOURCE != 0, TARGET)
    assert np.std(expected) > 0.1
    np.testing.assert_allclose(call(model), expected, rtol=0, atol=2e-5 * np.abs(expected).max())
    steps, _ = decode(model, SOURCE, TARGET.T[..., None])
    np.testing.assert_allclose(steps[:, 0], expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def numpy_transformer(config, weights, source, source_mask, target):
    """The logits of a Transformer with sinusoidal positions and shared embeddings."""
    dim, heads = config.hidden_dim, config.num_heads

    def dense(x, path):
        return x @ weights[f"{path}_kernel"] + weights.get(f"{path}_bias", 0.0)

    def norm(x, path):
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + config.norm_epsilon)
        return x * weights[f"{path}/gamma"] + weights[f"{path}/beta"]

    def attend(queries, keys, values, mask):
        def split(x):
            return x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)

        queries, keys, values = split(queries), split(keys), split(values)
        scores = queries @ keys.swapaxes(2, 3) / np.sqrt(dim / heads)
        scores = np.exp(np.where(mask[:, None], scores, -np.inf))
        mixed = scores / scores.sum(axis=-1, keepdims=True) @ values
        return mixed.swapaxes(1, 2).reshape(*mixed.shape[:1], -1, dim)

    def self_attention(x, path, mask):
        return dense(
            attend(*np.split(dense(x, f"{path}/query_key_value"), 3, axis=-1), mask),
            f"{path}/output",
        )

    def cross_attention(x, path, memory):
        keys, values = np.split(dense(memory, f"{path}/key_value"), 2, axis=-1)
        mixed = attend(dense(x, f"{path}/query"), keys, values, source_mask[:, None])
        return dense(mixed, f"{path}/output")

    def ffn(x, path):
        x = dense(x, f"{path}/inner")
        if config.activation == "relu":
            x = np.maximum(x, 0)
        elif config.activation == "gelu":
            x = x * 0.5 * (1 + np.vectorize(math.erf)(x / np.sqrt(2)))
        elif config.activation == "gelu_tanh":
            x = x * 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
        else:
            gate, x = np.split(x, 2, axis=-1)
            x = x * gate / (1 + np.exp(-gate))
        return dense(x, f"{path}/outer")

    def residual(x, path, name, function, *args):
        if config.norm == "pre":
            return x + function(norm(x, f"{path}/{name}_norm"), f"{path}/{name}", *args)
        return norm(x + function(x, f"{path}/{name}", *args), f"{path}/{name}_norm")

    def embed(tokens):
        scale = dim**0.5 if config.embedding_scale is None else config.embedding_scale
        angles = np.arange(tokens.shape[1])[:, None] / 10_000 ** (np.arange(0, dim, 2) / dim)
        waves = np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(-1, dim)
        return weights["embedding/embeddings"][tokens] * scale + waves

    memory = embed(source)
    for number in range(1, config.num_encoder_layers + 1):
        path = f"encoder/block{number}"
        mask = source_mask[:, None]
        memory = residual(memory, path, "self_attention", self_attention, mask)
        memory = residual(memory, path, "ffn", ffn)
    memory = norm(memory, "encoder/norm") if config.norm == "pre" else memory
    x = embed(target)
    causal = np.tril(np.ones([target.shape[1]] * 2, bool))[None]
    for number in range(1, config.num_decoder_layers + 1):
        path = f"decoder/block{number}"
        x = residual(x, path, "self_attention", self_attention, causal)
        x = residual(x, path, "cross_attention", cross_attention, memory)
        x = residual(x, path, "ffn", ffn)
    x = norm(x, "decoder/norm") if config.norm == "pre" else x
    return x @ weights["embedding/embeddings"].T
