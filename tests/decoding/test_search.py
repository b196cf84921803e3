import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf
from toy_decoder import Toy, beam_search, find, lists

from modelzoo.decoding.config import Decoding
from modelzoo.decoding.search import search


def assert_same(one, other):
    length = min(one.tokens.shape[2], other.tokens.shape[2])
    np.testing.assert_array_equal(one.lengths, other.lengths)
    np.testing.assert_array_equal(one.tokens[..., :length], other.tokens[..., :length])
    assert not np.any(one.tokens[..., length:]) and not np.any(other.tokens[..., length:])
    np.testing.assert_allclose(one.scores, other.scores, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_a_beam_of_one_is_greedy(length_penalty):
    toy = Toy(7)
    sources = toy.sources(12)
    found = find(toy, sources, Decoding(length_penalty=length_penalty), 9)
    for source, sequences, scores in zip(sources, lists(found), found.scores, strict=True):
        tokens = ()
        while not tokens or tokens[-1] != toy.end:
            log_probs = toy.log_probs(source, tokens)
            log_probs[0] = -np.inf
            tokens += (toy.end if len(tokens) == 8 else int(np.argmax(log_probs)),)
        assert sequences == [tokens]
        np.testing.assert_allclose(scores, [toy.score(source, tokens, length_penalty)], rtol=1e-5)
    assert len(np.unique(found.lengths)) > 3


@pytest.mark.parametrize("length_penalty", [0.0, 2.0])
@pytest.mark.parametrize("coverage_penalty", [0.0, 0.7])
@pytest.mark.field("Decoding.length_penalty")
@pytest.mark.field("Decoding.coverage_penalty")
def test_a_beam_as_wide_as_the_space_finds_the_best(length_penalty, coverage_penalty):
    toy = Toy(5)
    sources = toy.sources(6)
    penalties = {"length_penalty": length_penalty, "coverage_penalty": coverage_penalty}
    mask = np.array([[True, True, True]] * 5 + [[True, True, False]])
    for n_best in 40, 3:
        found = find(toy, sources, Decoding(beams=40, n_best=n_best, **penalties), 4, mask=mask)
        for number, source in enumerate(sources):
            expected = sorted(
                (
                    (toy.score(source, tokens, mask=mask[number], **penalties), tokens)
                    for tokens in toy.all_sequences(0, 3)
                ),
                reverse=True,
            )
            assert len(expected) == 40
            assert lists(found)[number] == [tokens for _, tokens in expected[:n_best]]
            scores = [score for score, _ in expected[:n_best]]
            np.testing.assert_allclose(found.scores[number], scores, rtol=1e-5)


@pytest.mark.parametrize("beams, n_best", [(2, 1), (3, 2), (4, 4)])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
@pytest.mark.field("Decoding.beams")
@pytest.mark.field("Decoding.n_best")
def test_a_beam_search_is_the_one_over_lists(beams, n_best, length_penalty):
    toy = Toy(7, scale=1.0)
    sources = toy.sources(8)
    decoding = Decoding(beams=beams, n_best=n_best, length_penalty=length_penalty, min_length=1)
    found = find(toy, sources, decoding, 8)
    assert len(np.unique(found.lengths)) > 1
    for number, source in enumerate(sources):
        log_probs = functools.partial(toy.log_probs, source)
        expected = beam_search(log_probs, toy.end, beams, n_best, 8, length_penalty, least=1)
        assert lists(found)[number] == [tokens for _, tokens in expected]
        scores = [score for score, _ in expected]
        np.testing.assert_allclose(found.scores[number], scores, rtol=1e-5)
        assert scores == sorted(scores, reverse=True)
        assert len(set(lists(found)[number])) == n_best
        for score, tokens in expected:
            assert score == pytest.approx(toy.score(source, tokens, length_penalty))


CASES = {
    "greedy": Decoding(),
    "beam": Decoding(beams=3, n_best=2, length_penalty=0.8),
    "coverage": Decoding(beams=3, coverage_penalty=0.5),
    "drawn": Decoding(temperature=1.3, seed=3),
    "top": Decoding(temperature=2.0, top_k=4, top_p=0.8),
}


def scripted(*scripts, **options):
    """The result if token 1 has these probabilities at the positions, and end token 2 the rest."""

    class Scripted:
        def step(self, tokens, state):
            share = state["shared"]["shares"][:, state["position"]]
            logits = tf.math.log(tf.stack([0 * share, share, 1 - share], axis=-1))
            logits = tf.tile(logits[:, None], [1, tokens.shape[1], 1])
            return logits, {**state, "position": state["position"] + 1}

    decoding = Decoding(beams=2, length_penalty=1.0)
    shared = {"shares": tf.constant(scripts, tf.float32)}
    beams = {"none": tf.zeros([len(scripts), 2])}
    state = {"shared": shared, "beams": beams, "position": tf.constant(0)}
    ids = {"start": 2, "end": 2, "pad": 0, "forbidden": (0,)}
    return search(Scripted(), state, decoding, **ids, capacity=9, **options)


@pytest.mark.parametrize("remove_finished", [True, False])
def test_a_beam_that_can_become_better_by_its_length_continues(remove_finished):
    found = scripted([0.45, 1, 1, 1, 1, 0, 0, 0, 0], remove_finished=remove_finished)
    # log(0.55) / 1 is less than log(0.45) / (11 / 6).
    assert found.tokens.numpy()[0, 0, :6].tolist() == [1, 1, 1, 1, 1, 2]
    np.testing.assert_allclose(found.scores, [[np.log(0.45) * 6 / 11]], rtol=1e-5)


@pytest.mark.parametrize("remove_finished", [True, False])
def test_a_finished_example_does_not_change_while_others_continue(remove_finished):
    # Two have ended after two steps; a third, log(0.25) / (14 / 6), would be better.
    found = scripted(
        [0.5, 0.5, 1, 1, 1, 1, 1, 1, 0],
        [1, 1, 1, 1, 1, 1, 1, 1, 0],
        remove_finished=remove_finished,
    )
    assert found.lengths.numpy().tolist() == [[1], [9]]
    np.testing.assert_allclose(found.scores, [[np.log(0.5)], [0]], rtol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_dynamic_shapes_static_shapes_and_xla_find_the_same(name):
    toy = Toy(7)
    sources = toy.sources(10)
    mask = np.ones((10, 3), bool)
    dynamic = find(toy, sources, CASES[name], 8, mask=mask)
    static = find(toy, sources, CASES[name], 8, mask=mask, remove_finished=False)
    compiled = find(toy, sources, CASES[name], 8, mask=mask, remove_finished=False, xla=True)
    assert static.tokens.shape == (10, CASES[name].n_best, 8)
    assert len(np.unique(dynamic.lengths)) > 2
    assert_same(dynamic, static)
    assert_same(dynamic, compiled)


@pytest.mark.parametrize("name", CASES)
def test_an_example_does_not_depend_on_the_others(name):
    toy = Toy(7)
    sources = toy.sources(6)
    whole = find(toy, sources, CASES[name], 8, mask=np.ones((6, 3), bool))
    part = find(toy, sources[:3], CASES[name], 8, mask=np.ones((3, 3), bool))
    assert lists(part) == lists(whole)[:3]
    np.testing.assert_allclose(part.scores, whole.scores[:3], rtol=1e-5)


def test_finished_examples_are_removed():
    toy = Toy(7)
    sources = toy.sources(24)
    found = find(toy, sources, Decoding(), 30)
    needed = int(tf.reduce_sum(found.lengths))
    assert needed < 24 * found.tokens.shape[2] / 2
    # Up to an eighth of the batch is finished but not removed.
    assert needed <= int(toy.tokens_read) <= needed * 8 / 7
    toy.tokens_read.assign(0)
    find(toy, sources, Decoding(), 30, remove_finished=False)
    assert int(toy.tokens_read) == 24 * found.tokens.shape[2]


@pytest.mark.parametrize("remove_finished", [True, False])
@pytest.mark.field("Decoding.min_length")
@pytest.mark.field("Decoding.max_length")
def test_lengths_are_kept_within_bounds(remove_finished):
    toy = Toy(6)
    sources = toy.sources(10)
    decoding = Decoding(beams=3, n_best=3, min_length=3, max_length=5)
    free = find(toy, sources, Decoding(beams=3, n_best=3), 12)
    assert np.min(free.lengths) < 4 and np.max(free.lengths) > 6
    for capacity in 6, 12:
        found = find(toy, sources, decoding, capacity, remove_finished=remove_finished)
        assert set(np.unique(found.lengths)) == {4, 5, 6}
        for sequences in lists(found):
            for tokens in sequences:
                assert tokens[-1] == toy.end and not {0, toy.end} & set(tokens[:-1])
    fixed = find(
        toy,
        sources,
        dataclasses.replace(decoding, max_length=3),
        12,
        remove_finished=remove_finished,
    )
    assert np.all(fixed.lengths == 4)


def test_at_the_capacity_every_sequence_is_ended():
    toy = Toy(5)
    toy.bias[toy.end] = -100
    sources = toy.sources(4)
    found = find(toy, sources, Decoding(beams=2, n_best=2), 4)
    assert np.all(found.lengths == 4) and np.all(found.tokens[..., 3] == toy.end)
    for source, sequences, scores in zip(sources, lists(found), found.scores, strict=True):
        expected = [toy.score(source, tokens) for tokens in sequences]
        np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_fewer_sequences_than_asked_for():
    toy = Toy(4)
    found = find(toy, toy.sources(3), Decoding(beams=5, n_best=5), 2)
    assert np.all(np.isfinite(found.scores) == [[True, True, True, False, False]])
    assert np.all(np.sort(found.lengths) == [[0, 0, 1, 2, 2]])
    assert not np.any(found.tokens[:, 3:])


@pytest.mark.parametrize("remove_finished", [True, False])
@pytest.mark.parametrize("name", ["beam", "drawn"])
def test_no_examples_and_one(name, remove_finished):
    toy = Toy(7)
    sources = toy.sources(1)
    empty = find(toy, sources[:0], CASES[name], 8, remove_finished=remove_finished)
    assert empty.tokens.shape[:2] == empty.scores.shape == (0, CASES[name].n_best)
    one = find(toy, sources, CASES[name], 8, remove_finished=remove_finished)
    two = find(toy, np.repeat(sources, 2, axis=0), CASES[name], 8, remove_finished=remove_finished)
    assert lists(one)[0] == lists(two)[0]


def test_any_number_of_examples_in_one_graph():
    toy = Toy(7)
    decoding = CASES["beam"]

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, None, 4], tf.float32)])
    def go(sources):
        state = toy.start(sources, decoding.beams)
        return search(toy, state, decoding, start=6, end=6, pad=0, forbidden=(0,), capacity=8)

    sources = toy.sources(5).astype(np.float32)
    assert_same(go(sources), find(toy, sources, decoding, 8))
    assert go(sources[:0]).tokens.shape[:2] == (0, 2)


