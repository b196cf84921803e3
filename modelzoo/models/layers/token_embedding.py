"""Token embeddings that also give the logits of tokens."""

import keras
import tensorflow as tf

from modelzoo.fields.errors import FieldError
from modelzoo.fields.input_specs import TokenSpec
from modelzoo.models.layers.linear import linear


@keras.saving.register_keras_serializable(package="modelzoo")
class TokenEmbedding(keras.layers.Layer):
    """Token embeddings, multiplied by a scale (Vaswani et al., 2017, section 3.4).

    Token ids int32 `[batch, length]` become vectors `[batch, length, dim]`. With `reverse=True`,
    vectors `[..., dim]` become logits `[..., vocab_size]` by the same matrix, without the scale.
    The matrix starts normal with standard deviation `dim ** -0.5`.

    vocab_size: number of token ids.
    dim: size of the vectors.
    scale: factor of the vectors; None is `dim ** 0.5`.
    """

    def __init__(self, vocab_size: int, dim: int, scale: float | None = None, **kwargs):
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.dim = dim
        self.scale = scale

    def build(self, input_shape):
        normal = keras.initializers.RandomNormal(stddev=self.dim**-0.5)
        self.embeddings = self.add_weight(
            (self.vocab_size, self.dim), normal, autocast=False, name="embeddings"
        )

    def call(self, inputs, reverse=False):
        matrix = tf.convert_to_tensor(self.embeddings)
        if reverse:
            return linear(inputs, tf.transpose(matrix))
        scale = self.dim**0.5 if self.scale is None else self.scale
        return tf.cast(tf.gather(matrix, inputs), self.compute_dtype) * scale

    def compute_output_spec(self, inputs, reverse=False):
        shape = (*inputs.shape[:-1], self.vocab_size) if reverse else (*inputs.shape, self.dim)
        return keras.KerasTensor(shape, self.compute_dtype)


def check_shared_embeddings(
    share: str, source: TokenSpec, target: TokenSpec, num_outputs: int
) -> None:
    """Raises FieldError if `share_embeddings` of an encoder-decoder does not fit its vocabularies.

    share: "all", "target" or "none".
    source: spec of the tokens that the encoder reads.
    target: spec of the tokens that the decoder reads.
    num_outputs: number of logits.
    """
    same = source.vocabulary == target.vocabulary != ""
    if share == "all" and not (same and source.vocab_size == target.vocab_size):
        raise FieldError(
            "share_embeddings",
            'must be "target" or "none" if source and target have different '
            'vocabularies, got "all"',
        )
    if share != "none" and num_outputs != target.vocab_size:
        raise FieldError(
            "share_embeddings",
            f'must be "none" if the number of outputs, {num_outputs}, differs '
            f"from the size of the target's vocabulary, {target.vocab_size}, got {share!r}",
        )
