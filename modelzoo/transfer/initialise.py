"""Initial weights from another training."""

import re
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from modelzoo.fields.errors import UserError


def initialise(
    model: keras.Model, arrays: Mapping[str, np.ndarray], skip: Sequence[str] = ()
) -> None:
    """Sets the model's weights from arrays, all of them or none.

    Args:
        model: the model to initialise.
        arrays: the weights by path.
        skip: regular expressions; a path that matches one is ignored in both, so that the model's
            weight keeps its random value.

    Raises:
        UserError: a weight is missing or superfluous or has another shape, a pattern of `skip`
            matches no path, or the patterns match all paths.
    """
    variables = {v.path: v for v in model.weights}
    for pattern in skip:
        if not any(re.search(pattern, path) for path in [*variables, *arrays]):
            raise UserError(f"config.train.init_skip: {pattern!r} matches no variable")
    paths = [
        path
        for path in dict.fromkeys([*variables, *arrays])
        if not any(re.search(pattern, path) for pattern in skip)
    ]
    for path in paths:
        shapes = [tuple(side[path].shape) if path in side else None for side in (arrays, variables)]
        if shapes[0] != shapes[1]:
            given, needed = ("missing" if shape is None else str(shape) for shape in shapes)
            raise UserError(
                f"config.train.init_from belongs to another model: its {path!r} is {given}, the "
                f"run's is {needed}; config.train.init_skip={path.rpartition('/')[0]} skips it"
            )
    if not paths:
        raise UserError(f"config.train.init_skip={','.join(skip)} skips all weights: skip fewer")
    for path in paths:
        variables[path].assign(arrays[path])
