"""Planned batches: full, of one bucket, every example once in an epoch, and resumed anywhere."""

import collections
import itertools
import math
import types

import numpy as np
import pytest

from modelzoo.data.batches import TrainingBatches, batch_sizes, evaluation_batches
from modelzoo.data.buckets import Buckets
from modelzoo.data.order import Order
from modelzoo.fields.errors import UserError

LENGTHS = (4, 8, 16)
SIZES = {0: 8, 1: 4, 2: 2}


def split_of(lengths, table=None):
    """A split of which nothing is read; the lengths of its examples, or their number."""
    number = lengths
    if isinstance(lengths, int):
        table, lengths = Buckets(), {}
    elif table is None:
        number, table, lengths = len(lengths), Buckets({"inputs": LENGTHS}), {"inputs": lengths}
    else:
        number = len(lengths["source"])
    return types.SimpleNamespace(
        num_examples=number,
        buckets=table.bucket(lengths, number),
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
    assert batches.count(10) == 2.5


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


def plans():
    """Splits and batch sizes, by what is special about them."""
    rare = split_of([3] * 60 + [12] * 3)
    pairs = Buckets({"source": (4, 8, 8), "target": (4, 4, 16)})
    lengths = np.random.default_rng(1).integers(1, [[9], [17]], (2, 75))
    yield "without lengths", split_of(50), {0: 8}
    yield "one length", split_of([3] * 50), {0: 8}
    yield "one size", texts(), {0: 5, 1: 5, 2: 5}
    yield "token budget", texts(), SIZES
    yield "few of each length", texts(), {0: 48, 1: 24, 2: 16}
    yield "a rare length, one size", rare, {0: 8, 2: 8}
    yield "a rare length, token budget", rare, {0: 32, 2: 8}
    yield "a rare short length", split_of([3] * 3 + [12] * 61), {0: 32, 2: 8}
    yield "fewer than a batch", split_of([2, 3, 7, 14, 15]), {0: 8, 1: 8, 2: 8}
    yield "fewer than a batch of any length", split_of([2, 3, 7, 14, 15]), {0: 64, 1: 32, 2: 16}
    yield "fewer than a batch, without lengths", split_of(5), {0: 8}
    yield "a single example", split_of([9]), {2: 4}
    yield (
        "pairs",
        split_of(dict(zip(pairs.widths, lengths, strict=True)), pairs),
        {0: 8, 1: 8, 2: 4},
    )


PLANS = {name: plan for name, *plan in plans()}


@pytest.mark.parametrize("name", PLANS)
def test_every_example_comes_once_in_an_epoch(name):
    split, sizes = PLANS[name]
    batches, number = TrainingBatches(split, 1, sizes), split.num_examples
    counts = [math.ceil(batches.count(number * epochs) - 1e-9) for epochs in range(9)]
    taken, position = batches.take(0, counts[-1])
    assert position == sum(len(b.rows) for b in taken)
    drawn = [list(zip(b.rows.tolist(), b.epochs.tolist(), strict=True)) for b in taken]
    for epochs, count in enumerate(counts):
        seen = collections.Counter(itertools.chain(*drawn[:count]))
        assert not seen or set(seen.values()) == {1}
        assert set(itertools.product(range(number), range(epochs))) <= seen.keys()
        # No batch more than they need.
        assert len(seen) < number * epochs + max(sizes.values())
    if number >= max(sizes.values()):
        spans = [[int(b.epochs.min()), int(b.epochs.max())] for b in taken]
        assert all(first <= last <= first + 1 for first, last in spans)
        lasts = [last for _, last in spans]
        assert lasts == sorted(lasts)


@pytest.mark.parametrize("name", PLANS)
def test_batches_are_full_and_hold_their_examples(name):
    split, sizes = PLANS[name]
    batches = TrainingBatches(split, 1, sizes)
    taken, end = batches.take(0, 200)
    for rows, _, bucket in taken:
        assert len(rows) == sizes[bucket] and split.buckets[rows].max() <= bucket
    # Mixing doubles the padded tokens at most; besides, a batch of each bucket may be longer.
    widths = (
        [split.bound.buckets.widest(k) for k in range(3)] if split.bound.buckets.widths else [0]
    )
    least = sum(widths[k] for k in split.buckets) * math.ceil(end / split.num_examples)
    most = sum(sizes[k] for k in batches.buckets) * widths[-1] * (end // split.num_examples + 1)
    assert sum(len(rows) * widths[k] for rows, _, k in taken) <= 2 * least + most


@pytest.mark.parametrize("sizes", [{0: 5, 1: 5, 2: 5}, SIZES])
def test_batches_are_no_longer_than_their_longest_example(sizes):
    split = texts(2000)
    taken, _ = TrainingBatches(split, 1, sizes).take(0, 3000)
    longest = [split.buckets[b.rows].max() for b in taken]
    longer = [b for b, k in zip(taken, longest, strict=True) if b.bucket > k]
    mixed = [b for b in taken if len({*split.buckets[b.rows].tolist()}) > 1 or np.ptp(b.epochs)]
    epochs = taken[-1].epochs.max() + 1
    # Under a token budget, the end of an epoch fills smaller batches of longer texts.
    assert len(longer) <= (0 if len(set(sizes.values())) == 1 else 2 * epochs)
    assert 0 < len(mixed) <= 3 * epochs


@pytest.mark.parametrize("rare, batches", [(6, 6), (18, 13)])
def test_few_examples_of_a_length_are_spread(rare, batches):
    # Each in a batch of its own; but no more than (600 x 4 + 18 x 16) / (16 - 4) = 224 others.
    split = split_of([3] * 300 + [4] * 300 + [12] * rare)
    taken, _ = TrainingBatches(split, 1, {0: 20, 2: 20}).take(0, (600 + rare) // 20)
    assert sum(b.bucket == 2 for b in taken) == batches
    held = [int((b.rows >= 600).sum()) for b in taken]
    assert sum(held) == rare and max(held) <= rare / 2


@pytest.mark.parametrize("name", PLANS)
def test_the_stream_resumes_anywhere(name):
    split, sizes = PLANS[name]
    whole, end = TrainingBatches(split, 1, sizes).take(0, 60)
    positions = np.cumsum([0, *(len(b.rows) for b in whole)]).tolist()
    for done in (1, 7, 23, 24, 25, 59):
        # Another process asks for this position first.
        rest, last = TrainingBatches(split, 1, sizes).take(positions[done], 60 - done)
        assert last == end == positions[-1]
        for ours, theirs in zip(rest, whole[done:], strict=True):
            np.testing.assert_array_equal(np.stack(ours[:2]), np.stack(theirs[:2]))
            assert ours.bucket == theirs.bucket


def test_an_epoch_of_many_texts_wastes_no_more_than_a_batch_of_each_length():
    split = texts(2000)
    taken, _ = TrainingBatches(split, 1, SIZES).take(0, 3000)
    mixed = [b for b in taken if len(set(split.buckets[b.rows])) > 1 or np.ptp(b.epochs)]
    whole = [b for b in taken if b.bucket == split.buckets[b.rows].max()]
    epochs = taken[-1].epochs.max() + 1
    assert len(mixed) <= len(SIZES) * epochs and len(taken) - len(whole) <= len(SIZES) * epochs


def test_buckets_are_mixed_and_seeds_differ():
    batches = TrainingBatches(texts(), 1, SIZES)
    taken, _ = batches.take(0, 60)
    buckets = [b.bucket for b in taken]
    assert sum(a != b for a, b in itertools.pairwise(buckets)) > 20
    other, _ = TrainingBatches(texts(), 2, SIZES).take(0, 60)
    assert any(not np.array_equal(a.rows, b.rows) for a, b in zip(taken, other, strict=True))


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


def test_evaluation_takes_every_example_once_and_pads():
    split = texts()
    batches = evaluation_batches(split, SIZES)
    rows = np.concatenate([b.rows for b in batches])
    assert sorted(rows[rows >= 0]) == list(range(103))
    assert all(len(b.rows) == SIZES[b.bucket] for b in batches)
    assert (rows < 0).sum() < 8 + 4 + 2
    plain = evaluation_batches(split_of(5), {0: 4})
    assert [b.rows.tolist() for b in plain] == [[0, 1, 2, 3], [4, -1, -1, -1]]
