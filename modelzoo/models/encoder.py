"""The Transformer's encoder alone, for tokens."""

import dataclasses
from typing import ClassVar, Literal

import keras
from keras import layers

from modelzoo.fields.checks import check_at_least
from modelzoo.fields.errors import FieldError
from modelzoo.fields.input_specs import Inputs, only_tokens
from modelzoo.models.layers.block_config import TransformerBlockConfig
from modelzoo.models.layers.inputs import NamedInputsModel, keras_inputs
from modelzoo.models.layers.pooling import StepPooling
from modelzoo.models.layers.precision import at_least_float32
from modelzoo.models.layers.token_embedding import TokenEmbedding


@dataclasses.dataclass(frozen=True)
class Encoder(TransformerBlockConfig):
    """The Transformer encoder of Vaswani et al. (2017) with an output layer.

    `TransformerBlockConfig` describes the other fields. Padding changes no output.

    num_layers: number of blocks.
    max_length: number of learned positions, with `positions="learned"` only; None is the length of
        the token input.
    pooling: input of the output layer: the "mean" or the "max" of the last block's outputs, both
        ("mean_max"), or their "attention"-weighted mean (Yang et al., 2016). With outputs per
        token, the output layer reads each token's vector instead.

    >>> from modelzoo.fields.input_specs import MaskSpec, TokenSpec
    >>> inputs = {"tokens": TokenSpec(vocab_size=9, mask="mask"), "mask": MaskSpec()}
    >>> Encoder(num_layers=1, hidden_dim=8, num_heads=2).build(inputs, num_outputs=3).output_shape
    (None, 3)
    """

    input_kinds: ClassVar[tuple[str, ...]] = ("tokens",)
    reads_targets: ClassVar[bool] = False

    num_layers: int = 6
    max_length: int | None = None
    pooling: Literal["mean", "max", "mean_max", "attention"] = "mean"

    def __post_init__(self):
        super().__post_init__()
        check_at_least(1, num_layers=self.num_layers, max_length=self.max_length)
        if self.max_length is not None and self.positions != "learned":
            raise FieldError(
                "max_length", f'must be None unless positions are "learned", got {self.max_length}'
            )

    def build(self, inputs: Inputs, num_outputs: int, per_token: bool = False) -> keras.Model:
        """Builds a Keras model of tokens and their padding mask, both `[batch, length]`.

        Args:
            inputs: a token input and its mask, by name.
            num_outputs: number of logits.
            per_token: return logits `[batch, length, num_outputs]` instead of
                `[batch, num_outputs]`.

        Raises:
            ValueError: if the inputs do not fit, or if the number of learned positions is unknown.
        """
        name, spec = only_tokens(inputs)
        tensors = keras_inputs(inputs)
        padding_mask = tensors[spec.mask]
        embedding = TokenEmbedding(
            spec.vocab_size, self.hidden_dim, self.embedding_scale, name="embedding"
        )
        x = embedding(tensors[name])
        stack = self.stack("encoder", self.num_layers, self.max_length or spec.length)
        x = stack(x, padding_mask=padding_mask)
        if not per_token:
            x = StepPooling(self.pooling, name="pooling")(x, mask=padding_mask)
        if self.dropout:
            x = layers.Dropout(self.dropout, name="dropout")(x)
        outer = at_least_float32(keras.config.dtype_policy().compute_dtype)
        logits = layers.Dense(num_outputs, dtype=outer, name="logits")(x)
        return NamedInputsModel(tensors, logits, name="encoder")
