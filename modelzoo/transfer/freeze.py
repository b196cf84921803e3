"""Weights that training leaves alone."""

import re
from collections.abc import Sequence

import keras

from modelzoo.fields import compat
from modelzoo.fields.errors import UserError


def freeze(model: keras.Model, patterns: Sequence[str]) -> list[keras.Variable]:
    """Takes the weights whose paths match one of the regular expressions out of training.

    Returns them, moving statistics among them. A layer of which all weights match gets
    `trainable = False`, with which BatchNorm normalises by its moving statistics and keeps them;
    the others go on as before. Penalties on frozen weights are none. Raises UserError where a
    pattern matches nothing, or all of them match everything.
    """
    for pattern in patterns:
        if not any(re.search(pattern, v.path) for v in model.weights):
            layers = dict.fromkeys(v.path.rpartition("/")[0] for v in model.weights)
            raise UserError(
                f"config.train.freeze: {pattern!r} matches no variable; the model's layers are "
                f"{', '.join(layers)}"
            )
    frozen = [v for v in model.weights if any(re.search(p, v.path) for p in patterns)]
    apart = {id(v) for v in frozen}
    if all(id(v) in apart for v in model.trainable_variables):
        raise UserError(
            f"config.train.freeze={','.join(patterns)} leaves nothing to train: freeze less"
        )
    for layer in compat.all_layers(model):
        if layer.weights and all(id(v) in apart for v in layer.weights):
            layer.trainable = False
    for variable in frozen:
        variable.trainable = False
    return frozen
