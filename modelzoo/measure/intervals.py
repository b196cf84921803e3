"""Confidence intervals, of 95 %: where a mean or a share of a larger number is likely to lie."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri, stdtrit

_QUANTILE = 0.975


def of_mean(values: Sequence[float]) -> tuple[float, float]:
    """That of the mean of independent, normally distributed values, at least two (Student)."""
    error = np.std(values, ddof=1) / math.sqrt(len(values))
    middle, reach = np.mean(values), stdtrit(len(values) - 1, _QUANTILE) * error
    return float(middle - reach), float(middle + reach)


def of_share(hits: float, number: int) -> tuple[float, float]:
    """That of the share of hits among a number of independent trials (Wilson 1927)."""
    z = ndtri(_QUANTILE)
    middle, whole = hits + z**2 / 2, number + z**2
    reach = z * math.sqrt(hits * (number - hits) / number + z**2 / 4)
    return float((middle - reach) / whole), float((middle + reach) / whole)
