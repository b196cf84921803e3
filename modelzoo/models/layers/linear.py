"""Matrix products over the last axis."""

import keras
import tensorflow as tf


def sizes(x: tf.Tensor) -> list[int | tf.Tensor]:
    """Returns the sizes of all axes: an int for a static size, else a scalar tensor."""
    return [tf.shape(x)[axis] if size is None else size for axis, size in enumerate(x.shape)]


def linear(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor | None = None) -> tf.Tensor:
    """Multiplies `[..., inputs]` by `[inputs, outputs]` and adds `[outputs]`, in the dtype of `x`.

    Integers become the dtype of the kernel.

    It is one product of two matrices for inputs of any rank. A batched product is slower: its
    gradient computes one kernel gradient per example and sums them.
    """
    if not x.dtype.is_floating:
        x = tf.cast(x, kernel.dtype)
    rows = tf.reshape(x, [-1, kernel.shape[0]])
    rows = tf.matmul(rows, tf.cast(kernel, x.dtype))
    if bias is not None:
        rows = tf.nn.bias_add(rows, tf.cast(bias, x.dtype))
    return tf.reshape(rows, [*sizes(x)[:-1], kernel.shape[1]])


@keras.saving.register_keras_serializable(package="modelzoo")
class Projection(keras.layers.Layer):
    """Dense layer without bias: `[..., dim]` to `[..., units]`."""

    def __init__(self, units: int, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.kernel = self.add_weight((input_shape[-1], self.units), name="kernel")

    def call(self, inputs):
        return linear(inputs, self.kernel)
