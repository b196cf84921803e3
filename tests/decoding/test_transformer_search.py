import numpy as np
import pytest
import tensorflow as tf
from toy_decoder import beam_search, lists

from modelzoo.decoding.config import Decoding
from modelzoo.decoding.search import search
from modelzoo.fields.input_specs import PairTokens
from modelzoo.models.transformer import Transformer

VOCABULARY, END, CAPACITY = 9, 8, 7


class Uncached:
    """Reads all tokens anew for each step; its state copies them from sequence to sequence."""

    def __init__(self, model):
        self.model = model

    def start(self, source, rows, capacity):
        return {
            "shared": {"source": source},
            "rows": {"read": tf.zeros([*source.shape[:1], rows, capacity], tf.int32)},
            "position": tf.constant(0),
        }

    def step(self, tokens, state):
        source, read, position = state["shared"]["source"], state["rows"]["read"], state["position"]
        rows, capacity = read.shape[1:]
        read = tf.where(tf.range(capacity) == position, tokens[..., None], read)
        target = tf.reshape(read, [-1, capacity])
        source = tf.repeat(source, rows, axis=0)
        logits = self.model({"source": source, "target": target}, training=False)[:, position]
        state = {**state, "rows": {"read": read}, "position": position + 1}
        return tf.reshape(logits, [-1, rows, VOCABULARY]), state


@pytest.fixture(scope="module")
def model():
    config = Transformer(
        encoder_layers=1, decoder_layers=2, dim=8, ffn_dim=16, heads=2, share_embeddings="none"
    )
    model = config.build(PairTokens(VOCABULARY, VOCABULARY, True, 5, CAPACITY), VOCABULARY)
    rng = np.random.default_rng(5)
    for variable in model.variables:  # Larger than for training: tokens must matter.
        if variable.path.endswith(("kernel", "embeddings")):
            variable.assign(0.7 * rng.normal(size=variable.shape))
    return model


@pytest.fixture
def source():
    return np.random.default_rng(1).integers(1, END, (6, 4)).astype(np.int32)


def find(decoder, source, decoding, **kwargs):
    @tf.function(jit_compile=kwargs.pop("xla", False), autograph=False)
    def go():
        state = decoder.start(tf.constant(source), decoding.beams, CAPACITY)
        return search(decoder, state, decoding, start=END, end=END, capacity=CAPACITY, **kwargs)

    return go()


@pytest.mark.parametrize("beams, n_best", [(1, 1), (4, 3)])
def test_a_transformer_finds_what_it_finds_without_its_cache(model, source, beams, n_best):
    decoding = Decoding(beams=beams, n_best=n_best, length_penalty=0.6)
    found = find(model, source, decoding)
    uncached = find(Uncached(model), source, decoding)
    static = find(model, source, decoding, leave=False)
    compiled = find(model, source, decoding, leave=False, xla=True)
    assert len(np.unique(found.lengths)) >= 2
    for other in uncached, static, compiled:
        assert lists(other) == lists(found)
        np.testing.assert_allclose(other.scores, found.scores, rtol=1e-4)

    for number, tokens in enumerate(source):

        def log_probs(read, tokens=tokens):
            target = np.array([[END, *read]], np.int32)
            logits = model({"source": tokens[None], "target": target}, training=False)[0, -1]
            return tf.nn.log_softmax(logits).numpy()

        expected = beam_search(log_probs, END, beams, n_best, CAPACITY, 0.6)
        assert lists(found)[number] == [sequence for _, sequence in expected]
        scores = [score for score, _ in expected]
        np.testing.assert_allclose(found.scores[number, : len(scores)], scores, rtol=1e-4)
