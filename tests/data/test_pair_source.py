"""Pairs as tokens: ended, cut and padded, and planned in batches by both lengths."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from modelzoo.data.batches import TrainingBatches, batch_sizes, evaluation_batches
from modelzoo.data.pair_source import pair_source
from modelzoo.data.spec import PairSpec
from modelzoo.data.tokenizers import Words

LEFT = Words().train(["a b c d e f g h i j k"])
RIGHT = Words().train(["p q r s t"])
LENGTHS, BESIDE = (3, 6, 9), (2, 4, 8)


def spec_of(target_tokenizer=RIGHT, lengths=LENGTHS, target_lengths=BESIDE):
    return PairSpec(
        lengths=lengths,
        target_lengths=target_lengths,
        tokenizer=LEFT,
        target_tokenizer=target_tokenizer,
    )


def ids_of(tokenizer, text):
    return [tokenizer.vocabulary.index(word) for word in text.split()]


def padded(row, length):
    return row + [0] * (length - len(row))


SOURCES = ["a b", "c", "a b c d e f g h i j k", "d e"]
TARGETS = ["p", "q r s t", "s", "t t t t t t t t t"]


def source_of(**options):
    return pair_source(spec_of(), list("wxyz"), SOURCES, TARGETS, **options)


@pytest.mark.parametrize("length", [None, 3, 6, 9])
def test_both_sides_end_and_are_padded_to_their_lengths(length):
    source = source_of()
    spec = source.spec
    assert (spec.source_end, spec.target_end) == (LEFT.vocab_size, RIGHT.vocab_size)
    raw = source.gather([0, -1], length)
    at = 2 if length is None else LENGTHS.index(length)
    left = padded([*ids_of(LEFT, "a b"), spec.source_end], LENGTHS[at])
    right = padded([*ids_of(RIGHT, "p"), spec.target_end], BESIDE[at])
    assert raw["source"].numpy().tolist() == [left] * 2 and raw["source"].dtype == tf.int32
    assert raw["target"].numpy().tolist() == [right] * 2 and raw["target"].dtype == tf.int32
    assert raw["weight"].numpy().tolist() == [1, 0] and raw["index"].numpy().tolist() == [0, -1]
    assert raw["text"].numpy().tolist() == [b"a b"] * 2
    read = tf.function(source.gather)
    if length is not None:
        again = read(tf.constant([0, -1], tf.int64), tf.constant(length, tf.int64))
        for name, value in raw.items():
            np.testing.assert_array_equal(again[name], value)


def test_what_is_too_long_is_cut_before_its_end():
    source = source_of(references=[("p",), ("q",), ("s", "other"), ("whole",)])
    raw = source.gather([2, 3])
    spec = source.spec
    assert raw["source"][0].numpy().tolist() == [*ids_of(LEFT, "a b c d e f g h"), spec.source_end]
    assert raw["target"][1].numpy().tolist() == [*ids_of(RIGHT, "t t t t t t t"), spec.target_end]
    assert raw["text"][0].numpy().decode() == SOURCES[2]
    assert list(source.references) == [("p",), ("q",), ("s", "other"), ("whole",)]


def test_a_row_has_the_least_length_that_holds_both_sides():
    source = source_of()
    # By its source, target, source and target; the target's tokens have an end of their own.
    assert source.lengths.tolist() == [3, 9, 9, 9] and source.tokens.tolist() == [2, 5, 2, 8]
    assert source.references == [(text,) for text in TARGETS]


def test_long_pairs_may_be_left_out_and_counted():
    source = source_of(skip_long=True, skipped=[("v", "is empty")], groups=list("abcd"))
    assert source.ids == ["w", "x"] and source.groups == ["a", "b"]
    assert source.references == [("p",), ("q r s t",)] and source.tokens.tolist() == [2, 5]
    reason = "has more than 9 and 8 tokens"
    assert source.skipped == [("v", "is empty"), ("y", reason), ("z", reason)]
    assert source.gather([1])["text"].numpy().tolist() == [b"c"]
    assert source.remarks == []


def test_what_was_cut_and_what_the_vocabulary_lacks_is_told():
    cut = "2 of 4 pairs are cut to 9 and 8 tokens"
    assert source_of().remarks == source_of().subset(np.array([0])).remarks == [cut]
    # All of the target's and a third of the source's 3 tokens.
    source = pair_source(spec_of(), ["v"], ["a a x"], ["x"])
    assert source.remarks == [
        "the vocabulary lacks 33% of the tokens of the source texts",
        "the vocabulary lacks 100% of the tokens of the target texts",
    ]
    # One of 10 is told, one of 11 is not.
    told = [pair_source(spec_of(), ["v"], [f"x{' b' * n}"], ["p"]).remarks for n in (8, 9, 10)]
    assert list(map(len, told)) == [2, 2, 1]


def test_a_subset_keeps_what_belongs_to_its_rows():
    source = source_of(weights=np.array([1, 2, 3, 4], np.float32))
    part = source.subset(np.array([3, 0]))
    assert part.references == [(TARGETS[3],), (TARGETS[0],)]
    assert part.tokens.tolist() == [8, 2] and part.lengths.tolist() == [9, 3]
    raw, whole = part.gather([1, 0], 9), source.gather([0, 3], 9)
    for name in ("source", "target", "text", "weight"):
        np.testing.assert_array_equal(raw[name], whole[name])
    assert raw["weight"].numpy().tolist() == [1, 4]


def test_a_pair_without_any_token_has_its_ends():
    source = pair_source(spec_of(), ["0"], [" \u200b"], [""])
    raw = source.gather([0], 3)
    assert raw["source"].numpy().tolist() == [[source.spec.source_end, 0, 0]]
    assert raw["target"].numpy().tolist() == [[source.spec.target_end, 0]]


def many(count=150):
    rng = np.random.default_rng(0)
    left = rng.integers(1, 9, count)
    # Of one in ten the target decides.
    right = np.where(rng.random(count) < 0.1, 7, np.maximum(left // 2, 1))
    sides = [[" ".join(["a"] * n) for n in side] for side in (left, right)]
    return pair_source(spec_of(), [str(k) for k in range(count)], *sides)


def test_a_budget_counts_the_longer_of_both_lengths():
    source = many()
    assert batch_sizes(source, tokens_per_batch=100) == {3: 32, 6: 16, 9: 8}
    spec = spec_of(lengths=(3, 6), target_lengths=(12, 12))
    wide = pair_source(spec, ["0"], ["a"], ["p"])
    assert batch_sizes(wide, tokens_per_batch=200, parts=2) == {3: 16, 6: 16}


def test_each_pair_comes_once_an_epoch_within_its_lengths():
    source = many()
    sizes = batch_sizes(source, tokens_per_batch=80)
    batches = TrainingBatches(source, 1, sizes)
    taken, position = batches.take(0, 60)
    seen = collections.Counter()
    for rows, epochs, length in taken:
        raw = source.gather(rows, length)
        k = LENGTHS.index(length)
        assert raw["source"].shape == (sizes[length], length)
        assert raw["target"].shape == (sizes[length], BESIDE[k])
        for side, end in (("source", LEFT.vocab_size), ("target", RIGHT.vocab_size)):
            # Whole: each has its end.
            assert ((raw[side] == end).numpy().sum(1) == 1).all()
        if k:
            longer = (raw["source"].numpy() > 0).sum(1) > LENGTHS[k - 1]
            assert (longer | ((raw["target"].numpy() > 0).sum(1) > BESIDE[k - 1])).all()
        seen.update(zip(rows.tolist(), epochs.tolist(), strict=True))
    assert set(seen.values()) == {1} and position > 3 * 150
    assert {(row, epoch) for row in range(150) for epoch in range(2)} <= seen.keys()
    # Another process goes on at any batch.
    for done in (1, 17, 42):
        _, position = TrainingBatches(many(), 1, sizes).take(0, done)
        rest, _ = TrainingBatches(many(), 1, sizes).take(position, 60 - done)
        for ours, theirs in zip(rest, taken[done:], strict=True):
            np.testing.assert_array_equal(ours.rows, theirs.rows)
            assert ours.length == theirs.length
    rows = np.concatenate([batch.rows for batch in evaluation_batches(source, sizes)])
    assert sorted(rows[rows >= 0]) == list(range(150))
