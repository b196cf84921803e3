import numpy as np
import pytest

from modelzoo.data.order import Order


def test_an_epoch_has_every_row_once_and_epochs_differ():
    order = Order(3, 101)
    rows, epochs = order.rows(0, 303)
    assert epochs.tolist() == [0] * 101 + [1] * 101 + [2] * 101
    thirds = rows.reshape(3, 101)
    for third in thirds:
        assert sorted(third) == list(range(101))
    assert (thirds[0] != thirds[1]).any() and (thirds[1] != thirds[2]).any()


@pytest.mark.parametrize("first", [0, 1, 6, 7, 13, 700, 7 * 10**12 + 5])
def test_any_piece_equals_the_rows_one_by_one_from_a_fresh_order(first):
    rows, epochs = Order(-5, 7).rows(first, 20)
    single = [Order(-5, 7).rows(first + i, 1) for i in range(20)]
    assert rows.tolist() == [int(row[0]) for row, _ in single]
    assert epochs.tolist() == [(first + i) // 7 for i in range(20)]


def test_seeds_differ():
    assert (Order(0, 50).rows(0, 50)[0] != Order(1, 50).rows(0, 50)[0]).any()


def test_the_order_is_fixed_for_all_time():
    # A checkpoint's position means something only as long as these rows stay.
    assert Order(42, 10).rows(5, 10)[0].tolist() == [5, 9, 0, 2, 8, 4, 9, 5, 3, 0]


def test_the_empty_piece():
    rows, epochs = Order(0, 4).rows(3, 0)
    assert rows.shape == epochs.shape == (0,)


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="num_examples must be at least 1, got 0"):
        Order(0, 0)


def test_positions_are_uniform():
    firsts = [Order(seed, 5).rows(0, 1)[0][0] for seed in range(500)]
    assert np.bincount(firsts, minlength=5).min() > 60
