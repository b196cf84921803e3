"""Folds of cross-validation: which rows each one holds out."""

import warnings
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from modelzoo.data.source import Source
from modelzoo.data.spec import Targets
from modelzoo.fields.errors import UserError

_PIECE = 4096

Fold = tuple[int, int, int]
"""Number of a fold, from 1; how many there are; the seed that the rows were shuffled by."""


def check(fold: Fold) -> None:
    """Raises ValueError where there is no such fold."""
    number, folds, seed = fold
    if folds < 2 or not 1 <= number <= folds or not 0 <= seed < 2**32:
        raise ValueError(
            "fold must be its number, from 1, how many there are, at least 2, and a seed from 0, "
            f"got {fold}"
        )


def parts(
    fold: Fold,
    targets: Targets,
    labels: Sequence,
    class_names: Sequence[str],
    groups: Sequence[str] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The rows that a fold trains on and those that it holds out, int64, ascending.

    Where `targets` is "class", each fold has about the same share of each class; where rows have
    `groups`, no group is in two folds. Equal examples may be, unless they are of one group. The
    folds are those of scikit-learn's `StratifiedKFold`, `StratifiedGroupKFold` and `KFold`,
    shuffled by the seed, and of `GroupKFold`, which is not.
    Raises UserError where there are too few groups, rows or rows of a class.
    """
    from sklearn import model_selection  # Late: only cross-validation needs it.

    number, folds, seed = fold
    shuffled, classes = {"shuffle": True, "random_state": seed}, targets == "class"
    if groups is not None:
        least, what = len(set(groups)), f"groups, there are {len(set(groups))}"
        splitter = (
            model_selection.StratifiedGroupKFold(folds, **shuffled)
            if classes
            else model_selection.GroupKFold(folds)
        )
    elif classes:
        found, counts = np.unique(labels, return_counts=True)
        least, name = counts.min(), class_names[found[counts.argmin()]]
        what = f"examples of each class, {name!r} has {least}"
        splitter = model_selection.StratifiedKFold(folds, **shuffled)
    else:
        least, what = len(labels), f"examples, there are {len(labels)}"
        splitter = model_selection.KFold(folds, **shuffled)
    if least < folds:
        raise UserError(f"{folds} folds need {folds} {what}: lower --folds")
    with warnings.catch_warnings():
        # Of classes that fewer groups have than there are folds.
        warnings.simplefilter("ignore", UserWarning)
        found = list(splitter.split(np.zeros(len(labels)), labels if classes else None, groups))
    if not all(len(held_out) for _, held_out in found):
        raise UserError(f"the groups are too unequal for {folds} folds: lower --folds")
    return found[number - 1]


def parts_of(source: Source, fold: Fold) -> tuple[np.ndarray, np.ndarray]:
    """`parts` of an opened split."""
    labels = np.zeros(source.num_examples)
    if source.spec.targets == "class":
        # In a graph, which leaves unread what is not asked for.
        dataset = tf.data.Dataset.range(source.num_examples).batch(_PIECE)
        dataset = dataset.map(lambda rows: source.gather(rows)["label"])
        labels = np.concatenate(list(dataset.as_numpy_iterator()))
    return parts(fold, source.spec.targets, labels, source.spec.class_names, source.groups)
