"""Keras inputs for input specs, and models that check their inputs' names."""

import dataclasses
from typing import Any, ClassVar, Self

import keras

from modelzoo.fields.input_specs import ArraySpec, Inputs, MaskSpec, TokenSpec, take
from modelzoo.models.layers.precision import at_least_float32, policy_scope


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


class ConfiguredModel(NamedInputsModel):
    """Base of models that Keras saves as the arguments that built them.

    Their graph alone would not restore their methods, such as those of a decoder. A subclass has an
    `__init__` of a config, token inputs and the number of outputs, and keeps all three in
    `arguments`.
    """

    config_class: ClassVar[type]
    arguments: tuple[Any, Inputs, int]

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of `__init__` and the dtype policy as JSON values."""
        config, inputs, num_outputs = self.arguments
        return {
            "config": dataclasses.asdict(config),
            "inputs": {name: dataclasses.asdict(spec) for name, spec in inputs.items()},
            "num_outputs": num_outputs,
            "dtype": self.dtype_policy.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Creates the model from the values of `get_config`."""
        inputs = {
            name: TokenSpec(**fields) if fields else MaskSpec()
            for name, fields in config["inputs"].items()
        }
        with policy_scope(config["dtype"]):
            return cls(cls.config_class(**config["config"]), inputs, config["num_outputs"])
