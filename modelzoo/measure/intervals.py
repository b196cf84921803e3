"""95 % confidence intervals of a mean and of a proportion."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri, stdtrit

_QUANTILE = 0.975


def compute_mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Returns Student's interval of the mean of two or more independent, normal values."""
    error = np.std(values, ddof=1) / math.sqrt(len(values))
    middle, reach = np.mean(values), stdtrit(len(values) - 1, _QUANTILE) * error
    return float(middle - reach), float(middle + reach)


def compute_proportion_interval(hits: float, trials: int) -> tuple[float, float]:
    """Returns the interval of the probability of a hit in independent trials (Wilson 1927)."""
    z = ndtri(_QUANTILE)
    middle, whole = hits + z**2 / 2, trials + z**2
    reach = z * math.sqrt(hits * (trials - hits) / trials + z**2 / 4)
    return float((middle - reach) / whole), float((middle + reach) / whole)
