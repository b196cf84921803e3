"""Frozen weights."""

import re
from collections.abc import Sequence

import keras

from modelzoo.fields import compat
from modelzoo.fields.errors import UserError


def freeze(model: keras.Model, patterns: Sequence[str]) -> list[keras.Variable]:
    """Freezes the weights whose paths match one of the regular expressions.

    A layer whose weights are all frozen gets `trainable = False`: its BatchNorm normalizes by the
    moving statistics and does not update them. Frozen weights add no regularization loss.

    Returns:
        The frozen weights, including moving statistics.

    Raises:
        UserError: a pattern matches no weight, or no trainable weight remains.
    """
    for pattern in patterns:
        if not any(re.search(pattern, v.path) for v in model.weights):
            layers = dict.fromkeys(v.path.rpartition("/")[0] for v in model.weights)
            raise UserError(
                f"config.train.freeze: {pattern!r} matches no variable; the model's layers are "
                f"{', '.join(layers)}"
            )
    frozen = [v for v in model.weights if any(re.search(p, v.path) for p in patterns)]
    frozen_ids = {id(v) for v in frozen}
    if all(id(v) in frozen_ids for v in model.trainable_variables):
        raise UserError(
            f"config.train.freeze={','.join(patterns)} leaves nothing to train: freeze less"
        )
    for layer in compat.all_layers(model):
        if layer.weights and all(id(v) in frozen_ids for v in layer.weights):
            layer.trainable = False
    for variable in frozen:
        variable.trainable = False
    return frozen
