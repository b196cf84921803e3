"""Where in a sequence each token stands: sinusoids, learned vectors and rotations."""

import keras
import tensorflow as tf

from modelzoo.models.layers.linear import sizes
from modelzoo.models.layers.precision import at_least_float32

_LONGEST_WAVE = 10_000.0


def _angles(positions: tf.Tensor, number: int, dtype: str) -> tf.Tensor:
    """`[length, number]`, of waves whose lengths grow from 2 pi to 2 pi times the longest."""
    exponents = tf.range(number, dtype=dtype) / number
    return tf.cast(positions, dtype)[:, None] * _LONGEST_WAVE**-exponents


def sinusoids(positions: tf.Tensor, dim: int, dtype: str = "float32") -> tf.Tensor:
    """`[length, dim]` of positions `[length]`: Vaswani et al. (2017), section 3.5.

    Sines stand in the even places, the cosines of the same angles in the odd ones.
    """
    angles = _angles(positions, dim // 2, dtype)
    waves = tf.stack([tf.sin(angles), tf.cos(angles)], axis=-1)
    return tf.reshape(waves, [-1, dim])


def rotate(x: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
    """`x` `[..., length, dim]`, turned by its positions `[length]` (Su et al., 2021, section 3.2).

    The plane of the numbers i and dim / 2 + i turns by an angle that grows with the position, so
    that the product of two vectors depends on how far apart they stand.
    """
    wide = at_least_float32(x.dtype.name)
    half = x.shape[-1] // 2
    angles = _angles(positions, half, wide)
    cosines, sines = tf.cast(tf.cos(angles), x.dtype), tf.cast(tf.sin(angles), x.dtype)
    a, b = x[..., :half], x[..., half:]
    return tf.concat([a * cosines - b * sines, b * cosines + a * sines], axis=-1)


@keras.saving.register_keras_serializable(package="modelzoo")
class Positions(keras.layers.Layer):
    """Adds to each of `[batch, length, dim]` the vector of its position.

    `kind` is "sinusoidal" or "learned"; there are `longest` learned vectors, and more steps than
    these raise ValueError, or InvalidArgumentError where their number is not known beforehand.
    Positions are numbered from 0, unless `position` is that of all steps.
    """

    def __init__(self, kind: str = "sinusoidal", longest: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.kind = kind
        self.longest = longest

    def build(self, input_shape):
        if self.kind == "learned":
            dim = input_shape[-1]
            normal = keras.initializers.RandomNormal(stddev=dim**-0.5)
            self.table = self.add_weight((self.longest, dim), normal, name="table")

    def call(self, inputs, position=None):
        if position is None:
            self.check(inputs.shape[1])
            positions = tf.range(sizes(inputs)[1])
        else:
            positions = position[None]
        if self.kind == "learned":
            vectors = tf.gather(tf.cast(self.table, inputs.dtype), positions)
        else:
            wide = at_least_float32(self.compute_dtype)
            vectors = tf.cast(sinusoids(positions, inputs.shape[-1], wide), inputs.dtype)
        return inputs + vectors

    def check(self, length: int | None) -> None:
        """Raises ValueError where there are no vectors for so many steps."""
        if self.kind == "learned" and length is not None and length > self.longest:
            raise ValueError(
                f"positions must be sinusoidal or rotary for sequences longer than those trained "
                f"on, {self.longest} tokens, got learned ones and {length} tokens"
            )

    def compute_output_shape(self, input_shape):
        return input_shape
