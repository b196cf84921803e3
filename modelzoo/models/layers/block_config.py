"""The config of Transformer blocks, which all families of Transformers share."""

import dataclasses
from typing import Literal

from modelzoo.fields.checks import check_at_least, check_choices, check_positive, check_rate
from modelzoo.fields.errors import FieldError
from modelzoo.models.layers.transformer import Stack


@dataclasses.dataclass(frozen=True)
class TransformerBlockConfig:
    """Base of the Transformer configs: the fields of their blocks and embeddings.

    hidden_dim: size of the vectors between the blocks.
    intermediate_dim: width inside the feed-forward networks.
    num_heads: heads of each attention; the number must divide `hidden_dim`.
    norm: place of the layer normalizations: "post", after the residual, or "pre", before the layer.
    norm_epsilon: epsilon of the layer normalizations.
    positions: "sinusoidal" or "learned" vectors, or "rotary", which rotates the queries and keys of
        self-attention (Su et al., 2021).
    activation: of the feed-forward networks: "relu", "gelu", "gelu_tanh" (the approximation of
        GPT-2) or "swiglu" (Shazeer, 2020), which has a third matrix.
    attention_bias: add biases to queries, keys, values and outputs of attention.
    ffn_bias: add biases to the feed-forward networks; None is False for "swiglu" and True for the
        other activations.
    embedding_scale: factor of the token embeddings; None is `hidden_dim ** 0.5`, BERT and GPT have
        1.0.
    dropout: dropout rate of the embeddings and of each sublayer's output.
    attention_dropout: dropout rate of the attention weights.
    ffn_dropout: dropout rate inside the feed-forward networks.
    """

    hidden_dim: int = 512
    intermediate_dim: int = 2048
    num_heads: int = 8
    norm: Literal["post", "pre"] = "post"
    norm_epsilon: float = 1e-5
    positions: Literal["sinusoidal", "learned", "rotary"] = "sinusoidal"
    activation: Literal["relu", "gelu", "gelu_tanh", "swiglu"] = "relu"
    attention_bias: bool = False
    ffn_bias: bool | None = None
    embedding_scale: float | None = None
    dropout: float = 0.1
    attention_dropout: float = 0.0
    ffn_dropout: float = 0.0

    def __post_init__(self):
        if self.hidden_dim < 2 or self.hidden_dim % 2:
            raise FieldError("hidden_dim", f"must be an even number above 0, got {self.hidden_dim}")
        check_choices(self)
        check_at_least(1, intermediate_dim=self.intermediate_dim)
        check_positive(norm_epsilon=self.norm_epsilon, embedding_scale=self.embedding_scale)
        check_rate(
            dropout=self.dropout,
            attention_dropout=self.attention_dropout,
            ffn_dropout=self.ffn_dropout,
        )
        if self.num_heads < 1 or self.hidden_dim % self.num_heads:
            raise FieldError(
                "num_heads", f"must divide hidden_dim, {self.hidden_dim}, got {self.num_heads}"
            )
        if self.positions == "rotary" and self.hidden_dim // self.num_heads % 2:
            raise FieldError(
                "num_heads",
                f"must divide hidden_dim, {self.hidden_dim}, into even parts for rotary "
                f"positions, got {self.num_heads}",
            )

    def stack(
        self, name: str, num_layers: int, max_length: int | None, cross=False, causal=False
    ) -> Stack:
        """Returns a stack of such blocks; see `Stack` and `Block` for the arguments.

        Raises ValueError if the number of learned positions, `max_length`, is None.
        """
        if self.positions == "learned" and max_length is None:
            raise FieldError(
                "positions",
                'must be "sinusoidal" or "rotary" for tokens without a longest length, '
                'got "learned"',
            )
        names = ["num_heads", "intermediate_dim", "norm", "activation", "attention_bias"]
        names += ["ffn_bias", "dropout", "attention_dropout", "ffn_dropout"]
        block = {name: getattr(self, name) for name in names}
        block |= {"epsilon": self.norm_epsilon, "cross": cross, "causal": causal}
        max_length = max_length if self.positions == "learned" else None
        return Stack(num_layers, block, self.positions, max_length, name=name)
