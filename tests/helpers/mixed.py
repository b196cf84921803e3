"""A tiny model of any number of named inputs, and what it computes."""

import dataclasses
from typing import ClassVar

import keras
import numpy as np

from modelzoo.fields.input_specs import TokenSpec


@dataclasses.dataclass(frozen=True)
class Mixed:
    """The sum of a dense layer on each array and of the mean vector of each text's tokens."""

    input_kinds: ClassVar[tuple[str, ...]] = ("image", "series", "tokens")

    def build(self, inputs, num_outputs):
        tensors = {
            name: keras.Input(tensor=keras.KerasTensor((None, *spec.shape), spec.dtype, name=name))
            for name, spec in inputs.items()
        }
        parts = []
        for name, spec in inputs.items():
            layer = name.replace("/", "_")
            if isinstance(spec, TokenSpec):
                vectors = keras.layers.Embedding(spec.vocab_size, num_outputs, name=layer)
                mask = keras.ops.cast(tensors[spec.mask], "float32")[..., None]
                count = keras.ops.maximum(keras.ops.sum(mask, axis=1), 1)
                parts.append(keras.ops.sum(vectors(tensors[name]) * mask, axis=1) / count)
            elif spec.kind in self.input_kinds:
                flat = keras.layers.Flatten()(tensors[name])
                parts.append(keras.layers.Dense(num_outputs, name=layer)(flat))
        return keras.Model(tensors, parts[0] if len(parts) == 1 else keras.layers.Add()(parts))


def mixed_logits(model, given):
    """The outputs of `Mixed` by NumPy, float64 `[n, outputs]`.

    given: by input, arrays as the model sees them, or lists of the ids of each text.
    """
    weights = {v.path: v.numpy().astype(np.float64) for v in model.weights}
    total = 0
    for name, values in given.items():
        layer = name.replace("/", "_")
        if isinstance(values, list):
            vectors = weights[f"{layer}/embeddings"]
            total = total + np.stack([vectors[ids].sum(0) / max(len(ids), 1) for ids in values])
        else:
            flat = np.asarray(values, np.float64).reshape(len(values), -1)
            total = total + flat @ weights[f"{layer}/kernel"] + weights[f"{layer}/bias"]
    return total
