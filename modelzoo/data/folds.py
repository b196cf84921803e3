"""Folds of cross-validation: which rows each one holds out."""

import warnings
from collections.abc import Sequence

import numpy as np

from modelzoo.fields.errors import FieldError, UserError

Fold = tuple[int, int, int]
"""Number of a fold, from 1; number of folds; seed of the shuffle."""


def check(fold: Fold) -> None:
    """Raises ValueError if there is no such fold."""
    number, folds, seed = fold
    if folds < 2 or not 1 <= number <= folds or not 0 <= seed < 2**32:
        raise FieldError(
            "fold",
            "must be its number, from 1, how many there are, at least 2, and a seed from 0, "
            f"got {fold}",
        )


def parts(
    fold: Fold,
    count: int,
    classes: np.ndarray | None,
    class_names: Sequence[str],
    groups: Sequence[str] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The examples that a fold trains on and those that it holds out, int64, ascending.

    The folds are those of scikit-learn's `StratifiedKFold`, `StratifiedGroupKFold` and `KFold`,
    shuffled by the seed, and of `GroupKFold`, which does not shuffle. Equal examples without a
    group may be in different folds.

    Args:
        fold: number, count and seed.
        count: number of examples.
        classes: class of each example, int64 `[count]`; each fold then has about the same share of
            each. None without classes.
        class_names: names of the classes.
        groups: group of each example; no group is in two folds.
    """
    from sklearn import model_selection  # Late: only cross-validation needs it.

    number, folds, seed = fold
    shuffled = {"shuffle": True, "random_state": seed}
    if groups is not None:
        least, what = len(set(groups)), f"groups, there are {len(set(groups))}"
        splitter = (
            model_selection.StratifiedGroupKFold(folds, **shuffled)
            if classes is not None
            else model_selection.GroupKFold(folds)
        )
    elif classes is not None:
        found, counts = np.unique(classes, return_counts=True)
        least, name = counts.min(), class_names[found[counts.argmin()]]
        what = f"examples of each class, {name!r} has {least}"
        splitter = model_selection.StratifiedKFold(folds, **shuffled)
    else:
        least, what = count, f"examples, there are {count}"
        splitter = model_selection.KFold(folds, **shuffled)
    if least < folds:
        raise UserError(f"{folds} folds need {folds} {what}: lower --folds")
    with warnings.catch_warnings():
        # scikit-learn warns about classes with fewer groups than folds.
        warnings.simplefilter("ignore", UserWarning)
        pairs = list(splitter.split(np.zeros(count), classes, groups))
    if not all(len(held_out) for _, held_out in pairs):
        raise UserError(f"the groups are too unequal for {folds} folds: lower --folds")
    return pairs[number - 1]
