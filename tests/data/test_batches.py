"""Planned batches: full, of one bucket, every example once in an epoch, and resumed anywhere."""

import collections
import itertools
import types

import numpy as np
import pytest

from modelzoo.data.batches import TrainingBatches, batch_sizes, evaluation_batches
from modelzoo.data.buckets import Buckets
from modelzoo.data.order import Order
from modelzoo.fields.errors import UserError

LENGTHS = (4, 8, 16)
SIZES = {0: 8, 1: 4, 2: 2}


def split_of(lengths):
    """A split of which nothing is read; the lengths of its examples, or their number."""
    if isinstance(lengths, int):
        table, lengths = Buckets(), np.zeros(lengths, np.int64)
    else:
        table, lengths = Buckets({"inputs": LENGTHS}), np.asarray(lengths)
    return types.SimpleNamespace(
        num_examples=len(lengths),
        lengths=lengths,
        buckets=table.bucket({"inputs": lengths}, len(lengths)),
        bound=types.SimpleNamespace(buckets=table),
    )


def texts(count=103):
    return split_of(np.random.default_rng(0).integers(1, 17, count))


def test_examples_without_lengths_come_in_the_planned_order():
    batches = TrainingBatches(split_of(10), 3, {0: 4})
    taken, position = batches.take(6, 3)
    rows, epochs = Order(3, 10).rows(6, 12)
    assert position == 18 and [b.bucket for b in taken] == [0, 0, 0]
    np.testing.assert_array_equal(np.concatenate([b.rows for b in taken]), rows)
    np.testing.assert_array_equal(np.concatenate([b.epochs for b in taken]), epochs)
    assert batches.mean_size == 4


def test_a_token_budget_is_divided_by_the_width_of_each_bucket():
    # 300 tokens hold 75, 37 and 18 texts.
    assert batch_sizes(texts(), tokens_per_batch=300) == {0: 72, 1: 32, 2: 16}
    assert batch_sizes(texts(), tokens_per_batch=300, parts=4) == {0: 72, 1: 32, 2: 16}
    assert batch_sizes(texts(), tokens_per_batch=400, parts=3) == {0: 96, 1: 48, 2: 24}
    assert batch_sizes(texts(), 12) == {0: 12, 1: 12, 2: 12}


def test_a_budget_for_data_without_sequences_is_refused():
    with pytest.raises(UserError, match="tokens_per_batch must be none for data without sequences"):
        batch_sizes(split_of(5), tokens_per_batch=300)


def test_a_budget_that_holds_no_batch_is_refused():
    with pytest.raises(
        UserError, match="tokens_per_batch must be at least 384, 24 examples of 16 tokens, got"
    ):
        batch_sizes(texts(), tokens_per_batch=300, parts=3)


@pytest.mark.parametrize("sizes", [SIZES, {0: 5, 1: 5, 2: 5}, {0: 64, 1: 32, 2: 16}])
def test_batches_are_full_and_of_the_least_bucket_that_fits_their_rows(sizes):
    split = texts()
    taken, _ = TrainingBatches(split, 1, sizes).take(0, 200)
    for rows, _, bucket in taken:
        assert len(rows) == sizes[bucket]
        length, longest = LENGTHS[bucket], split.lengths[rows].max()
        assert longest <= length and all(longest > n for n in LENGTHS if n < length)
    assert {b.bucket for b in taken} == set(sizes)


def test_every_row_comes_once_in_an_epoch():
    split = texts()
    taken, position = TrainingBatches(split, 1, SIZES).take(0, 300)
    seen = collections.Counter(
        (int(row), int(epoch)) for b in taken for row, epoch in zip(b.rows, b.epochs, strict=True)
    )
    assert set(seen.values()) == {1}
    # No bucket runs far ahead of the others.
    assert position // 103 > 5
    for epoch in range(position // 103 - 1):
        assert {(row, epoch) for row in range(103)} <= seen.keys()


def test_buckets_are_mixed_and_seeds_differ():
    batches = TrainingBatches(texts(), 1, SIZES)
    taken, _ = batches.take(0, 60)
    buckets = [b.bucket for b in taken]
    assert sum(a != b for a, b in itertools.pairwise(buckets)) > 20
    other, _ = TrainingBatches(texts(), 2, SIZES).take(0, 60)
    assert any(not np.array_equal(a.rows, b.rows) for a, b in zip(taken, other, strict=True))


@pytest.mark.parametrize("done", [1, 7, 23, 24, 25, 71])
def test_the_stream_resumes_anywhere(done):
    whole, _ = TrainingBatches(texts(), 1, SIZES).take(0, 80)
    _, position = TrainingBatches(texts(), 1, SIZES).take(0, done)
    assert position == sum(len(b.rows) for b in whole[:done])
    rest, end = TrainingBatches(texts(), 1, SIZES).take(position, 80 - done)
    assert end == sum(len(b.rows) for b in whole)
    for ours, theirs in zip(rest, whole[done:], strict=True):
        np.testing.assert_array_equal(ours.rows, theirs.rows)
        np.testing.assert_array_equal(ours.epochs, theirs.epochs)


def test_a_position_within_a_batch_resumes_at_the_next_one():
    whole, _ = TrainingBatches(texts(), 1, SIZES).take(0, 3)
    first = len(whole[0].rows)
    rest, _ = TrainingBatches(texts(), 1, SIZES).take(first - 1, 1)
    np.testing.assert_array_equal(rest[0].rows, whole[1].rows)


def test_epochs_differ_in_the_order_of_buckets_and_buckets_in_that_of_their_rows():
    # 24 examples of each bucket fill whole batches, equally many in each epoch.
    batches = TrainingBatches(split_of(np.repeat(LENGTHS, 24)), 1, dict.fromkeys(SIZES, 4))
    epochs = [batches.take(72 * k, 18)[0] for k in range(4)]
    assert len({tuple(b.bucket for b in epoch) for epoch in epochs}) == 4
    # Equal places within their buckets do not lead to equal batches.
    drawn = [{frozenset((b.rows % 24).tolist()) for b in epochs[0] if b.bucket == k} for k in SIZES]
    assert drawn[0] != drawn[1] != drawn[2] != drawn[0]


def test_the_mean_size_gives_the_steps_of_an_epoch():
    batches = TrainingBatches(texts(), 1, SIZES)
    steps = 103 / batches.mean_size
    _, position = batches.take(0, round(50 * steps))
    assert position == pytest.approx(50 * 103, abs=14)


def test_a_bucket_without_examples_has_no_batch():
    split = split_of([3, 2, 4, 15, 16])
    batches = TrainingBatches(split, 0, {0: 3, 1: 3, 2: 2})
    assert batches.buckets == [0, 2] and batches.sizes == [3, 2]
    assert {b.bucket for b in batches.take(0, 9)[0]} == {0, 2}


def test_evaluation_takes_every_example_once_and_pads():
    split = texts()
    batches = evaluation_batches(split, SIZES)
    rows = np.concatenate([b.rows for b in batches])
    assert sorted(rows[rows >= 0]) == list(range(103))
    assert all(len(b.rows) == SIZES[b.bucket] for b in batches)
    assert (rows < 0).sum() < 8 + 4 + 2
    plain = evaluation_batches(split_of(5), {0: 4})
    assert [b.rows.tolist() for b in plain] == [[0, 1, 2, 3], [4, -1, -1, -1]]
