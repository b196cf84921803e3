"""Layer normalization."""

import keras
import tensorflow as tf

from modelzoo.models.layers.precision import at_least_float32


@keras.saving.register_keras_serializable(package="modelzoo")
class LayerNorm(keras.layers.Layer):
    """Layer normalization over the last axis (Ba et al., 2016), with a gain and an offset.

    Inputs and outputs are `[..., dim]` in the compute dtype. Statistics, gain and offset are
    float32 under any policy, except float64 under a float64 policy.
    """

    def __init__(self, epsilon: float = 1e-5, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape):
        dtype, shape = at_least_float32(self.compute_dtype), (input_shape[-1],)
        self.gamma = self.add_weight(shape, "ones", dtype=dtype, autocast=False, name="gamma")
        self.beta = self.add_weight(shape, "zeros", dtype=dtype, autocast=False, name="beta")

    def call(self, inputs):
        gamma, beta = tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta)
        x = tf.cast(inputs, gamma.dtype)
        x -= tf.reduce_mean(x, axis=-1, keepdims=True)
        variance = tf.reduce_mean(tf.square(x), axis=-1, keepdims=True)
        x = x * tf.math.rsqrt(variance + self.epsilon) * gamma + beta
        return tf.cast(x, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape
