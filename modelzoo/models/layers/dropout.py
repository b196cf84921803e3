"""Dropout that draws few random bits."""

import keras
import tensorflow as tf

_RANGE = 1 << 16


@keras.saving.register_keras_serializable(package="modelzoo")
class Dropout(keras.layers.Layer):
    """Zeroes in training a share of the values, each on its own; the others count more instead.

    It stands for `keras.layers.Dropout` where that takes too long: on a CPU most of its time goes
    into 32 random bits a value. Here each value gets 16, so the share is the nearest multiple of
    2 ** -16 to `rate`. A pure function of the seed generator's state.
    """

    def __init__(self, rate: float, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate
        self.seed_generator = keras.random.SeedGenerator()
        self._build_at_init()

    def call(self, inputs, training=None):
        if not training:
            return inputs
        seed, number = tf.cast(self.seed_generator.next(), tf.int64), tf.size(inputs)
        bits = tf.random.stateless_uniform(
            [(number + 1) // 2], seed, minval=None, maxval=None, dtype=tf.uint32
        )
        bits = tf.reshape(tf.bitcast(bits, tf.uint16), [-1])[:number]
        dropped = min(round(self.rate * _RANGE), _RANGE - 1)
        kept = tf.cast(bits >= tf.constant(dropped, tf.uint16), inputs.dtype)
        scale = tf.cast(_RANGE / (_RANGE - dropped), inputs.dtype)
        return inputs * tf.reshape(kept * scale, tf.shape(inputs))

    def compute_output_shape(self, input_shape):
        return input_shape
