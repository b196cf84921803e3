"""Ranking metrics: how well scores order the examples of a class above the others.

Arrays `[n]`: scores, labels 0 or 1, weights. Equal scores have the same rank.
"""

from collections.abc import Iterable

import numpy as np


def average_precision(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float | None:
    """Returns the mean of the precisions at each score, weighted by the gain in recall.

    It is None, undefined, if no label is 1.
    """
    order = np.argsort(-scores, kind="stable")
    # The last rank of each distinct score.
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum((labels * weights)[order])[ends]
    places = np.cumsum(weights[order])[ends]
    if not hits[-1] > 0:
        return None
    steps = np.diff(hits, prepend=0.0)
    return float((ratio(hits, places) * steps).sum() / hits[-1])


def roc_auc(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float | None:
    """Returns the area under the ROC curve: how often a label 1 has a higher score than a label 0.

    Equal scores count one half (Mann and Whitney 1947). It is None if all labels are equal.
    """
    _, group = np.unique(scores, return_inverse=True)
    ones = np.bincount(group, labels * weights)
    zeros = np.bincount(group, (1.0 - labels) * weights)
    if not (ones.any() and zeros.any()):
        return None
    below = np.cumsum(zeros) - 0.5 * zeros
    return float((ones * below).sum() / (ones.sum() * zeros.sum()))


def class_roc_auc(
    scores: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> tuple[list[float | None], float | None]:
    """Returns the `roc_auc` of each class, `[classes]`, and the mean of those that are defined.

    Args:
        scores: `[n, classes]`.
        labels: `[n, classes]`.
        weights: `[n]`.
    """
    each = [roc_auc(s, k, weights) for s, k in zip(scores.T, labels.T, strict=True)]
    return each, mean_of_defined(each)


def mean_of_defined(values: Iterable[float | None]) -> float | None:
    """Returns the mean of the values that are not None; None if all are."""
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def f1_scores(
    hits: np.ndarray, predicted: np.ndarray, support: np.ndarray
) -> dict[str, np.ndarray]:
    """`precision`, `recall` and `f1` from counts of any shape."""
    return {
        "precision": ratio(hits, predicted),
        "recall": ratio(hits, support),
        "f1": ratio(2 * hits, support + predicted),
    }


def where_present(values: np.ndarray, support: np.ndarray) -> list[float | None]:
    """Returns the values `[classes]`, None where `support` is 0."""
    return [float(v) if n > 0 else None for v, n in zip(values, support, strict=True)]


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Returns `part / whole`, 0 where `whole` is 0."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)
