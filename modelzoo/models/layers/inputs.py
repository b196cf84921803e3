"""Keras inputs for input specs, and models that check their inputs' names."""

import keras

from modelzoo.fields.input_specs import ArraySpec, Inputs, take
from modelzoo.models.layers.precision import at_least_float32


def keras_inputs(inputs: Inputs) -> dict[str, keras.KerasTensor]:
    """Returns the symbolic inputs of a functional model, by name.

    Arrays are float32, or float64 under a float64 policy, whatever the policy's compute dtype.
    """
    dtype = at_least_float32(keras.config.dtype_policy().compute_dtype)
    tensors = {}
    for name, spec in inputs.items():
        kind = dtype if isinstance(spec, ArraySpec) else spec.dtype
        tensor = keras.KerasTensor((None, *spec.shape), kind, name=name)
        # The name of a layer must not contain a slash; the name of a tensor may.
        layer_name = name.replace("/", "_")
        tensors[name] = keras.Input(tensor=tensor, name=layer_name)
        # Keras 3.12 refuses an input that no layer reads, such as a mask that a model ignores.
        keras.layers.Identity(name=f"{layer_name}_read")(tensors[name])
    return tensors


@keras.saving.register_keras_serializable(package="modelzoo")
class NamedInputsModel(keras.Model):
    """Functional model that is called with a dict of exactly its inputs.

    Keras itself only warns if there are more tensors, and mixes them up.
    """

    def call(self, inputs, training=None, mask=None):
        take(inputs, *self.input)
        return super().call(inputs, training=training, mask=mask)
