"""The Transformer encoder-decoder, for text to text."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import keras
from keras import ops

from modelzoo.fields.checks import check_at_least
from modelzoo.fields.input_specs import Inputs, source_and_target, take
from modelzoo.models.layers.block_config import TransformerBlockConfig
from modelzoo.models.layers.inputs import ConfiguredModel, keras_inputs
from modelzoo.models.layers.linear import Projection
from modelzoo.models.layers.precision import at_least_float32
from modelzoo.models.layers.token_embedding import TokenEmbedding, check_shared_embeddings

Tensor = Any
State = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Transformer(TransformerBlockConfig):
    """The Transformer encoder-decoder of Vaswani et al. (2017).

    `TransformerBlockConfig` describes the other fields. Padding changes no output, and no position
    of the target attends to a later one.

    num_encoder_layers: blocks of the encoder.
    num_decoder_layers: blocks of the decoder.
    share_embeddings: "all" has one matrix for the source embeddings, the target embeddings and the
        logits, which requires one vocabulary for both texts; "target" has one for the target
        embeddings and the logits; "none" shares nothing.

    >>> from modelzoo.fields.input_specs import MaskSpec, TokenSpec
    >>> inputs = {
    ...     "tokens": TokenSpec(9, mask="mask", vocabulary="words"),
    ...     "mask": MaskSpec(),
    ...     "decoder/tokens": TokenSpec(9, "decoder/mask", vocabulary="words", decoder=True),
    ...     "decoder/mask": MaskSpec(),
    ... }
    >>> Transformer.tiny().build(inputs, num_outputs=9).output_shape
    (None, None, 9)
    """

    input_kinds: ClassVar[tuple[str, ...]] = ("tokens",)
    reads_targets: ClassVar[bool] = True

    num_encoder_layers: int = 6
    num_decoder_layers: int = 6
    share_embeddings: Literal["all", "target", "none"] = "all"

    def __post_init__(self):
        super().__post_init__()
        check_at_least(
            1,
            num_encoder_layers=self.num_encoder_layers,
            num_decoder_layers=self.num_decoder_layers,
        )

    @classmethod
    def tiny(cls, **changes: Any) -> Self:
        """4 + 4 layers of 128, best for small data such as Multi30k.

        Wu et al. (2021), "Good for Misconceived Reasons".
        """
        return cls(**{**_sizes(4, 128, 256, 4), "dropout": 0.3, **changes})

    @classmethod
    def small(cls, **changes: Any) -> Self:
        """4 + 4 layers of 256."""
        return cls(**{**_sizes(4, 256, 1024, 4), **changes})

    @classmethod
    def base(cls, **changes: Any) -> Self:
        """6 + 6 layers of 512: the base model of Vaswani et al. (2017), table 3."""
        return cls(**changes)

    @classmethod
    def big(cls, **changes: Any) -> Self:
        """6 + 6 layers of 1,024: the big model of Vaswani et al. (2017), table 3."""
        return cls(**{**_sizes(6, 1024, 4096, 16), "dropout": 0.3, **changes})

    def build(self, inputs: Inputs, num_outputs: int) -> "TransformerModel":
        """Builds a model of source and target tokens and their padding masks, by name.

        The logits are `[batch, target_length, num_outputs]`, for the token after each position.

        Args:
            inputs: two token inputs and their masks; `decoder` is True for the target.
            num_outputs: number of logits.

        Raises:
            ValueError: if the inputs do not fit or embeddings cannot be shared.
        """
        (_, source), (_, target) = source_and_target(inputs)
        check_shared_embeddings(self.share_embeddings, source, target, num_outputs)
        return TransformerModel(self, inputs, num_outputs)


def _sizes(layers: int, hidden_dim: int, intermediate_dim: int, num_heads: int) -> dict[str, int]:
    return {
        "num_encoder_layers": layers,
        "num_decoder_layers": layers,
        "hidden_dim": hidden_dim,
        "intermediate_dim": intermediate_dim,
        "num_heads": num_heads,
    }


@keras.saving.register_keras_serializable(package="modelzoo")
class TransformerModel(ConfiguredModel):
    """The model of `Transformer`, and its decoder for `modelzoo.decoding`.

    The keys and values of all beams of an example are in `state["shared"]`; `state["beams"]` holds
    which of them belong to each beam.

    encoder_inputs: names of the source tokens and of their mask.
    decoder_inputs: names of the target tokens and of their mask. Padding of the target is at its
        end, where no real token attends to it, so the decoder does not read the mask.
    """

    config_class = Transformer

    def __init__(self, config: Transformer, inputs: Inputs, num_outputs: int):
        (source_name, source), (target_name, target) = source_and_target(inputs)
        share, dim, scale = config.share_embeddings, config.hidden_dim, config.embedding_scale
        name = "embedding" if share == "all" else "target_embedding"
        target_embedding = TokenEmbedding(target.vocab_size, dim, scale, name=name)
        source_embedding = target_embedding
        if share != "all":
            source_embedding = TokenEmbedding(
                source.vocab_size, dim, scale, name="source_embedding"
            )
        logits = Projection(num_outputs, name="logits") if share == "none" else None
        encoder = config.stack("encoder", config.num_encoder_layers, source.length)
        decoder = config.stack(
            "decoder", config.num_decoder_layers, target.length, cross=True, causal=True
        )
        self.source_embedding, self.target_embedding = source_embedding, target_embedding
        self.encoder, self.decoder, self.logits = encoder, decoder, logits
        tensors = keras_inputs(inputs)
        padding_mask = tensors[source.mask]
        memory = self._encode(tensors[source_name], padding_mask)
        x = decoder(target_embedding(tensors[target_name]), memory, memory_mask=padding_mask)
        super().__init__(inputs=tensors, outputs=self._compute_logits(x), name="transformer")
        self.arguments = (config, inputs, num_outputs)
        self.encoder_inputs = (source_name, source.mask)
        self.decoder_inputs = (target_name, target.mask)

    def start(
        self, inputs: Mapping[str, Tensor], beams: int, capacity: int, coverage: bool = False
    ) -> State:
        """Returns the state before the first token; see `modelzoo.decoding.decoder.EncoderDecoder`.

        Raises:
            ValueError: if the names of the inputs are others than `encoder_inputs`, or if
                `capacity` is more than the learned positions.
        """
        tokens, padding_mask = take(inputs, *self.encoder_inputs)
        memory = self._encode(tokens, padding_mask)
        batch, length = ops.shape(tokens)
        of_beams = {"ancestry": ops.zeros([batch, beams, capacity], "int32")}
        if coverage:
            of_beams["coverage"] = ops.zeros([batch, beams, length], "float32")
        caches = self.decoder.start(batch, beams, capacity, memory)
        return {
            "shared": {"memory_mask": padding_mask, **caches},
            "beams": of_beams,
            "position": ops.zeros([], "int32"),
        }

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Returns logits and state after one more token; see `modelzoo.decoding.decoder.Decoder`.

        The coverage adds up the attention of the last layer, averaged over its heads.
        """
        beams, position = state["beams"], state["position"]
        caches = dict(state["shared"])
        memory_mask = caches.pop("memory_mask")
        x = self.target_embedding(tokens)
        x, caches, ancestry, weights = self.decoder.step(
            x, caches, beams["ancestry"], position, memory_mask
        )
        logits = self._compute_logits(x)
        logits = ops.cast(logits, at_least_float32(logits.dtype))
        beams = {**beams, "ancestry": ancestry}
        if "coverage" in beams:
            beams["coverage"] += ops.cast(weights, "float32")
        return logits, {
            "shared": {"memory_mask": memory_mask, **caches},
            "beams": beams,
            "position": position + 1,
        }

    def attention(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns the attention weights of all layers and heads.

        Args:
            inputs: all inputs of a call, by name.

        Returns:
            "encoder" (from source to source), "decoder" (from target to target) and "cross" (from
            target to source), each `[batch, num_layers, num_heads, length, length attended to]`.
        """
        names = (*self.encoder_inputs, *self.decoder_inputs)
        source, padding_mask, target, _ = take(inputs, *names)
        memory, (encoder,) = self.encoder(
            self.source_embedding(source), padding_mask=padding_mask, return_weights=True
        )
        _, (decoder, cross) = self.decoder(
            self.target_embedding(target), memory, memory_mask=padding_mask, return_weights=True
        )
        return {"encoder": encoder, "decoder": decoder, "cross": cross}

    def _encode(self, tokens: Tensor, padding_mask: Tensor) -> Tensor:
        """Returns the memory `[batch, length, hidden_dim]`."""
        return self.encoder(self.source_embedding(tokens), padding_mask=padding_mask)

    def _compute_logits(self, x: Tensor) -> Tensor:
        if self.logits is None:
            return self.target_embedding(x, reverse=True)
        return self.logits(x)
