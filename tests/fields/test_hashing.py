import numpy as np
import pytest
import tensorflow as tf

from modelzoo.data.augment.boxes import STREAMS
from modelzoo.fields import hashing
from modelzoo.fields.hashing import mix, mix_tensor, random_integers, random_uniform


def seeds_of(count):
    return np.stack([np.full(count, 11), np.arange(count)], -1)


def test_mix_is_the_finaliser_of_splitmix64():
    # The generator's published first outputs from state 1234567, which it advances before mixing.
    outputs = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    states = np.array([1234567], np.uint64) + np.arange(3, dtype=np.uint64) * np.uint64(
        0x9E3779B97F4A7C15
    )
    assert mix(states).tolist() == outputs
    assert mix_tensor(tf.constant(states)).numpy().tolist() == outputs


@pytest.mark.parametrize("bound", [1, 2, 9])
def test_random_integers_are_uniform_and_streams_are_independent(bound):
    seeds = seeds_of(9000)
    first = random_integers(seeds, 0, bound).numpy()
    second = random_integers(seeds, 1, bound).numpy()
    counts = np.bincount(first * bound + second, minlength=bound**2)
    assert len(counts) == bound**2
    expected = 9000 / bound**2
    assert abs(counts - expected).max() < 5 * np.sqrt(expected) * (bound > 1) + 1e-9


def test_random_integers_take_a_bound_for_each_seed():
    bounds = np.array([1, 2, 9, 2**31 - 1] * 500)
    found = random_integers(seeds_of(2000), 5, tf.constant(bounds, tf.int32)).numpy()
    for bound in np.unique(bounds):
        alone = random_integers(seeds_of(2000), 5, int(bound)).numpy()
        np.testing.assert_array_equal(found[bounds == bound], alone[bounds == bound])


def test_random_uniform_is_uniform_and_each_stream_its_own():
    whole = random_uniform(seeds_of(20000), 3, 2).numpy()
    assert whole.min() >= 0 and whole.max() < 1
    # The largest distance of two distributions, as Kolmogorov and Smirnov have it.
    for column in whole.T:
        assert abs(np.sort(column) - np.arange(20000) / 20000).max() < 2 / np.sqrt(20000)
    assert abs(np.corrcoef(whole.T)[0, 1]) < 5 / np.sqrt(20000)
    np.testing.assert_array_equal(random_uniform(seeds_of(20000), 4, 1)[:, 0], whole[:, 1])


def test_no_two_uses_share_a_stream():
    used = [
        (hashing.FLIP, 3),
        (hashing.RESIZED_CROP, STREAMS),
        (hashing.COLOUR, 4),
        (hashing.RAND_AUGMENT, 200),
        (hashing.ERASING, STREAMS + 1),
        (hashing.MIXING, 5),
    ]
    streams = [first + k for first, count in used for k in range(count)]
    assert len(streams) == len(set(streams))
