"""Random numbers as hashes of (seed, stream), the same on any device and in any batch."""

import numpy as np
import tensorflow as tf

_INCREMENT = 0x9E3779B97F4A7C15
_MULTIPLIERS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))

# The first stream of each use. Do not change them: results would change.
FLIP, CROP_ROWS, CROP_COLUMNS = 0, 1, 2
RESIZED_CROP = 1000
COLOUR = 2000
RAND_AUGMENT = 3000
ERASING = 4000
MIXING = 5000
SAMPLING = 6000


def mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014) on uint64 values, any shape."""
    values = np.asarray(values, np.uint64) + np.uint64(_INCREMENT)
    for shift, multiplier in _MULTIPLIERS:
        values = (values ^ (values >> np.uint64(shift))) * np.uint64(multiplier)
    return values ^ (values >> np.uint64(31))


def mix_tensor(values: tf.Tensor) -> tf.Tensor:
    """`mix` in TensorFlow ops, which all compile with XLA."""

    def constant(value: int) -> tf.Tensor:
        return tf.constant(value, tf.uint64)

    def xor_shifted(values: tf.Tensor, shift: int) -> tf.Tensor:
        return tf.bitwise.bitwise_xor(values, tf.bitwise.right_shift(values, constant(shift)))

    values = values + constant(_INCREMENT)
    for shift, multiplier in _MULTIPLIERS:
        values = xor_shifted(values, shift) * constant(multiplier)
    return xor_shifted(values, 31)


def random_words(seeds: tf.Tensor, streams: tf.Tensor) -> tf.Tensor:
    """Hashes of seeds (int64 `[n, 2]`) with streams (integers `[k]`): uint64 `[n, k]`."""
    pair = tf.bitcast(seeds, tf.uint64)
    state = mix_tensor(tf.bitwise.bitwise_xor(mix_tensor(pair[:, 0]), pair[:, 1]))
    return mix_tensor(state[:, None] + tf.cast(streams, tf.uint64))


def random_integers(seeds: tf.Tensor, stream: int, bound: int | tf.Tensor) -> tf.Tensor:
    """Integers in `[0, bound)`, int32 `[n]`, by hashing seeds (int64 `[n, 2]`) with the stream.

    `bound`, one number or one per seed, is at most 2**31; the bias is below `bound / 2**32`.
    """
    return as_integers(random_words(seeds, [stream])[:, 0], bound)


def random_uniform(seeds: tf.Tensor, first: int, count: int) -> tf.Tensor:
    """Multiples of 2**-24 in `[0, 1)` of `count` streams from `first` on: float32 `[n, count]`."""
    return as_uniform(random_words(seeds, list(range(first, first + count))))


def as_integers(words: tf.Tensor, bound: int | tf.Tensor) -> tf.Tensor:
    """Integers in `[0, bound)` of words (uint64): int32."""
    thirty_two = tf.constant(32, tf.uint64)
    high = tf.bitwise.right_shift(words, thirty_two)
    return tf.cast(tf.bitwise.right_shift(high * tf.cast(bound, tf.uint64), thirty_two), tf.int32)


def as_uniform(words: tf.Tensor) -> tf.Tensor:
    """Numbers in `[0, 1)` of words (uint64): float32."""
    return tf.cast(tf.bitwise.right_shift(words, tf.constant(40, tf.uint64)), tf.float32) * 2**-24
