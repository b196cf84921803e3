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
    real = np.array([[True, True, True]] * 5 + [[True, True, False]])
    for n_best in 40, 3:
        found = find(toy, sources, Decoding(beams=40, n_best=n_best, **penalties), 4, real=real)
        for number, source in enumerate(sources):
            expected = sorted(
                (
                    (toy.score(source, tokens, real=real[number], **penalties), tokens)
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
    """What is found where token 1, else the end token 2, has these shares at the positions."""

    class Scripted:
        def step(self, tokens, state):
            share = state["shared"]["shares"][:, state["position"]]
            logits = tf.math.log(tf.stack([0 * share, share, 1 - share], axis=-1))
            logits = tf.tile(logits[:, None], [1, tokens.shape[1], 1])
            return logits, {**state, "position": state["position"] + 1}

    decoding = Decoding(beams=2, length_penalty=1.0)
    shared = {"shares": tf.constant(scripts, tf.float32)}
    rows = {"none": tf.zeros([len(scripts), 2])}
    state = {"shared": shared, "rows": rows, "position": tf.constant(0)}
    return search(Scripted(), state, decoding, start=2, end=2, capacity=9, **options)


@pytest.mark.parametrize("leave", [True, False])
def test_what_can_become_better_by_its_length_goes_on(leave):
    found = scripted([0.45, 1, 1, 1, 1, 0, 0, 0, 0], leave=leave)
    # log(0.55) / 1 is less than log(0.45) / (11 / 6).
    assert found.tokens.numpy()[0, 0, :6].tolist() == [1, 1, 1, 1, 1, 2]
    np.testing.assert_allclose(found.scores, [[np.log(0.45) * 6 / 11]], rtol=1e-5)


@pytest.mark.parametrize("leave", [True, False])
def test_what_is_done_stays_so_while_others_go_on(leave):
    # Two have ended after two steps; a third, log(0.25) / (14 / 6), would be better.
    found = scripted([0.5, 0.5, 1, 1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1, 1, 1, 0], leave=leave)
    assert found.lengths.numpy().tolist() == [[1], [9]]
    np.testing.assert_allclose(found.scores, [[np.log(0.5)], [0]], rtol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_leaving_static_shapes_and_xla_find_the_same(name):
    toy = Toy(7)
    sources = toy.sources(10)
    real = np.ones((10, 3), bool)
    leaving = find(toy, sources, CASES[name], 8, real=real)
    static = find(toy, sources, CASES[name], 8, real=real, leave=False)
    compiled = find(toy, sources, CASES[name], 8, real=real, leave=False, xla=True)
    assert static.tokens.shape == (10, CASES[name].n_best, 8)
    assert len(np.unique(leaving.lengths)) > 2
    assert_same(leaving, static)
    assert_same(leaving, compiled)


@pytest.mark.parametrize("name", CASES)
def test_an_example_does_not_depend_on_the_others(name):
    toy = Toy(7)
    sources = toy.sources(6)
    whole = find(toy, sources, CASES[name], 8, real=np.ones((6, 3), bool))
    part = find(toy, sources[:3], CASES[name], 8, real=np.ones((3, 3), bool))
    assert lists(part) == lists(whole)[:3]
    np.testing.assert_allclose(part.scores, whole.scores[:3], rtol=1e-5)


def test_examples_leave():
    toy = Toy(7)
    sources = toy.sources(24)
    found = find(toy, sources, Decoding(), 30)
    needed = int(tf.reduce_sum(found.lengths))
    assert needed < 24 * found.tokens.shape[2] / 2
    # Up to an eighth of the batch waits for others.
    assert needed <= int(toy.rows_read) <= needed * 8 / 7
    toy.rows_read.assign(0)
    find(toy, sources, Decoding(), 30, leave=False)
    assert int(toy.rows_read) == 24 * found.tokens.shape[2]


@pytest.mark.parametrize("leave", [True, False])
@pytest.mark.field("Decoding.min_length")
@pytest.mark.field("Decoding.max_length")
def test_lengths_are_kept_within_bounds(leave):
    toy = Toy(6)
    sources = toy.sources(10)
    decoding = Decoding(beams=3, n_best=3, min_length=3, max_length=5)
    free = find(toy, sources, Decoding(beams=3, n_best=3), 12)
    assert np.min(free.lengths) < 4 and np.max(free.lengths) > 6
    for capacity in 6, 12:
        found = find(toy, sources, decoding, capacity, leave=leave)
        assert set(np.unique(found.lengths)) == {4, 5, 6}
        for sequences in lists(found):
            for tokens in sequences:
                assert tokens[-1] == toy.end and not {0, toy.end} & set(tokens[:-1])
    fixed = find(toy, sources, dataclasses.replace(decoding, max_length=3), 12, leave=leave)
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


@pytest.mark.parametrize("leave", [True, False])
@pytest.mark.parametrize("name", ["beam", "drawn"])
def test_no_examples_and_one(name, leave):
    toy = Toy(7)
    sources = toy.sources(1)
    empty = find(toy, sources[:0], CASES[name], 8, leave=leave)
    assert empty.tokens.shape[:2] == empty.scores.shape == (0, CASES[name].n_best)
    one = find(toy, sources, CASES[name], 8, leave=leave)
    two = find(toy, np.repeat(sources, 2, axis=0), CASES[name], 8, leave=leave)
    assert lists(one)[0] == lists(two)[0]


def test_any_number_of_examples_in_one_graph():
    toy = Toy(7)
    decoding = CASES["beam"]

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, None, 4], tf.float32)])
    def go(sources):
        state = toy.start(sources, decoding.beams)
        return search(toy, state, decoding, start=toy.end, end=toy.end, capacity=8)

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


def test_logits_that_are_no_numbers_end():
    toy = Toy(7)
    found = find(toy, np.full((2, 3, 4), np.nan), Decoding(beams=2), 5)
    assert found.tokens.shape[2] <= 5


def test_no_room_for_the_least_length():
    toy = Toy(5)
    with pytest.raises(ValueError, match="min_length must be below 4, got 4"):
        find(toy, toy.sources(1), Decoding(min_length=4), 4)


def test_a_coverage_penalty_needs_coverage():
    toy = Toy(5)
    state = toy.start(toy.sources(1), 2)
    decoding = Decoding(beams=2, coverage_penalty=1.0)
    with pytest.raises(ValueError, match="coverage_penalty must be 0 where .*, got 1.0"):
        search(toy, state, decoding, start=4, end=4, capacity=4, source_real=np.ones((1, 3), bool))
