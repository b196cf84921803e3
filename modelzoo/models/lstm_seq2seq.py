"""Recurrent encoder-decoders with attention, for pairs of texts."""

import dataclasses
from typing import Any, ClassVar, Literal

import keras
from keras import layers, ops

from modelzoo.fields.input_specs import PairTokens
from modelzoo.models.layers import recurrent
from modelzoo.models.layers.attending import AttendingLSTM, LuongAttention, advance_lstm
from modelzoo.models.layers.precision import at_least_float32
from modelzoo.models.layers.token_embedding import TokenEmbedding

Tensor = keras.KerasTensor
State = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class LSTMSeq2Seq:
    """An encoder and a decoder of LSTM layers, and attention of the one on the other.

    Each decoder layer starts from the last states of an encoder layer, of its own number or the
    last, through a dense layer each. What the decoder's last layer and the attention say of a
    token, `tanh(W [context; output])`, gives the logits. Padding of the source changes nothing.

    embedding_dim: size of the tokens' vectors.
    units: width of each layer, and in each direction if there are two.
    encoder_layers, decoder_layers: how many.
    bidirectional: the encoder's layers read both from the start and from the end.
    attention: "luong" attends after the last layer, by products of outputs and encoded tokens with
        a matrix between them ("general" in Luong et al., 2015), "luong_dot" without one, which
        needs both to be of one width; "bahdanau" before each step of the first layer, whose cell
        sees it, by a sum through tanh (Bahdanau et al., 2015).
    share_embeddings: "all" has one matrix of the source's vectors, the target's vectors and the
        logits, "target" one of the latter two, "none" one for each.
    dropout: share of the values dropped of the embeddings, of the encoder layers' outputs, between
        the decoder's layers and before the logits.
    recurrent_dropout: share of the values dropped of what a layer sees of its own last output, the
        same at all steps.
    """

    takes: ClassVar[tuple[str, ...]] = ("pair",)

    embedding_dim: int = 256
    units: int = 256
    encoder_layers: int = 1
    decoder_layers: int = 1
    bidirectional: bool = True
    attention: Literal["luong", "luong_dot", "bahdanau"] = "luong"
    share_embeddings: Literal["all", "target", "none"] = "all"
    dropout: float = 0.0
    recurrent_dropout: float = 0.0

    def __post_init__(self):
        for name in ("embedding_dim", "units", "encoder_layers", "decoder_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name, choices in (
            ("attention", ("luong", "luong_dot", "bahdanau")),
            ("share_embeddings", ("all", "target", "none")),
        ):
            if getattr(self, name) not in choices:
                quoted = " or ".join(f'"{choice}"' for choice in choices)
                raise ValueError(f"{name} must be {quoted}, got {getattr(self, name)!r}")
        if self.attention == "luong_dot" and self.bidirectional:
            raise ValueError(
                'attention must be "luong" or "bahdanau" where bidirectional makes the encoder '
                'wider than the decoder, got "luong_dot"'
            )
        for name in ("dropout", "recurrent_dropout"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, got {value}")

    def build(self, inputs: PairTokens, num_outputs: int) -> "AttentionDecoder":
        """Tokens `source` and `target` `[batch, length]` to logits `[batch, length, num_outputs]`.

        Raises ValueError where one matrix is to serve two vocabularies.
        """
        share = self.share_embeddings
        if share == "all" and not inputs.shared:
            raise ValueError(
                'share_embeddings must be "target" or "none" where source and target have '
                'vocabularies of their own, got "all"'
            )
        source, target = (keras.Input((None,), dtype="int32", name=n) for n in ("source", "target"))
        if share == "all":
            reads = writes = TokenEmbedding(num_outputs, self.embedding_dim, name="embedding")
        else:
            reads = TokenEmbedding(inputs.source_vocab, self.embedding_dim, name="source_embedding")
            writes = TokenEmbedding(num_outputs, self.embedding_dim, name="target_embedding")
        real = ops.not_equal(source, 0)
        values, states = self._encode(self._drop(reads(source), "source_dropout"), real)
        keys = values
        if self.attention != "luong_dot":
            keys = layers.Dense(self.units, use_bias=False, name="keys")(values)
        x, context = self._drop(writes(target), "target_dropout"), None
        for number in range(1, self.decoder_layers + 1):
            name = f"decoder{number}"
            h, c = states[min(number, self.encoder_layers) - 1]
            h = layers.Dense(self.units, activation="tanh", name=f"{name}_h")(h)
            c = layers.Dense(self.units, name=f"{name}_c")(c)
            if number > 1:
                x = self._drop(x, f"{name}_dropout")
            if number == 1 and self.attention == "bahdanau":
                cell = AttendingLSTM(self.units, self.recurrent_dropout, name=name)
                x, context, _ = cell(x, keys, values, real, h, c)
            else:
                x = self._layer(name, return_sequences=True)(x, initial_state=[h, c])
        if context is None:
            context, _ = LuongAttention(name="attention")(x, keys, values, real)
        width = self.units if share == "none" else self.embedding_dim
        x = layers.Concatenate(name="context_and_output")([context, x])
        x = layers.Dense(width, activation="tanh", use_bias=False, name="attentional")(x)
        x = self._drop(x, "dropout")
        if share == "none":
            logits = layers.Dense(num_outputs, name="logits")(x)
        else:
            logits = writes(x, reverse=True)
        return AttentionDecoder({"source": source, "target": target}, logits, name="lstm_seq2seq")

    def _encode(self, x: Tensor, real: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Outputs of the last layer, `[batch, length, dim]`, and each layer's last states."""
        states = []
        for number in range(1, self.encoder_layers + 1):
            name = f"encoder{number}"
            kwargs = {"return_sequences": True, "return_state": True}
            if not self.bidirectional:
                x, h, c = self._layer(name, **kwargs)(x, mask=real)
            else:
                ahead = self._layer(f"{name}_forward", **kwargs)(x, mask=real)
                back = self._layer(f"{name}_backward", **kwargs, go_backwards=True)(x, mask=real)
                x = ops.concatenate([ahead[0], ops.flip(back[0], axis=1)], axis=-1)
                h, c = (
                    ops.concatenate(pair, axis=-1) for pair in zip(ahead[1:], back[1:], strict=True)
                )
            states.append((h, c))
            x = self._drop(x, f"{name}_dropout")
        return layers.Identity(name="encoded")(x), states

    def _layer(self, name: str, **kwargs) -> recurrent.LSTM:
        dropout = self.recurrent_dropout
        return recurrent.LSTM(self.units, recurrent_dropout=dropout, name=name, **kwargs)

    def _drop(self, x: Tensor, name: str) -> Tensor:
        return layers.Dropout(self.dropout, name=name)(x) if self.dropout else x


@keras.saving.register_keras_serializable(package="modelzoo")
class AttentionDecoder(keras.Model):
    """The network of `LSTMSeq2Seq`, which is a `modelzoo.decoding.decoder.Decoder` too.

    Takes `source` int32 `[batch, source_length]` and `target` int32 `[batch, length]`, and gives
    logits `[batch, length, vocabulary]`.
    """

    def start(self, source: Tensor, rows: int, capacity: int, coverage: bool = False) -> State:
        """The state before the first token of `rows` sequences of each source, `[n, length]`.

        It has the same size whatever the `capacity`. With `coverage` its rows hold that.
        """
        named = self._named()
        values = named["encoded"]
        shared = {"values": values, "keys": named.get("keys", values)}
        states = [f"{layer.name}_{kind}" for layer in self._decoders() for kind in "hc"]
        outputs = {name: layer.output for name, layer in shared.items()}
        outputs |= {name: named[name].output for name in states}
        given = keras.Model(self.input["source"], outputs)(source)
        wide = at_least_float32(self.compute_dtype)
        held = {name: ops.cast(given[name], wide) for name in states}
        if coverage:
            held["coverage"] = ops.zeros_like(source, "float32")
        return {
            "shared": {**{name: given[name] for name in shared}, "real": ops.not_equal(source, 0)},
            "rows": {name: ops.repeat(x[:, None], rows, axis=1) for name, x in held.items()},
            "position": ops.zeros((), "int32"),
        }

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits `[n, k, vocabulary]` of what follows `tokens` `[n, k]`, float32 at least."""
        named, rows = self._named(), dict(state["rows"])
        source = [state["shared"][name] for name in ("keys", "values", "real")]
        embedding = named.get("target_embedding") or named["embedding"]
        x, weights = embedding(tokens), None
        for layer in self._decoders():
            names = [f"{layer.name}_{kind}" for kind in "hc"]
            states = [rows[name] for name in names]
            if isinstance(layer, AttendingLSTM):
                *states, context, weights = layer.step(x, *source, *states)
            else:
                states = advance_lstm(layer, x, *states)
            rows |= zip(names, states, strict=True)
            x = ops.cast(states[0], self.compute_dtype)
        if weights is None:
            context, weights = named["attention"](x, *source)
        x = named["attentional"](ops.concatenate([context, x], axis=-1))
        logits = named["logits"](x) if "logits" in named else embedding(x, reverse=True)
        if "coverage" in rows:
            rows["coverage"] += ops.cast(weights, "float32")
        wide = at_least_float32(self.compute_dtype)
        return ops.cast(logits, wide), {**state, "rows": rows, "position": state["position"] + 1}

    def attention(self, source: Tensor, target: Tensor) -> dict[str, Tensor]:
        """`cross` is the attention on the source, `[batch, 1, 1, length, source_length]`."""
        named = self._named()
        weights = named.get("attention", named["decoder1"]).output[-1]
        weights = keras.Model(self.input, weights)({"source": source, "target": target})
        return {"cross": weights[:, None, None]}

    def _named(self) -> dict[str, keras.layers.Layer]:
        return {layer.name: layer for layer in self.layers}

    def _decoders(self) -> list[keras.layers.Layer]:
        """The recurrent layers of the decoder, the first first."""
        kinds = (recurrent.LSTM, AttendingLSTM)
        found = (layer for layer in self.layers if isinstance(layer, kinds))
        return sorted((layer for layer in found if layer.name[:7] == "decoder"), key=_number)


def _number(layer: keras.layers.Layer) -> int:
    return int(layer.name.removeprefix("decoder"))