def test_float64_logits():
    toy = Toy(7)
    sources = toy.sources(8)
    for name in "beam", "drawn":
        single = find(toy, sources, CASES[name], 8)
        double = find(toy, sources, CASES[name], 8, dtype=tf.float64)
        assert double.scores.dtype == tf.float32
        assert_same(single, double)


def test_nan_logits_end():
    toy = Toy(7)
    found = find(toy, np.full((2, 3, 4), np.nan), Decoding(beams=2), 5)
    assert found.tokens.shape[2] <= 5


def test_the_minimum_length_must_fit():
    toy = Toy(5)
    with pytest.raises(ValueError, match="min_length must be below 4, got 4"):
        find(toy, toy.sources(1), Decoding(min_length=4), 4)


def test_a_coverage_penalty_needs_coverage():
    toy = Toy(5)
    state = toy.start(toy.sources(1), 2)
    decoding = Decoding(beams=2, coverage_penalty=1.0)
    ids = {"start": 4, "end": 4, "pad": 0}
    with pytest.raises(ValueError, match="^coverage_penalty must be 0 without .*, got 1.0"):
        search(toy, state, decoding, **ids, capacity=4, memory_mask=np.ones((1, 3), bool))
    with pytest.raises(ValueError, match="^coverage_penalty must be 0 without .*, got 1.0"):
        search(toy, toy.start(toy.sources(1), 2, coverage=True), decoding, **ids, capacity=4)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("remove_finished", [True, False])
