import numpy as np
import pytest
import tensorflow as tf

from modelzoo.decoding import beam, sampling
from modelzoo.decoding.config import Decoding


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


@pytest.mark.parametrize("magnitude", [1e4, -1e6, 1e7])
@pytest.mark.parametrize("sampled", [False, True])
def test_scores_of_large_logits_lose_no_digits(magnitude, sampled):
    # Each logit is exact in float32, so float64 gives the scores of the same numbers.
    logits = np.float32(magnitude + np.random.default_rng(0).integers(0, 9, [40, 1, 7]))
    wide = np.float64(logits) - logits.max(axis=2, keepdims=True)
    log_shares = wide - np.log(np.exp(wide).sum(axis=2, keepdims=True))
    args = (logits, tf.zeros([40, 1]), 6, (0,), tf.constant(True), tf.constant(True))
    if sampled:
        draws = tf.linspace(0.0, 0.999, 40)
        found = sampling.choose(*args, draws, Decoding(temperature=1.5))
    else:
        found = beam.choose(*args)
    ended = np.isfinite(found.ended_scores)
    assert 0 < ended.sum() < 40
    np.testing.assert_allclose(found.ended_scores[ended], log_shares[..., 6][ended], rtol=1e-6)
    expected = np.take_along_axis(log_shares, found.tokens.numpy()[..., None], 2)[..., 0]
    goes = np.isfinite(found.scores)
    np.testing.assert_allclose(found.scores[goes], expected[goes], rtol=1e-6)
