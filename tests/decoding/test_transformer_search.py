import numpy as np
import pytest
import tensorflow as tf
from named_inputs import feed, feed_pair, pair
from toy_decoder import beam_search, lists

from modelzoo.decoding.config import Decoding
from modelzoo.decoding.search import search
from modelzoo.models.transformer import Transformer

VOCABULARY, END, CAPACITY = 9, 8, 7


class Uncached:
    """Reads all tokens again in each step; its state holds the tokens of each beam."""

    def __init__(self, model):
        self.model = model

    def start(self, inputs, beams, capacity):
        read = tf.zeros([*inputs["tokens"].shape[:1], beams, capacity], tf.int32)
        return {"shared": dict(inputs), "beams": {"read": read}, "position": tf.constant(0)}

    def step(self, tokens, state):
        read, position = state["beams"]["read"], state["position"]
        beams, capacity = read.shape[1:]
        read = tf.where(tf.range(capacity) == position, tokens[..., None], read)
        target = tf.reshape(read, [-1, capacity])
        source = tf.repeat(state["shared"]["tokens"], beams, axis=0)
        logits = self.model(feed_pair(source, target), training=False)[:, position]
        state = {**state, "beams": {"read": read}, "position": position + 1}
        return tf.reshape(logits, [-1, beams, VOCABULARY]), state


@pytest.fixture(scope="module")
def model():
    config = Transformer(
        num_encoder_layers=1,
        num_decoder_layers=2,
        hidden_dim=8,
        intermediate_dim=16,
        num_heads=2,
        share_embeddings="none",
    )
    model = config.build(pair(VOCABULARY, lengths=(5, CAPACITY)), VOCABULARY)
    rng = np.random.default_rng(5)
    for variable in model.variables:  # Larger than in training, so that tokens matter.
        if variable.path.endswith(("kernel", "embeddings")):
            variable.assign(0.7 * rng.normal(size=variable.shape))
    return model


@pytest.fixture
def source():
    return np.random.default_rng(1).integers(1, END, (6, 4)).astype(np.int32)


def find(decoder, source, decoding, **kwargs):
    @tf.function(jit_compile=kwargs.pop("xla", False), autograph=False)
    def go():
        state = decoder.start(feed(tf.constant(source)), decoding.beams, CAPACITY)
        ids = {"start": END, "end": END, "pad": 0, "forbidden": (0,)}
        return search(decoder, state, decoding, **ids, capacity=CAPACITY, **kwargs)

    return go()


@pytest.mark.parametrize("beams, n_best", [(1, 1), (4, 3)])
def test_a_transformer_finds_what_it_finds_without_its_cache(model, source, beams, n_best):
    decoding = Decoding(beams=beams, n_best=n_best, length_penalty=0.6)
    found = find(model, source, decoding)
    uncached = find(Uncached(model), source, decoding)
    static = find(model, source, decoding, remove_finished=False)
    compiled = find(model, source, decoding, remove_finished=False, xla=True)
    assert len(np.unique(found.lengths)) >= 2
    for other in uncached, static, compiled:
        assert lists(other) == lists(found)
        np.testing.assert_allclose(other.scores, found.scores, rtol=1e-4)

    for number, tokens in enumerate(source):

        def log_probs(read, tokens=tokens):
            target = np.array([[END, *read]], np.int32)
            logits = model(feed_pair(tokens[None], target), training=False)[0, -1]
            return tf.nn.log_softmax(logits).numpy()

        expected = beam_search(log_probs, END, beams, n_best, CAPACITY, 0.6)
        assert lists(found)[number] == [sequence for _, sequence in expected]
        scores = [score for score, _ in expected]
        np.testing.assert_allclose(found.scores[number, : len(scores)], scores, rtol=1e-4)
