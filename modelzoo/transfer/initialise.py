"""Weights taken over from another training."""

import re
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from modelzoo.fields.errors import UserError


def initialise(
    model: keras.Model, arrays: Mapping[str, np.ndarray], skip: Sequence[str] = ()
) -> None:
    """Sets the model's weights from arrays by path, all of them or none.

    Paths that match one of the regular expressions `skip` are left out on both sides: what the
    model has there keeps its fresh value. Raises UserError naming the first weight that one side
    lacks or that has another shape, and where a pattern of `skip` matches nothing or all match
    everything.
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
            theirs, here = ("missing" if shape is None else str(shape) for shape in shapes)
            raise UserError(
                f"config.train.init_from is of another model: its {path!r} is {theirs}, here it is "
                f"{here}; config.train.init_skip={path.rpartition('/')[0]} leaves it out"
            )
    if not paths:
        raise UserError(f"config.train.init_skip={','.join(skip)} leaves nothing to take over")
    for path in paths:
        variables[path].assign(arrays[path])
