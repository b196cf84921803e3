"""Names of classes, tags and values, and labels in the order of other names."""

import itertools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from modelzoo.fields.errors import UserError

_SHOWN = 10


def checked(names: Sequence[str], where: str) -> tuple[str, ...]:
    """The names, which metrics and files of classes go by.

    Raises:
        UserError: two are equal.
    """
    ordered = sorted(names)
    for name, following in itertools.pairwise(ordered):
        if name == following:
            raise UserError(f"{where}: names must differ from each other, got {name!r} twice")
    return tuple(names)


def places(given: Sequence[str], known: Sequence[str], noun: str) -> np.ndarray:
    """The place of each given name among the known ones, int64.

    Raises:
        UserError: a name is not known.
    """
    numbers = {name: number for number, name in enumerate(known)}
    unknown = [name for name in given if name not in numbers]
    if unknown:
        more = ", ..." if len(known) > _SHOWN else ""
        raise UserError(
            f"the data has {len(unknown)} of its {noun} that the model does not know, the first "
            f"{unknown[0]!r}; it knows {', '.join(known[:_SHOWN])}{more}"
        )
    return np.array([numbers[name] for name in given], np.int64)


def reordered(
    labels: tf.Tensor, given: Sequence[str], known: Sequence[str], noun: str
) -> tf.Tensor:
    """Labels `[n, given]` with columns in the order of the known names, 0 for a missing one.

    Raises:
        UserError: a given name is not known.
    """
    places(given, known, noun)
    order = [given.index(name) if name in given else len(given) for name in known]
    return tf.gather(tf.pad(labels, [[0, 0], [0, 1]]), order, axis=1)
