"""Vectors of tokens, which also tell how likely each token is."""

import keras
import tensorflow as tf

from modelzoo.models.layers.linear import linear


@keras.saving.register_keras_serializable(package="modelzoo")
class TokenEmbedding(keras.layers.Layer):
    """Tokens int32 `[batch, length]` to vectors `[batch, length, dim]`, times `dim ** 0.5`.

    With `reverse`, vectors `[..., dim]` to logits `[..., vocab_size]` by the same matrix: Vaswani
    et al. (2017), section 3.4. The vectors start normal with deviation `dim ** -0.5`.
    """

    def __init__(self, vocab_size: int, dim: int, **kwargs):
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.dim = dim

    def build(self, input_shape):
        normal = keras.initializers.RandomNormal(stddev=self.dim**-0.5)
        self.embeddings = self.add_weight(
            (self.vocab_size, self.dim), normal, autocast=False, name="embeddings"
        )

    def call(self, inputs, reverse=False):
        matrix = tf.convert_to_tensor(self.embeddings)
        if reverse:
            return linear(inputs, tf.transpose(matrix))
        return tf.cast(tf.gather(matrix, inputs), self.compute_dtype) * self.dim**0.5

    def compute_output_spec(self, inputs, reverse=False):
        shape = (*inputs.shape[:-1], self.vocab_size) if reverse else (*inputs.shape, self.dim)
        return keras.KerasTensor(shape, self.compute_dtype)
