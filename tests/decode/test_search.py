import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from toy_decoder import Toy, lists

from modelzoo.decode.config import Decoding
from modelzoo.decode.search import search


def run(toy, sources, decoding, capacity, *, leave=True, xla=False, dtype=tf.float32, real=None):
    covers = decoding.coverage_penalty > 0

    @tf.function(jit_compile=xla, autograph=False)
    def go(sources):
        state = toy.start(sources, decoding.beams, covers, dtype)
        return search(
            toy,
            state,
            decoding,
            start=toy.end,
            end=toy.end,
            capacity=capacity,
            source_real=real,
            leave=leave,
        )

    return go(sources)


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
    found = run(toy, sources, Decoding(length_penalty=length_penalty), 9)
    for source, sequences, scores in zip(sources, lists(found), found.scores, strict=True):
        tokens = ()
        while not tokens or tokens[-1] != toy.end:
            log_probs = toy.log_probs(source, tokens)
            log_probs[0] = -np.inf
            tokens += (toy.end if len(tokens) == 8 else int(np.argmax(log_probs)),)
        assert sequences == [tokens]
        np.testing.assert_allclose(scores, [toy.score(source, tokens, length_penalty)], rtol=1e-5)
    assert len(np.unique(found.lengths)) > 2


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 2.0])
@pytest.mark.parametrize("coverage_penalty", [0.0, 0.7])
def test_a_beam_as_wide_as_the_space_finds_the_best(length_penalty, coverage_penalty):
    toy = Toy(5)
    sources = toy.sources(6)
    decoding = Decoding(
        beams=40,
        n_best=40,
        length_penalty=length_penalty,
        coverage_penalty=coverage_penalty,
    )
    found = run(toy, sources, decoding, 4, real=tf.ones([6, 3], tf.bool))
    best = run(
        toy,
        sources,
        dataclasses.replace(decoding, n_best=3),
        4,
        real=tf.ones([6, 3], tf.bool),
    )
    for number, source in enumerate(sources):
        expected = sorted(
            (
                (toy.score(source, tokens, length_penalty, coverage_penalty), tokens)
                for tokens in toy.all_sequences(0, 3)
            ),
            reverse=True,
        )
        assert len(expected) == 40
        assert lists(found)[number] == [tokens for _, tokens in expected]
        np.testing.assert_allclose(
            found.scores[number], [score for score, _ in expected], rtol=1e-5
        )
        assert lists(best)[number] == [tokens for _, tokens in expected[:3]]
