"""Positions of tokens: sinusoids, learned vectors and rotations."""

import keras
import tensorflow as tf

from modelzoo.fields.checks import check_choice
from modelzoo.fields.errors import FieldError
from modelzoo.models.layers.linear import sizes
from modelzoo.models.layers.precision import at_least_float32

_MAX_WAVELENGTH = 10_000.0  # In units of 2 pi.


def _angles(positions: tf.Tensor, number: int, dtype: str) -> tf.Tensor:
    """Angles `[length, number]` of waves; the wavelengths grow geometrically from 2 pi."""
    exponents = tf.range(number, dtype=dtype) / number
    return tf.cast(positions, dtype)[:, None] * _MAX_WAVELENGTH**-exponents


def sinusoids(positions: tf.Tensor, dim: int, dtype: str = "float32") -> tf.Tensor:
    """Sinusoidal vectors `[length, dim]` of positions `[length]` (Vaswani et al., 2017, 3.5).

    Even columns hold sines, odd columns the cosines of the same angles.
    """
    angles = _angles(positions, dim // 2, dtype)
    waves = tf.stack([tf.sin(angles), tf.cos(angles)], axis=-1)
    return tf.reshape(waves, [-1, dim])


def rotate(x: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
    """Rotates `x` `[..., length, dim]` by its positions `[length]` (Su et al., 2021, section 3.2).

    Numbers `i` and `dim / 2 + i` form a plane, which is rotated by an angle proportional to the
    position. So the product of two vectors depends on the distance of their positions only.
    """
    wide = at_least_float32(x.dtype.name)
    half = x.shape[-1] // 2
    angles = _angles(positions, half, wide)
    cosines, sines = tf.cast(tf.cos(angles), x.dtype), tf.cast(tf.sin(angles), x.dtype)
    a, b = x[..., :half], x[..., half:]
    return tf.concat([a * cosines - b * sines, b * cosines + a * sines], axis=-1)


@keras.saving.register_keras_serializable(package="modelzoo")
class Positions(keras.layers.Layer):
    """Adds a vector for its position to each vector of `[batch, length, dim]`.

    Positions count from 0, unless the call has a `position`, an int32 scalar that is the position
    of all vectors. A sequence longer than the learned vectors raises ValueError, or
    InvalidArgumentError if its length is not static.

    kind: "sinusoidal" or "learned".
    max_length: number of learned vectors; None for sinusoids.
    """

    def __init__(self, kind: str = "sinusoidal", max_length: int | None = None, **kwargs):
        super().__init__(**kwargs)
        check_choice(("sinusoidal", "learned"), kind=kind)
        if (kind == "learned") != (max_length is not None):
            wanted = "a number" if kind == "learned" else "None"
            raise FieldError("max_length", f'must be {wanted} for "{kind}", got {max_length}')
        self.kind = kind
        self.max_length = max_length

    def build(self, input_shape):
        if self.kind == "learned":
            dim = input_shape[-1]
            normal = keras.initializers.RandomNormal(stddev=dim**-0.5)
            self.table = self.add_weight((self.max_length, dim), normal, name="table")

    def call(self, inputs, position=None):
        if position is None:
            try:
                self.check_length(inputs.shape[1])
            except FieldError as error:
                # Keras rebuilds an error of a layer from its message alone.
                raise ValueError(str(error)) from None
            positions = tf.range(sizes(inputs)[1])
        else:
            positions = position[None]
        if self.kind == "learned":
            vectors = tf.gather(tf.cast(self.table, inputs.dtype), positions)
        else:
            wide = at_least_float32(self.compute_dtype)
            vectors = tf.cast(sinusoids(positions, inputs.shape[-1], wide), inputs.dtype)
        return inputs + vectors

    def check_length(self, length: int | None) -> None:
        """Raises FieldError if a sequence of this length has more positions than were learned."""
        limit = self.max_length if self.kind == "learned" else None
        if limit is not None and length is not None and length > limit:
            raise FieldError(
                "positions",
                f"must be sinusoidal or rotary for sequences longer than in training, "
                f"{limit} tokens, got learned ones and {length} tokens",
            )

    def compute_output_shape(self, input_shape):
        return input_shape
