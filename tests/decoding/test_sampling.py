import collections

import numpy as np
import pytest
import tensorflow as tf
from toy_decoder import Toy, find, lists

from modelzoo.decoding import sampling
from modelzoo.decoding.config import Decoding

DRAWS = 10_000


def shares(log_probs, decoding):
    """Probabilities of sampling: the softmax at the temperature, of the best tokens only."""
    share = np.exp(log_probs / decoding.temperature)
    share /= share.sum()
    order = np.argsort(-share)
    share[order[decoding.top_k or len(order) :]] = 0
    share /= share.sum()
    before = np.cumsum(share[order]) - share[order]
    share[order[before >= (decoding.top_p or 1)]] = 0
    return share / share.sum()


@pytest.mark.parametrize(
    "decoding",
    [
        Decoding(temperature=0.7),
        Decoding(temperature=1.5, top_k=2, min_length=1),
        Decoding(temperature=1.2, top_p=0.7),
        Decoding(temperature=2.0, top_k=3, top_p=0.9, seed=-1),
        Decoding(temperature=1.0, top_k=100, top_p=1.0, seed=2**40),
    ],
    ids=["all", "top_k", "top_p", "both", "no bounds"],
)
@pytest.mark.field("Decoding.temperature")
@pytest.mark.field("Decoding.top_k")
@pytest.mark.field("Decoding.top_p")
def test_sequences_are_sampled_by_their_probabilities(decoding):
    toy = Toy(5, scale=1.0)
    source = toy.sources(1)
    found = find(toy, np.repeat(source, DRAWS, axis=0), decoding, 3)
    drawn = [tokens for (tokens,) in lists(found)]
    counts = collections.Counter(drawn)
    expected = {}
    for tokens in toy.all_sequences(decoding.min_length, 2):
        share = 1.0
        for place, token in enumerate(tokens[:2]):
            log_probs = toy.log_probs(source[0], tokens[:place])
            log_probs[0] = -np.inf
            if place < decoding.min_length:
                log_probs[toy.end] = -np.inf
            share *= shares(log_probs, decoding)[token]
        if share > 0:
            expected[tokens] = share
    assert counts.keys() <= expected.keys()
    assert sum(expected.values()) == pytest.approx(1)
    chi_square = sum(
        (counts[tokens] - share * DRAWS) ** 2 / (share * DRAWS)
        for tokens, share in expected.items()
    )
    freedom = len(expected) - 1
    assert freedom > 2 and chi_square < freedom + 4 * np.sqrt(2 * freedom)
    for tokens in counts:
        score = found.scores.numpy()[drawn.index(tokens), 0]
        assert score == pytest.approx(toy.score(source[0], tokens), rel=1e-4)


def test_at_low_temperature_the_best_is_sampled():
    toy = Toy(7)
    sources = toy.sources(8)
    for temperature in 1e-4, 1e-30:
        cold = find(toy, sources, Decoding(temperature=temperature), 8)
        assert lists(cold) == lists(find(toy, sources, Decoding(), 8))


@pytest.mark.field("Decoding.seed")
def test_draws_follow_the_seed():
    toy = Toy(7)
    sources = np.repeat(toy.sources(1), 20, axis=0)
    one, again, other = (
        lists(find(toy, sources, Decoding(temperature=1.0, seed=seed), 8)) for seed in (0, 0, 1)
    )
    assert one == again != other
    assert len({tokens for (tokens,) in one}) > 5


def test_draws_do_not_depend_on_their_number():
    few, many = sampling.uniform(5, 3, 10), sampling.uniform(5, 7, 10)
    np.testing.assert_array_equal(few, many[:3])
    compiled = tf.function(sampling.uniform, jit_compile=True)(5, 7, 10)
    np.testing.assert_array_equal(compiled, many)
    assert len(np.unique(many)) == 70
