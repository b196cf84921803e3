"""The smallest model of one array, and what it computes."""

import dataclasses
from typing import ClassVar

import keras
import numpy as np

from modelzoo.fields.input_specs import only_array


@dataclasses.dataclass(frozen=True)
class Linear:
    """One dense layer on all numbers of an image or a series, after another with `hidden` units."""

    hidden: int = 0

    input_kinds: ClassVar[tuple[str, ...]] = ("image", "series")

    def build(self, inputs, num_outputs):
        name, spec = only_array(inputs, *self.input_kinds)
        array = keras.Input(spec.shape, dtype=spec.dtype, name=name)
        x = keras.layers.Flatten(name="flat")(array)
        if self.hidden:
            x = keras.layers.Dense(self.hidden, activation="relu", name="hidden")(x)
        return keras.Model({name: array}, keras.layers.Dense(num_outputs, name="logits")(x))


def logits_of(model, arrays):
    """The outputs of `Linear()`, float64 `[n, outputs]`, by NumPy."""
    kernel, bias = (weight.numpy().astype(np.float64) for weight in model.weights)
    return np.asarray(arrays, np.float64).reshape(-1, len(kernel)) @ kernel + bias


def softmax(logits):
    exp = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)
