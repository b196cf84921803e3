import math

import numpy as np
import pytest
import tensorflow as tf

from modelzoo.train.length import to_steps
from modelzoo.train.schedule import Constant, Cosine


def factors(schedule, total, steps):
    factor = schedule.bind(total, lambda length: to_steps(length, 10, 100))
    return np.array([float(factor(tf.constant(s, tf.int64))) for s in steps])


@pytest.mark.field("Schedule.warmup")
def test_warmup_rises_to_the_peak_in_equal_steps():
    expected = [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    np.testing.assert_allclose(factors(Constant(warmup=4), 20, range(6)), expected)
    # 2 epochs of 100 examples in batches of 10 are 20 steps.
    np.testing.assert_allclose(factors(Constant(warmup="2 epochs"), 40, [0, 9, 19]), [0.05, 0.5, 1])


@pytest.mark.field("Cosine.final")
def test_cosine_by_hand():
    got = factors(Cosine(final=0.1), 100, [0, 25, 50, 75, 100, 130])
    expected = [0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * p)) for p in (0, 0.25, 0.5, 0.75, 1, 1)]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_cosine_starts_where_the_warmup_ends():
    got = factors(Cosine(warmup=10), 110, [9, 10, 60, 110])
    np.testing.assert_allclose(got, [1, 1, 0.5, 0], atol=1e-6)


def test_a_run_shorter_than_the_warmup_rises_all_along():
    np.testing.assert_allclose(factors(Cosine(warmup=8), 4, range(4)), [0.125, 0.25, 0.375, 0.5])


def test_mistakes_name_the_field():
    with pytest.raises(ValueError, match="^warmup"):
        Constant(warmup="5 eons")
    with pytest.raises(ValueError, match="^final"):
        Cosine(final=2.0)
