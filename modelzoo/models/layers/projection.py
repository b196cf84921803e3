"""A matrix product without a bias."""

import keras

from modelzoo.models.layers.linear import linear


@keras.saving.register_keras_serializable(package="modelzoo")
class Projection(keras.layers.Layer):
    """`[..., dim]` to `[..., units]`."""

    def __init__(self, units: int, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.kernel = self.add_weight((input_shape[-1], self.units), name="kernel")

    def call(self, inputs):
        return linear(inputs, self.kernel)
