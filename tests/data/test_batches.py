import collections
import itertools
import types

import numpy as np
import pytest

from modelzoo.data.batches import TrainingBatches, batch_sizes, evaluation_batches
from modelzoo.data.order import Order
from modelzoo.fields.errors import UserError

LENGTHS = (4, 8, 16)


def source_of(lengths):
    """A source of which nothing is read; `lengths` of its rows, or their number."""
    if isinstance(lengths, int):
        return types.SimpleNamespace(num_examples=lengths, lengths=None)
    spec = types.SimpleNamespace(lengths=LENGTHS)
    lengths = np.asarray(lengths)
    return types.SimpleNamespace(num_examples=len(lengths), lengths=lengths, spec=spec)


def texts(count=103):
    return source_of(np.random.default_rng(0).integers(1, 17, count))


def test_rows_without_lengths_come_in_the_planned_order():
    batches = TrainingBatches(source_of(10), 3, {0: 4})
    taken, position = batches.take(6, 3)
    rows, epochs = Order(3, 10).rows(6, 12)
    assert position == 18 and [b.length for b in taken] == [0, 0, 0]
    np.testing.assert_array_equal(np.concatenate([b.rows for b in taken]), rows)
    np.testing.assert_array_equal(np.concatenate([b.epochs for b in taken]), epochs)
    assert batches.mean_size == 4


def test_a_budget_of_tokens_gives_each_length_its_rows():
    # 300 tokens hold 75, 37 and 18 texts.
    assert batch_sizes(texts(), tokens_per_batch=300) == {4: 72, 8: 32, 16: 16}
    assert batch_sizes(texts(), tokens_per_batch=300, parts=4) == {4: 72, 8: 32, 16: 16}
    assert batch_sizes(texts(), tokens_per_batch=400, parts=3) == {4: 96, 8: 48, 16: 24}
    assert batch_sizes(texts(), 12) == {4: 12, 8: 12, 16: 12}


def test_a_budget_that_holds_no_batch_is_refused():
    with pytest.raises(UserError, match=r"tokens_per_batch must hold 24 texts of 16 .* 384, got"):
        batch_sizes(texts(), tokens_per_batch=300, parts=3)


@pytest.mark.parametrize(
    "sizes", [{4: 8, 8: 4, 16: 2}, {4: 5, 8: 5, 16: 5}, {4: 64, 8: 32, 16: 16}]
)
def test_batches_are_full_and_of_the_least_length_that_holds_their_rows(sizes):
    source = texts()
    taken, _ = TrainingBatches(source, 1, sizes).take(0, 200)
    for rows, _, length in taken:
        assert len(rows) == sizes[length]
        longest = source.lengths[rows].max()
        assert longest <= length and all(longest > n for n in LENGTHS if n < length)
    assert {b.length for b in taken} == set(sizes)


def test_every_row_comes_once_in_an_epoch():
    source = texts()
    taken, position = TrainingBatches(source, 1, {4: 8, 8: 4, 16: 2}).take(0, 300)
    seen = collections.Counter(
        (int(row), int(epoch)) for b in taken for row, epoch in zip(b.rows, b.epochs, strict=True)
    )
    assert set(seen.values()) == {1}
    # No length runs far ahead of the others.
    assert position // 103 > 5
    for epoch in range(position // 103 - 1):
        assert {(row, epoch) for row in range(103)} <= seen.keys()


def test_lengths_are_mixed_and_epochs_differ():
    batches = TrainingBatches(texts(), 1, {4: 8, 8: 4, 16: 2})
    taken, _ = batches.take(0, 60)
    lengths = [b.length for b in taken]
    assert sum(a != b for a, b in itertools.pairwise(lengths)) > 20
    other, _ = TrainingBatches(texts(), 2, {4: 8, 8: 4, 16: 2}).take(0, 60)
    assert any(not np.array_equal(a.rows, b.rows) for a, b in zip(taken, other, strict=True))


@pytest.mark.parametrize("done", [1, 7, 23, 24, 25, 71])
def test_the_stream_goes_on_anywhere(done):
    sizes = {4: 8, 8: 4, 16: 2}
    whole, _ = TrainingBatches(texts(), 1, sizes).take(0, 80)
    _, position = TrainingBatches(texts(), 1, sizes).take(0, done)
    assert position == sum(len(b.rows) for b in whole[:done])
    rest, end = TrainingBatches(texts(), 1, sizes).take(position, 80 - done)
    assert end == sum(len(b.rows) for b in whole)
    for ours, theirs in zip(rest, whole[done:], strict=True):
        np.testing.assert_array_equal(ours.rows, theirs.rows)
        np.testing.assert_array_equal(ours.epochs, theirs.epochs)


def test_a_position_within_a_batch_goes_on_at_the_next_one():
    sizes = {4: 8, 8: 4, 16: 2}
    whole, _ = TrainingBatches(texts(), 1, sizes).take(0, 3)
    first = len(whole[0].rows)
    rest, _ = TrainingBatches(texts(), 1, sizes).take(first - 1, 1)
    np.testing.assert_array_equal(rest[0].rows, whole[1].rows)


def test_epochs_differ_in_the_order_of_lengths_and_lengths_in_that_of_their_rows():
    # 24 rows of each length fill whole batches: each epoch has as many of each.
    batches = TrainingBatches(source_of(np.repeat(LENGTHS, 24)), 1, dict.fromkeys(LENGTHS, 4))
    epochs = [batches.take(72 * k, 18)[0] for k in range(4)]
    assert len({tuple(b.length for b in epoch) for epoch in epochs}) == 4
    # Rows that stand alike within their lengths do not come into batches of the same.
    drawn = [
        {frozenset((b.rows % 24).tolist()) for b in epochs[0] if b.length == n} for n in LENGTHS
    ]
    assert drawn[0] != drawn[1] != drawn[2] != drawn[0]


def test_the_mean_size_tells_the_steps_of_an_epoch():
    batches = TrainingBatches(texts(), 1, {4: 8, 8: 4, 16: 2})
    steps = 103 / batches.mean_size
    _, position = batches.take(0, round(50 * steps))
    assert position == pytest.approx(50 * 103, abs=14)


def test_lengths_that_no_row_has_make_no_batch():
    source = source_of([3, 2, 4, 15, 16])
    batches = TrainingBatches(source, 0, {4: 3, 8: 3, 16: 2})
    assert batches.lengths == [4, 16] and batches.sizes == [3, 2]
    assert {b.length for b in batches.take(0, 9)[0]} == {4, 16}


def test_evaluation_takes_every_row_once_and_pads():
    source = texts()
    batches = evaluation_batches(source, {4: 8, 8: 4, 16: 2})
    rows = np.concatenate([b.rows for b in batches])
    assert sorted(rows[rows >= 0]) == list(range(103))
    assert all(len(b.rows) == {4: 8, 8: 4, 16: 2}[b.length] for b in batches)
    assert (rows < 0).sum() < 8 + 4 + 2
    plain = evaluation_batches(source_of(5), {0: 4})
    assert [b.rows.tolist() for b in plain] == [[0, 1, 2, 3], [4, -1, -1, -1]]
