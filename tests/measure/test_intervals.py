"""Confidence intervals against SciPy's."""

import numpy as np
import pytest
import scipy.stats

from modelzoo.measure import intervals


@pytest.mark.parametrize("values", [[0.5, 0.7], [0.9, 0.91, 0.93, 0.9, 0.88], [2.0, 2.0, 2.0]])
def test_of_a_mean(values):
    error = scipy.stats.sem(values)
    expected = np.mean(values) + scipy.stats.t.ppf([0.025, 0.975], len(values) - 1) * error
    assert intervals.compute_mean_interval(values) == pytest.approx(expected)


@pytest.mark.parametrize("hits, number", [(0, 5), (5, 5), (1, 3), (3040, 3190)])
def test_of_a_share(hits, number):
    expected = scipy.stats.binomtest(hits, number).proportion_ci(method="wilson")
    assert intervals.compute_proportion_interval(hits, number) == pytest.approx(
        list(expected), abs=1e-12
    )