def test_special_tokens_may_have_any_id(name, remove_finished):
    """With permuted ids, where 3 is padding and 0 is a word, the sequences are permuted."""
    toy, new_ids = Toy(7), np.array([3, 0, 6, 2, 5, 4, 1])
    other = toy.permuted(new_ids)
    assert (other.pad, other.end) == (3, 1)
    # Sampling selects tokens in the order of their ids, so it is nearly deterministic here.
    case = CASES[name]
    if case.temperature is not None:
        case = dataclasses.replace(case, temperature=1e-4)
    options = {"mask": np.ones((10, 3), bool), "remove_finished": remove_finished}
    found = find(toy, toy.sources(10), case, 8, **options)
    permuted = find(other, toy.sources(10), case, 8, **options)
    np.testing.assert_array_equal(permuted.tokens, new_ids[found.tokens])
    np.testing.assert_array_equal(permuted.lengths, found.lengths)
    np.testing.assert_allclose(permuted.scores, found.scores, rtol=1e-5)
    assert np.any(np.equal(permuted.tokens, 0)) and np.any(np.equal(permuted.tokens, 3))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("forbidden", [(), (0,), (2, 4), (0, 1, 2, 3, 5)])
def test_forbidden_tokens_are_in_no_sequence(name, forbidden):
    toy = Toy(7)
    sources, mask = toy.sources(20), np.ones((20, 3), bool)
    covers = CASES[name].coverage_penalty > 0
    state = toy.start(sources, CASES[name].beams, covers)
    ids = {"start": 6, "end": 6, "pad": 0}
    found = search(
        toy, state, CASES[name], **ids, forbidden=forbidden, capacity=8, memory_mask=mask
    )
    used = {token for sequences in lists(found) for tokens in sequences for token in tokens}
    assert used.isdisjoint(forbidden) and 6 in used and len(used) > 1
    with pytest.raises(
        ValueError, match=r"^forbidden must not hold the end token, 6, got \(0, 6\)"
    ):
        search(toy, state, CASES[name], **ids, forbidden=(0, 6), capacity=8, memory_mask=mask)


