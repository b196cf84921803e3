"""Recurrent networks over tokens, numeric series and the rows of images."""

import dataclasses
from typing import Literal

import keras
from keras import layers

from modelzoo.fields.input_specs import TokenSpec
from modelzoo.models.layers import recurrent
from modelzoo.models.layers.pooling import StepPooling
from modelzoo.models.layers.precision import at_least_float32

Tensor = keras.KerasTensor


@dataclasses.dataclass(frozen=True)
class LSTM:
    """Layers of long short-term memory (Hochreiter and Schmidhuber, 1997), or of other cells.

    Tokens get vectors of an embedding; their padding, token 0, changes no output. An image is the
    series of its rows.

    embedding_dim: size of the tokens' vectors; None where the inputs are numbers.
    embedding_scale: their numbers start evenly between minus this and this.
    cell: "lstm" with a forget gate, whose bias starts at 1; "gru", whose reset gate follows the
        matrix product, as in cuDNN; "rnn", a plain net of tanh.
    units: width of each layer, and in each direction if there are two.
    bidirectional: each layer reads both from the start and from the end.
    pooling: what the head sees: "last", the last state (of each direction), or the "mean", the
        "max", both ("mean_max") or the "attention"-weighted mean (Yang et al., 2016) of the last
        layer's outputs. A head with outputs for each step sees each step's alone.
    dense: widths of the dense layers between that and the logits.
    dropout: share of the values dropped of the embedding, between the layers, before the head and
        after each layer of `dense`.
    variational: drop the same values at all steps of a sequence (Gal and Ghahramani, 2016), not
        others at each.
    recurrent_dropout: share of the values dropped of what a layer sees of its own last output, the
        same at all steps.
    word_dropout: share of the steps whose whole input is dropped, each on its own (Iyyer et al.,
        2015); the others count more instead.
    """

    embedding_dim: int | None = None
    embedding_scale: float = 0.05
    cell: Literal["lstm", "gru", "rnn"] = "lstm"
    units: tuple[int, ...] = (128,)
    bidirectional: bool = False
    pooling: Literal["last", "mean", "max", "mean_max", "attention"] = "last"
    dense: tuple[int, ...] = ()
    dropout: float = 0.0
    variational: bool = True
    recurrent_dropout: float = 0.0
    word_dropout: float = 0.0

    def __post_init__(self):
        if self.embedding_dim is not None and self.embedding_dim < 1:
            raise ValueError(f"embedding_dim must be at least 1, got {self.embedding_dim}")
        if not self.embedding_scale > 0:
            raise ValueError(f"embedding_scale must be above 0, got {self.embedding_scale}")
        if not self.units or min(self.units) < 1:
            raise ValueError(f"units must be one or more numbers above 0, got {self.units}")
        if self.dense and min(self.dense) < 1:
            raise ValueError(f"dense must be numbers above 0, got {self.dense}")
        for name, choices in (
            ("cell", ("lstm", "gru", "rnn")),
            ("pooling", ("last", "mean", "max", "mean_max", "attention")),
        ):
            if getattr(self, name) not in choices:
                quoted = " or ".join(f'"{choice}"' for choice in choices)
                raise ValueError(f"{name} must be {quoted}, got {getattr(self, name)!r}")
        for name in ("dropout", "recurrent_dropout", "word_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be at least 0 and below 1, got {getattr(self, name)}"
                )

    def build(
        self, input_spec: TokenSpec | keras.InputSpec, num_outputs: int, per_step: bool = False
    ) -> keras.Model:
        """Tokens, series or images to logits `[batch, num_outputs]`.

        Inputs are `tokens` `[batch, length]`, `series` `[batch, length, features]` or `image`
        `[batch, height, width, channels]`; `per_step` gives logits `[batch, length, num_outputs]`.
        Raises ValueError for tokens without an embedding and an embedding without tokens.
        """
        inputs, x, mask = self._inputs(input_spec)
        if self.word_dropout:
            noise = (None, None, 1)
            x = layers.Dropout(self.word_dropout, noise_shape=noise, name="word_dropout")(x)
        for number, units in enumerate(self.units, 1):
            last = number == len(self.units)
            whole = per_step or not last or self.pooling != "last"
            x = self._layer(x, mask, units, whole, f"{self.cell}{number}")
            if not last:
                x = self._drop(x, f"{self.cell}{number}_dropout")
        if not per_step and self.pooling != "last":
            x = StepPooling(self.pooling, name="pooling")(x, mask=mask)
        x = self._drop(x, "dropout")
        for number, width in enumerate(self.dense, 1):
            x = layers.Dense(width, activation="relu", name=f"dense{number}")(x)
            x = self._drop(x, f"dense{number}_dropout")
        outer = at_least_float32(keras.config.dtype_policy().compute_dtype)
        outputs = layers.Dense(num_outputs, dtype=outer, name="logits")(x)
        return keras.Model(inputs, outputs, name=self.cell)

    def _inputs(self, spec: TokenSpec | keras.InputSpec) -> tuple[Tensor, Tensor, Tensor | None]:
        """The model's input, `[batch, length, features]` and which of the steps are real."""
        if isinstance(spec, TokenSpec):
            if self.embedding_dim is None:
                raise ValueError("embedding_dim must be a number for tokens, got None")
            tokens = keras.Input(spec.shape[1:], dtype=spec.dtype, name="tokens")
            scale = self.embedding_scale
            x = layers.Embedding(
                spec.vocab_size,
                self.embedding_dim,
                keras.initializers.RandomUniform(-scale, scale),
                name="embedding",
            )(tokens)
            return tokens, self._drop(x, "embedding_dropout"), keras.ops.not_equal(tokens, 0)
        if self.embedding_dim is not None:
            raise ValueError(
                f"embedding_dim must be None where the inputs are numbers, got {self.embedding_dim}"
            )
        outer = at_least_float32(keras.config.dtype_policy().compute_dtype)
        if len(spec.shape) == 3:
            series = keras.Input(spec.shape[1:], dtype=outer, name="series")
            return series, series, None
        image = keras.Input(spec.shape[1:], dtype=outer, name="image")
        height, width, channels = spec.shape[1:]
        return image, layers.Reshape((height, width * channels), name="rows")(image), None

    def _layer(self, x: Tensor, mask: Tensor | None, units: int, whole: bool, name: str) -> Tensor:
        """All outputs if `whole`, else the last; of both directions side by side."""

        def run(name, **kwargs):
            kinds = {"lstm": recurrent.LSTM, "gru": recurrent.GRU, "rnn": recurrent.SimpleRNN}
            kwargs |= {"return_sequences": whole, "recurrent_dropout": self.recurrent_dropout}
            kwargs["halves"] = not self.bidirectional
            return kinds[self.cell](units, name=name, **kwargs)(x, mask=mask)

        if not self.bidirectional:
            return run(name)
        ahead, back = run(f"{name}_forward"), run(f"{name}_backward", go_backwards=True)
        back = keras.ops.flip(back, axis=1) if whole else back
        return layers.Concatenate(name=name)([ahead, back])

    def _drop(self, x: Tensor, name: str) -> Tensor:
        if not self.dropout:
            return x
        noise = (None, 1, None) if self.variational and len(x.shape) == 3 else None
        return layers.Dropout(self.dropout, noise_shape=noise, name=name)(x)
