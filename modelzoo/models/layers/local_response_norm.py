"""Local response normalization: divides each channel by the activity of its neighbours."""

import keras
import numpy as np
from keras import ops

from modelzoo.models.layers.precision import at_least_float32


@keras.saving.register_keras_serializable(package="modelzoo")
class LocalResponseNorm(keras.layers.Layer):
    """Computes `x / (1 + alpha * m) ** beta` (Krizhevsky et al., 2012, section 3.3).

    Inputs and outputs are `[..., channels]`. `m` is the sum of squares over the channels at a
    distance of at most `size // 2`, divided by `size`. TensorFlow's own kernel supports neither
    float64 nor, on a GPU, windows of more than 15 channels.
    """

    def __init__(self, size: int, alpha: float = 0.001, beta: float = 0.75, **kwargs):
        super().__init__(**kwargs)
        self.size = size
        self.alpha = alpha
        self.beta = beta

    def call(self, inputs):
        # A product with a band matrix of ones sums over the windows.
        place = np.arange(inputs.shape[-1])
        band = np.abs(place[:, None] - place) <= self.size // 2
        x = ops.cast(inputs, at_least_float32(self.compute_dtype))
        sums = ops.matmul(ops.square(x), ops.convert_to_tensor(band, dtype=x.dtype))
        x = x * (1.0 + self.alpha / self.size * sums) ** -self.beta
        return ops.cast(x, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "size": self.size, "alpha": self.alpha, "beta": self.beta}
