"""The Transformer that turns one sequence of tokens into another."""

import dataclasses
from typing import Any, ClassVar, Literal, Self

import keras
from keras import ops

from modelzoo.fields.input_specs import PairTokens
from modelzoo.models.layers.linear import Projection
from modelzoo.models.layers.precision import at_least_float32
from modelzoo.models.layers.token_embedding import TokenEmbedding
from modelzoo.models.layers.transformer import Blocks

State = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Transformer(Blocks):
    """Encoder and decoder of Vaswani et al. (2017); the other fields are in `Blocks`.

    Attention has no biases, as in the paper. Padding, token 0, changes no output, and no position
    sees a later one of the target.

    encoder_layers: blocks of the encoder.
    decoder_layers: blocks of the decoder.
    share_embeddings: "all", one matrix gives the vectors of source and target tokens and the
        logits, which wants one vocabulary of both; "target", one for the target and the logits; or
        "none".
    """

    takes: ClassVar[tuple[str, ...]] = ("pair",)

    encoder_layers: int = 6
    decoder_layers: int = 6
    share_embeddings: Literal["all", "target", "none"] = "all"

    def __post_init__(self):
        super().__post_init__()
        for name in ("encoder_layers", "decoder_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.share_embeddings not in ("all", "target", "none"):
            raise ValueError(
                'share_embeddings must be "all" or "target" or "none", got '
                f"{self.share_embeddings!r}"
            )

    @classmethod
    def tiny(cls, **changes: Any) -> Self:
        """4 + 4 layers of 128: what small data such as Multi30k are learned best with.

        Wu et al. (2021), "Good for Misconceived Reasons".
        """
        sizes = {"encoder_layers": 4, "decoder_layers": 4, "dim": 128, "ffn_dim": 256, "heads": 4}
        return cls(**{**sizes, "dropout": 0.3, **changes})

    @classmethod
    def small(cls, **changes: Any) -> Self:
        """4 + 4 layers of 256."""
        sizes = {"encoder_layers": 4, "decoder_layers": 4, "dim": 256, "ffn_dim": 1024, "heads": 4}
        return cls(**{**sizes, **changes})

    @classmethod
    def base(cls, **changes: Any) -> Self:
        """6 + 6 layers of 512: the base model of Vaswani et al. (2017), table 3."""
        return cls(**changes)

    @classmethod
    def big(cls, **changes: Any) -> Self:
        """6 + 6 layers of 1,024: the big model of Vaswani et al. (2017), table 3."""
        return cls(**{"dim": 1024, "ffn_dim": 4096, "heads": 16, "dropout": 0.3, **changes})

    def build(self, inputs: PairTokens, num_outputs: int) -> "TransformerModel":
        """A model of `{"source": [n, Ls], "target": [n, Lt]}` to logits `[n, Lt, num_outputs]`.

        Raises ValueError where embeddings cannot be shared.
        """
        if self.share_embeddings == "all" and not inputs.shared:
            raise ValueError(
                'share_embeddings must be "target" or "none" where source and target have '
                'vocabularies of their own, got "all"'
            )
        if self.share_embeddings != "none" and num_outputs != inputs.target_vocab:
            raise ValueError(
                f'share_embeddings must be "none" where outputs, {num_outputs}, are not the '
                f"target's vocabulary, {inputs.target_vocab}, got {self.share_embeddings!r}"
            )
        return TransformerModel(self, inputs, num_outputs)


class TransformerModel(keras.Model):
    """What `Transformer.build` gives: a model, and a decoder with a cache.

    See `modelzoo.decoding.decoder.Decoder`. Keys and values of all sequences of an example lie in
    `shared`; `rows` knows which of them each sequence goes on from.
    """

    def __init__(self, config: Transformer, inputs: PairTokens, num_outputs: int):
        both = config.share_embeddings == "all"
        target = TokenEmbedding(
            inputs.target_vocab, config.dim, name="embedding" if both else "target_embedding"
        )
        source = target
        if not both:
            source = TokenEmbedding(inputs.source_vocab, config.dim, name="source_embedding")
        logits = None
        if config.share_embeddings == "none":
            logits = Projection(num_outputs, name="logits")
        encoder = config.stack("encoder", config.encoder_layers, inputs.source_length)
        decoder = config.stack(
            "decoder", config.decoder_layers, inputs.target_length, cross=True, causal=True
        )
        self.source_embedding, self.target_embedding = source, target
        self.encoder, self.decoder, self.logits = encoder, decoder, logits
        tokens = {
            name: keras.Input([None], dtype="int32", name=name) for name in ("source", "target")
        }
        memory, real = self._encode(tokens["source"])
        x = decoder(target(tokens["target"]), memory, memory_real=real)
        super().__init__(inputs=tokens, outputs=self._logits(x), name="transformer")

    def start(self, source: Any, rows: int, capacity: int, coverage: bool = False) -> State:
        """The state before the first token: `rows` sequences of each of the sources `[n, Ls]`.

        A sequence has room for `capacity` tokens. With `coverage`, `state["rows"]["coverage"]`
        (float32 `[n, rows, Ls]`) sums up the attention on the source: the mean of the heads of the
        last layer. Raises ValueError where fewer positions were learned.
        """
        memory, real = self._encode(source)
        batch, length = ops.shape(source)
        kept = {"ancestry": ops.zeros([batch, rows, capacity], "int32")}
        if coverage:
            kept["coverage"] = ops.zeros([batch, rows, length], "float32")
        caches = self.decoder.start(batch, rows, capacity, memory)
        return {
            "shared": {"real": real, **caches},
            "rows": kept,
            "position": ops.zeros([], "int32"),
        }

    def step(self, tokens: Any, state: State) -> tuple[Any, State]:
        """Logits `[n, k, vocabulary]`, at least float32, after the next tokens, int32 `[n, k]`."""
        shared, rows, position = state["shared"], state["rows"], state["position"]
        caches = {name: value for name, value in shared.items() if name != "real"}
        x = self.target_embedding(tokens)
        x, caches, ancestry, weights = self.decoder.step(
            x, caches, rows["ancestry"], position, shared["real"]
        )
        logits = self._logits(x)
        logits = ops.cast(logits, at_least_float32(logits.dtype))
        rows = {**rows, "ancestry": ancestry}
        if "coverage" in rows:
            rows["coverage"] += ops.cast(weights, "float32")
        return logits, {
            "shared": {"real": shared["real"], **caches},
            "rows": rows,
            "position": position + 1,
        }

    def attention(self, source: Any, target: Any) -> dict[str, Any]:
        """The weights of all layers and heads, `[n, layers, heads, steps, steps attended to]`.

        "encoder" (from and to the source), "decoder" (the target) and "cross" (from target to
        source).
        """
        real = ops.not_equal(source, 0)
        embedded = self.source_embedding(source)
        memory, (encoder,) = self.encoder(embedded, real=real, return_weights=True)
        _, (decoder, cross) = self.decoder(
            self.target_embedding(target), memory, memory_real=real, return_weights=True
        )
        return {"encoder": encoder, "decoder": decoder, "cross": cross}

    def _encode(self, source: Any) -> tuple[Any, Any]:
        """The memory `[n, Ls, dim]` and which of it is real."""
        real = ops.not_equal(source, 0)
        return self.encoder(self.source_embedding(source), real=real), real

    def _logits(self, x: Any) -> Any:
        if self.logits is None:
            return self.target_embedding(x, reverse=True)
        return self.logits(x)
