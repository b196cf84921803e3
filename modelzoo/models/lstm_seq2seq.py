"""Recurrent encoder-decoders with attention, for text to text."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import keras
from keras import layers, ops

from modelzoo.fields.checks import check_at_least, check_choices, check_rate
from modelzoo.fields.errors import FieldError
from modelzoo.fields.input_specs import Inputs, source_and_target, take
from modelzoo.models.layers import recurrent
from modelzoo.models.layers.attention_lstm import AttentionLSTM, LuongAttention, advance_lstm
from modelzoo.models.layers.inputs import ConfiguredModel, NamedInputsModel, keras_inputs
from modelzoo.models.layers.precision import at_least_float32
from modelzoo.models.layers.token_embedding import TokenEmbedding, check_shared_embeddings

Tensor = Any
State = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class LSTMSeq2Seq:
    """An LSTM encoder, and an LSTM decoder with attention to the encoder's outputs.

    Each decoder layer starts from the last states of the encoder layer with its number (or of the
    last one), through a dense layer for each state. The logits are computed from
    `tanh(W [context; output])` of the attention and the decoder's last layer. Padding of the source
    changes no output.

    embedding_dim: size of the token embeddings.
    units: width of each layer (and of each direction).
    num_encoder_layers: layers of the encoder.
    num_decoder_layers: layers of the decoder.
    bidirectional: the encoder's layers read from the start and from the end.
    attention: "luong" attends after the last layer, with dot products of outputs and projected
        source tokens ("general" in Luong et al., 2015); "luong_dot" does so without a projection,
        which requires encoder and decoder of the same width; "bahdanau" attends before each step of
        the first layer, with additive scores (Bahdanau et al., 2015).
    share_embeddings: "all" has one matrix for the source embeddings, the target embeddings and the
        logits, which requires one vocabulary for both texts; "target" has one for the target
        embeddings and the logits; "none" shares nothing.
    dropout: dropout rate of the embeddings, of the encoder layers' outputs, between the decoder's
        layers and before the logits.
    recurrent_dropout: dropout rate of a layer's last output where the layer reads it; all steps
        drop the same values.

    >>> from modelzoo.fields.input_specs import MaskSpec, TokenSpec
    >>> inputs = {
    ...     "tokens": TokenSpec(9, mask="mask", vocabulary="words"),
    ...     "mask": MaskSpec(),
    ...     "decoder/tokens": TokenSpec(9, "decoder/mask", vocabulary="words", decoder=True),
    ...     "decoder/mask": MaskSpec(),
    ... }
    >>> LSTMSeq2Seq(embedding_dim=4, units=3).build(inputs, num_outputs=9).output_shape
    (None, None, 9)
    """

    input_kinds: ClassVar[tuple[str, ...]] = ("tokens",)
    reads_targets: ClassVar[bool] = True

    embedding_dim: int = 256
    units: int = 256
    num_encoder_layers: int = 1
    num_decoder_layers: int = 1
    bidirectional: bool = True
    attention: Literal["luong", "luong_dot", "bahdanau"] = "luong"
    share_embeddings: Literal["all", "target", "none"] = "all"
    dropout: float = 0.0
    recurrent_dropout: float = 0.0

    def __post_init__(self):
        check_choices(self)
        check_at_least(
            1,
            embedding_dim=self.embedding_dim,
            units=self.units,
            num_encoder_layers=self.num_encoder_layers,
            num_decoder_layers=self.num_decoder_layers,
        )
        check_rate(dropout=self.dropout, recurrent_dropout=self.recurrent_dropout)
        if self.attention == "luong_dot" and self.bidirectional:
            raise FieldError(
                "attention",
                'must be "luong" or "bahdanau" if bidirectional makes the encoder wider '
                'than the decoder, got "luong_dot"',
            )

    def build(self, inputs: Inputs, num_outputs: int) -> "LSTMSeq2SeqModel":
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
        return LSTMSeq2SeqModel(self, inputs, num_outputs)


@keras.saving.register_keras_serializable(package="modelzoo")
class LSTMSeq2SeqModel(ConfiguredModel):
    """The model of `LSTMSeq2Seq`, and its decoder for `modelzoo.decoding`.

    encoder_inputs: names of the source tokens and of their mask.
    decoder_inputs: names of the target tokens and of their mask. Padding of the target is at its
        end, where it changes no earlier output, so the decoder does not read the mask.
    """

    config_class = LSTMSeq2Seq

    def __init__(self, config: LSTMSeq2Seq, inputs: Inputs, num_outputs: int):
        (source_name, source), (target_name, target) = source_and_target(inputs)
        share, dim = config.share_embeddings, config.embedding_dim
        tensors = keras_inputs(inputs)
        tokens, memory_mask = tensors[source_name], tensors[source.mask]
        if share == "all":
            source_embedding = TokenEmbedding(target.vocab_size, dim, name="embedding")
            target_embedding = source_embedding
        else:
            source_embedding = TokenEmbedding(source.vocab_size, dim, name="source_embedding")
            target_embedding = TokenEmbedding(target.vocab_size, dim, name="target_embedding")

        def drop(x: Tensor, name: str) -> Tensor:
            return layers.Dropout(config.dropout, name=name)(x) if config.dropout else x

        x = drop(source_embedding(tokens), "source_dropout")
        values, encoder_states = _encode(config, x, memory_mask, drop)
        keys = values
        if config.attention != "luong_dot":
            keys = layers.Dense(config.units, use_bias=False, name="keys")(values)
        x = drop(target_embedding(tensors[target_name]), "target_dropout")
        states: dict[str, Tensor] = {}
        decoder_layers = []
        attention = context = weights = None
        for number in range(1, config.num_decoder_layers + 1):
            name = f"decoder{number}"
            h, c = encoder_states[min(number, config.num_encoder_layers) - 1]
            h = layers.Dense(config.units, activation="tanh", name=f"{name}_h")(h)
            c = layers.Dense(config.units, name=f"{name}_c")(c)
            states |= {f"{name}_h": h, f"{name}_c": c}
            if number > 1:
                x = drop(x, f"{name}_dropout")
            if number == 1 and config.attention == "bahdanau":
                layer = AttentionLSTM(config.units, config.recurrent_dropout, name=name)
                x, context, weights = layer(x, keys, values, memory_mask, h, c)
            else:
                layer = _lstm(config, name, return_sequences=True)
                x = layer(x, initial_state=[h, c])
            decoder_layers.append(layer)
        if context is None:
            attention = LuongAttention(name="attention")
            context, weights = attention(x, keys, values, memory_mask)
        width = config.units if share == "none" else dim
        x = layers.Concatenate(name="context_and_output")([context, x])
        attentional = layers.Dense(width, activation="tanh", use_bias=False, name="attentional")
        x = drop(attentional(x), "dropout")
        output = layers.Dense(num_outputs, name="logits") if share == "none" else None
        logits = target_embedding(x, reverse=True) if output is None else output(x)
        super().__init__(inputs=tensors, outputs=logits, name="lstm_seq2seq")

        self.arguments = (config, inputs, num_outputs)
        self.encoder_inputs = (source_name, source.mask)
        self.decoder_inputs = (target_name, target.mask)
        self.target_embedding, self.decoder_layers = target_embedding, decoder_layers
        self.attention_layer, self.attentional, self.output_layer = attention, attentional, output
        memory = {"keys": keys, "values": values, **states}
        encoder_tensors = {name: tensors[name] for name in self.encoder_inputs}
        self.encoder = keras.Model(encoder_tensors, memory, name="encoder")
        self.attention_weights = NamedInputsModel(tensors, weights, name="attention_weights")

    def start(
        self, inputs: Mapping[str, Tensor], beams: int, capacity: int, coverage: bool = False
    ) -> State:
        """Returns the state before the first token; see `modelzoo.decoding.decoder.EncoderDecoder`.

        Its size does not depend on `capacity`. Raises ValueError if the names of the inputs are
        others than `encoder_inputs`.
        """
        tokens, memory_mask = take(inputs, *self.encoder_inputs)
        memory = self.encoder(dict(inputs))
        shared = {name: memory.pop(name) for name in ("values", "keys")}
        wide = at_least_float32(self.compute_dtype)
        of_beams = {name: ops.cast(state, wide) for name, state in memory.items()}
        if coverage:
            of_beams["coverage"] = ops.zeros_like(tokens, "float32")
        return {
            "shared": {**shared, "memory_mask": memory_mask},
            "beams": {name: ops.repeat(x[:, None], beams, axis=1) for name, x in of_beams.items()},
            "position": ops.zeros((), "int32"),
        }

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Returns logits and state after a token; see `modelzoo.decoding.decoder.Decoder`."""
        beams = dict(state["beams"])
        memory = [state["shared"][name] for name in ("keys", "values", "memory_mask")]
        x, weights = self.target_embedding(tokens), None
        for layer in self.decoder_layers:
            names = [f"{layer.name}_h", f"{layer.name}_c"]
            states = [beams[name] for name in names]
            if isinstance(layer, AttentionLSTM):
                *states, context, weights = layer.step(x, *memory, *states)
            else:
                states = advance_lstm(layer, x, *states)
            beams |= zip(names, states, strict=True)
            x = ops.cast(states[0], self.compute_dtype)
        if self.attention_layer is not None:
            context, weights = self.attention_layer(x, *memory)
        x = self.attentional(ops.concatenate([context, x], axis=-1))
        if self.output_layer is None:
            logits = self.target_embedding(x, reverse=True)
        else:
            logits = self.output_layer(x)
        if "coverage" in beams:
            beams["coverage"] += ops.cast(weights, "float32")
        wide = at_least_float32(self.compute_dtype)
        return ops.cast(logits, wide), {**state, "beams": beams, "position": state["position"] + 1}

    def attention(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns the attention weights of the decoder.

        Args:
            inputs: all inputs of a call, by name.

        Returns:
            "cross" (from target to source), `[batch, 1, 1, target_length, source_length]`.
        """
        return {"cross": self.attention_weights(dict(inputs))[:, None, None]}


def _encode(
    config: LSTMSeq2Seq, x: Tensor, padding_mask: Tensor, drop: Callable[[Tensor, str], Tensor]
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Returns the last layer's outputs `[batch, length, dim]` and the last states of each layer."""
    states = []
    for number in range(1, config.num_encoder_layers + 1):
        name = f"encoder{number}"
        kwargs = {"return_sequences": True, "return_state": True}
        if not config.bidirectional:
            x, h, c = _lstm(config, name, **kwargs)(x, mask=padding_mask)
        else:
            forward = _lstm(config, f"{name}_forward", **kwargs)(x, mask=padding_mask)
            layer = _lstm(config, f"{name}_backward", **kwargs, go_backwards=True)
            backward = layer(x, mask=padding_mask)
            x = ops.concatenate([forward[0], ops.flip(backward[0], axis=1)], axis=-1)
            h, c = (
                ops.concatenate(pair, axis=-1)
                for pair in zip(forward[1:], backward[1:], strict=True)
            )
        states.append((h, c))
        x = drop(x, f"{name}_dropout")
    return layers.Identity(name="encoded")(x), states


def _lstm(config: LSTMSeq2Seq, name: str, **kwargs) -> recurrent.LSTM:
    dropout = config.recurrent_dropout
    return recurrent.LSTM(config.units, recurrent_dropout=dropout, name=name, **kwargs)