@pytest.mark.parametrize("beams", [2, 4])
def test_forbidden_tokens_do_not_displace_others(beams):
    """With forbidden tokens the search is the one over lists with them at minus infinity."""
    toy, forbidden = Toy(7, scale=1.0), (0, 2, 4)
    sources = toy.sources(8)
    decoding = Decoding(beams=beams, n_best=2)
    ids = {"start": 6, "end": 6, "pad": 0, "forbidden": forbidden}
    found = search(toy, toy.start(sources, beams), decoding, **ids, capacity=8)
    for number, source in enumerate(sources):

        def log_probs(tokens, source=source):
            values = toy.log_probs(source, tokens)
            values[list(forbidden)] = -np.inf
            return values

        expected = beam_search(log_probs, toy.end, beams, 2, 8)
        assert lists(found)[number] == [tokens for _, tokens in expected]


def test_padding_may_be_a_token_of_sequences():
    """As in GPT-2, whose end token is its padding too."""
    toy = Toy(7)
    ids = {"start": 6, "end": 6, "pad": 6}
    found = search(toy, toy.start(toy.sources(10), 1), Decoding(), **ids, capacity=8)
    after = np.arange(found.tokens.shape[2]) >= found.lengths[..., None]
    assert np.all(found.tokens.numpy()[after] == 6) and np.any(after)
