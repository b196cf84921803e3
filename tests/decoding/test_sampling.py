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


def test_draws_are_those_of_the_numbers():
    numbers = np.array([0, 4, 2**40, 1, 7, 2, 3])
    drawn = sampling.uniform(5, numbers, 10)
    assert drawn.shape == (7, 10) and len(np.unique(drawn)) == 70
    np.testing.assert_array_equal(
        sampling.uniform(5, numbers[[2, 0]], 6), drawn.numpy()[[2, 0], :6]
    )
    assert sampling.uniform(5, numbers[:0], 10).shape == (0, 10)
    compiled = tf.function(lambda some: sampling.uniform(5, some, 10), jit_compile=True)
    np.testing.assert_array_equal(compiled(numbers), drawn)
    assert np.mean(sampling.uniform(-1, np.arange(2000), 5)) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("remove_finished", [True, False])
def test_an_example_has_the_same_sequence_in_any_batch(remove_finished):
    toy = Toy(7)
    sources, decoding = np.repeat(toy.sources(3), 4, axis=0), Decoding(temperature=1.0, seed=2)
    options = {"remove_finished": remove_finished}
    whole = lists(find(toy, sources, decoding, 8, numbers=np.arange(12), **options))
    assert whole == lists(find(toy, sources, decoding, 8, **options))
    assert len({tokens for (tokens,) in whole}) > 6
    for rows in ([5], [3, 4], [11, 0, 7, 6, 2]):
        part = lists(find(toy, sources[rows], decoding, 8, numbers=np.array(rows), **options))
        assert part == [whole[row] for row in rows]
