import numpy as np
import pytest

from modelzoo.decoding import beam


@pytest.mark.parametrize("length", [7, 1023, 1024, 10_001, 1031, 66 * 101])
@pytest.mark.parametrize("k", [1, 3, 7, 20])
def test_the_largest_of_long_rows(length, k):
    k = min(k, length)
    x = np.random.default_rng(0).normal(size=(2, 3, length)).astype(np.float32)
    x[0, 0] = np.sort(x[0, 0])
    x[0, 1, -3:] = x.max() + 1  # Equal numbers: the first ones come first.
    x[1, 1, ::64] += 9  # As many as there are blocks, or more.
    x[1, 2, 1:] = -np.inf
    values, places = beam.top_k(x, k)
    expected = np.argsort(-x, axis=-1, kind="stable")[..., :k]
    np.testing.assert_array_equal(places, expected)
    np.testing.assert_array_equal(values, np.take_along_axis(x, expected, -1))
