"""Initial weights from another training."""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from modelzoo.fields.errors import UserError

_MOST_LAYERS = 8
"""Number of layers that do not fit above which the weights are of another model."""


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
    sides: tuple[Mapping[str, Any], ...] = (arrays, variables)
    shapes = {p: [tuple(side[p].shape) if p in side else None for side in sides] for p in paths}
    if wrong := [path for path, (given, needed) in shapes.items() if given != needed]:
        given, needed = ("missing" if shape is None else str(shape) for shape in shapes[wrong[0]])
        raise UserError(
            f"config.train.init_from belongs to another model: its {wrong[0]!r} is {given}, the "
            f"run's is {needed}; {_advise(wrong, paths, skip)}"
        )
    if not paths:
        raise UserError(f"config.train.init_skip={','.join(skip)} skips all weights: skip fewer")
    for path in paths:
        variables[path].assign(arrays[path])


def _advise(wrong: Sequence[str], paths: Sequence[str], skip: Sequence[str]) -> str:
    """Returns what to do about weights that do not fit, of all those at `paths`."""
    layers = dict.fromkeys(path.rpartition("/")[0] for path in wrong)
    fitting = [path for path in paths if path.rpartition("/")[0] not in layers]
    if not fitting or len(layers) > _MOST_LAYERS:
        return "use the config of the model that it was trained with"
    # A name that other layers contain needs its whole path.
    names = [
        f"^{layer}/" if any(re.search(layer, path) for path in fitting) else layer
        for layer in layers
    ]
    patterns = shlex.quote(",".join([*skip, *names]))
    return f"config.train.init_skip={patterns} skips what does not fit"
