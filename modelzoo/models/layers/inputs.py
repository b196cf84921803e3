"""Keras inputs for input specs."""

import keras

from modelzoo.fields.input_specs import ArraySpec, Inputs
from modelzoo.models.layers.precision import at_least_float32


def keras_inputs(inputs: Inputs) -> dict[str, keras.KerasTensor]:
    """The symbolic tensors of a functional model, by input name.

    Arrays are float32, or float64 under a float64 policy, whatever the policy's compute dtype.
    """
    dtype = at_least_float32(keras.config.dtype_policy().compute_dtype)
    tensors = {}
    for name, spec in inputs.items():
        kind = dtype if isinstance(spec, ArraySpec) else spec.dtype
        tensor = keras.KerasTensor((None, *spec.shape), kind, name=name)
        # The name of a layer must not contain a slash; the name of a tensor may.
        tensors[name] = keras.Input(tensor=tensor, name=name.replace("/", "_"))
    return tensors
