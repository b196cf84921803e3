"""Random crops and flips as a pure function of (image, seed)."""

import dataclasses

import numpy as np
import tensorflow as tf

_INCREMENT = 0x9E3779B97F4A7C15
_MULTIPLIERS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014) on uint64 values, any shape."""
    values = np.asarray(values, np.uint64) + np.uint64(_INCREMENT)
    for shift, multiplier in _MULTIPLIERS:
        values = (values ^ (values >> np.uint64(shift))) * np.uint64(multiplier)
    return values ^ (values >> np.uint64(31))


def mix_tensor(values: tf.Tensor) -> tf.Tensor:
    """`mix` in TensorFlow ops, which all lower to XLA."""

    def constant(value: int) -> tf.Tensor:
        return tf.constant(value, tf.uint64)

    def xor_shifted(values: tf.Tensor, shift: int) -> tf.Tensor:
        return tf.bitwise.bitwise_xor(values, tf.bitwise.right_shift(values, constant(shift)))

    values = values + constant(_INCREMENT)
    for shift, multiplier in _MULTIPLIERS:
        values = xor_shifted(values, shift) * constant(multiplier)
    return xor_shifted(values, 31)


def random_integers(seeds: tf.Tensor, stream: int, bound: int) -> tf.Tensor:
    """Integers in `[0, bound)` by hashing seeds (int64 `[n, 2]`) with the stream's number.

    Returns int32 `[n]`. `bound` is at most 2**31; the bias is below `bound / 2**32`.
    """
    pair = tf.bitcast(seeds, tf.uint64)
    state = mix_tensor(tf.bitwise.bitwise_xor(mix_tensor(pair[:, 0]), pair[:, 1]))
    state = mix_tensor(state + tf.constant(stream, tf.uint64))
    high = tf.bitwise.right_shift(state, tf.constant(32, tf.uint64))
    scaled = tf.bitwise.right_shift(
        high * tf.constant(bound, tf.uint64), tf.constant(32, tf.uint64)
    )
    return tf.cast(scaled, tf.int32)


@dataclasses.dataclass(frozen=True)
class Augment:
    """Augmentation of training images.

    Attributes:
        crop_padding: black pixels added on each side before a random crop back to the size.
        flip: mirror every second image, drawn at random, left to right.
    """

    crop_padding: int = 0
    flip: bool = False

    def __post_init__(self):
        if self.crop_padding < 0:
            raise ValueError(f"crop_padding must be at least 0, got {self.crop_padding}")

    def __call__(self, images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Augments images (uint8 `[n, height, width, channels]`) by seeds (int64 `[n, 2]`).

        What an image becomes depends on its own pixels and seed only, not on its neighbours.
        """
        pad = self.crop_padding
        if not pad and not self.flip:
            return images
        height, width, channels = images.shape[1:]
        count = tf.shape(images)[0]
        rows, columns = tf.range(height)[None], tf.range(width)[None]
        if self.flip:
            mirrored = random_integers(seeds, 0, 2)[:, None]
            columns = columns + mirrored * (width - 1 - 2 * columns)
        if pad:
            images = tf.pad(images, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
            rows = rows + random_integers(seeds, 1, 2 * pad + 1)[:, None]
            columns = columns + random_integers(seeds, 2, 2 * pad + 1)[:, None]
        full_height, full_width = height + 2 * pad, width + 2 * pad
        rows = rows + full_height * tf.range(count)[:, None]
        # One gather of pixels from the flattened batch: crop and flip together.
        pixels = rows[:, :, None] * full_width + columns[:, None, :]
        result = tf.gather(tf.reshape(images, [-1, channels]), pixels)
        return tf.ensure_shape(result, [None, height, width, channels])
