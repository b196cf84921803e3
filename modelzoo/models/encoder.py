"""The Transformer's encoder alone, over tokens."""

import dataclasses
from typing import ClassVar, Literal

import keras
from keras import layers

from modelzoo.fields.input_specs import TokenSpec
from modelzoo.models.layers.pooling import StepPooling
from modelzoo.models.layers.precision import at_least_float32
from modelzoo.models.layers.token_embedding import TokenEmbedding
from modelzoo.models.layers.transformer import Blocks


@dataclasses.dataclass(frozen=True)
class Encoder(Blocks):
    """The encoder of Vaswani et al. (2017) under a head; the other fields are in `Blocks`.

    Padding, token 0, changes no output.

    layers: blocks.
    longest: how many positions are learned where `positions` is "learned"; else None.
    pooling: what the head sees: the "mean", the "max", both ("mean_max") or the
        "attention"-weighted mean (Yang et al., 2016) of the last block's outputs. A head with
        outputs for each step sees each step's alone.
    """

    takes: ClassVar[tuple[str, ...]] = ("text",)

    layers: int = 6
    longest: int | None = None
    pooling: Literal["mean", "max", "mean_max", "attention"] = "mean"

    def __post_init__(self):
        super().__post_init__()
        if self.layers < 1:
            raise ValueError(f"layers must be at least 1, got {self.layers}")
        learned = self.positions == "learned"
        if learned and (self.longest is None or self.longest < 1):
            raise ValueError(
                f'longest must be at least 1 where positions are "learned", got {self.longest}'
            )
        if not learned and self.longest is not None:
            raise ValueError(
                f'longest must be None where positions are not "learned", got {self.longest}'
            )
        if self.pooling not in ("mean", "max", "mean_max", "attention"):
            raise ValueError(
                'pooling must be "mean" or "max" or "mean_max" or "attention", got '
                f"{self.pooling!r}"
            )

    def build(self, input_spec: TokenSpec, num_outputs: int, per_step: bool = False) -> keras.Model:
        """Tokens `[batch, length]` to logits `[batch, num_outputs]`, for each step if `per_step`.

        The latter are `[batch, length, num_outputs]`.
        """
        tokens = keras.Input(input_spec.shape[1:], dtype=input_spec.dtype, name="tokens")
        real = keras.ops.not_equal(tokens, 0)
        x = TokenEmbedding(input_spec.vocab_size, self.dim, name="embedding")(tokens)
        x = self.stack("encoder", self.layers, self.longest)(x, real=real)
        if not per_step:
            x = StepPooling(self.pooling, name="pooling")(x, mask=real)
        if self.dropout:
            x = layers.Dropout(self.dropout, name="dropout")(x)
        outer = at_least_float32(keras.config.dtype_policy().compute_dtype)
        logits = layers.Dense(num_outputs, dtype=outer, name="logits")(x)
        return keras.Model(tokens, logits, name="encoder")
