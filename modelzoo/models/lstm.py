"""Recurrent networks for tokens, numeric series and the rows of images."""

import dataclasses
from typing import ClassVar, Literal, TypeAlias

import keras
from keras import layers

from modelzoo.fields.checks import (
    check_at_least,
    check_choices,
    check_positive,
    check_rate,
    check_sizes,
)
from modelzoo.fields.errors import FieldError
from modelzoo.fields.input_specs import Inputs, TokenSpec, only_array, only_tokens
from modelzoo.models.layers import recurrent
from modelzoo.models.layers.inputs import NamedInputsModel, keras_inputs
from modelzoo.models.layers.pooling import StepPooling
from modelzoo.models.layers.precision import at_least_float32

Tensor: TypeAlias = keras.KerasTensor


@dataclasses.dataclass(frozen=True)
class LSTM:
    """Layers of long short-term memory (Hochreiter and Schmidhuber, 1997), GRUs or simple RNNs.

    Tokens are embedded, and their padding changes no output. An image is the series of its rows.

    embedding_dim: size of the token embeddings; None for series and images.
    embedding_init_range: embeddings start uniformly distributed between minus this and this.
    cell: "lstm" with a forget gate, whose bias starts at 1; "gru", which applies the reset gate
        after the matrix product, as cuDNN does; "rnn", a plain tanh network.
    units: width of each layer (and of each direction).
    bidirectional: each layer reads from the start and from the end.
    pooling: input of the output layers: "last", the last state (of each direction), or the "mean"
        or the "max" of the last layer's outputs, both ("mean_max"), or their "attention"-weighted
        mean (Yang et al., 2016). With outputs per token, the output layers read each step instead.
    dense: widths of the dense layers before the logits.
    dropout: dropout rate of the embeddings, between the layers, before the output layers and after
        each layer of `dense`.
    variational: drop the same values at all steps of a sequence (Gal and Ghahramani, 2016).
    recurrent_dropout: dropout rate of a layer's last output where the layer reads it; all steps
        drop the same values.
    word_dropout: share of the steps whose whole input is dropped (Iyyer et al., 2015); the
        remaining inputs are scaled up.

    >>> from modelzoo.fields.input_specs import ArraySpec
    >>> inputs = {"series": ArraySpec("series", (12, 3))}
    >>> LSTM(units=(8,)).build(inputs, num_outputs=2).output_shape
    (None, 2)
    """

    input_kinds: ClassVar[tuple[str, ...]] = ("tokens", "series", "image")
    reads_targets: ClassVar[bool] = False

    embedding_dim: int | None = None
    embedding_init_range: float = 0.05
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
        check_choices(self)
        check_at_least(1, embedding_dim=self.embedding_dim)
        check_positive(embedding_init_range=self.embedding_init_range)
        check_sizes(1, units=self.units)
        check_sizes(0, dense=self.dense)
        check_rate(
            dropout=self.dropout,
            recurrent_dropout=self.recurrent_dropout,
            word_dropout=self.word_dropout,
        )

    def build(self, inputs: Inputs, num_outputs: int, per_token: bool = False) -> keras.Model:
        """Builds a Keras model of tokens and their padding mask, of a series or of an image.

        Args:
            inputs: a token input and its mask, or an input of kind "series" or "image", by name.
            num_outputs: number of logits.
            per_token: return logits `[batch, length, num_outputs]`, one per token, step or image
                row, instead of `[batch, num_outputs]`.

        Raises:
            ValueError: if the inputs do not fit, or if there is an embedding without tokens or
                tokens without an embedding.
        """
        tensors = keras_inputs(inputs)
        x, mask = self._read(inputs, tensors)
        if self.word_dropout:
            noise = (None, None, 1)
            x = layers.Dropout(self.word_dropout, noise_shape=noise, name="word_dropout")(x)
        for number, units in enumerate(self.units, 1):
            last = number == len(self.units)
            all_steps = per_token or not last or self.pooling != "last"
            x = self._layer(x, mask, units, all_steps, f"{self.cell}{number}")
            if not last:
                x = self._drop(x, f"{self.cell}{number}_dropout")
        if not per_token and self.pooling != "last":
            x = StepPooling(self.pooling, name="pooling")(x, mask=mask)
        x = self._drop(x, "dropout")
        for number, width in enumerate(self.dense, 1):
            x = layers.Dense(width, activation="relu", name=f"dense{number}")(x)
            x = self._drop(x, f"dense{number}_dropout")
        outer = at_least_float32(keras.config.dtype_policy().compute_dtype)
        outputs = layers.Dense(num_outputs, dtype=outer, name="logits")(x)
        return NamedInputsModel(tensors, outputs, name=self.cell)

    def _read(self, inputs: Inputs, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """Returns the steps `[batch, length, features]`, and the padding mask of tokens."""
        if any(isinstance(spec, TokenSpec) for spec in inputs.values()):
            name, tokens = only_tokens(inputs)
            if self.embedding_dim is None:
                raise FieldError("embedding_dim", "must be a number for tokens, got None")
            limit = self.embedding_init_range
            x = layers.Embedding(
                tokens.vocab_size,
                self.embedding_dim,
                keras.initializers.RandomUniform(-limit, limit),
                name="embedding",
            )(tensors[name])
            return self._drop(x, "embedding_dropout"), tensors[tokens.mask]
        name, spec = only_array(inputs, "series", "image")
        if self.embedding_dim is not None:
            raise FieldError(
                "embedding_dim", f"must be None for inputs without tokens, got {self.embedding_dim}"
            )
        if spec.kind == "series":
            return tensors[name], None
        height, width, channels = spec.sizes
        return layers.Reshape((height, width * channels), name="rows")(tensors[name]), None

    def _layer(
        self, x: Tensor, mask: Tensor | None, units: int, all_steps: bool, name: str
    ) -> Tensor:
        """Returns the outputs of all steps or the last one, with both directions concatenated."""

        def run(name, **kwargs):
            kinds = {"lstm": recurrent.LSTM, "gru": recurrent.GRU, "rnn": recurrent.SimpleRNN}
            kwargs |= {"return_sequences": all_steps, "recurrent_dropout": self.recurrent_dropout}
            kwargs["halves"] = not self.bidirectional
            return kinds[self.cell](units, name=name, **kwargs)(x, mask=mask)

        if not self.bidirectional:
            return run(name)
        forward, backward = run(f"{name}_forward"), run(f"{name}_backward", go_backwards=True)
        backward = keras.ops.flip(backward, axis=1) if all_steps else backward
        return layers.Concatenate(name=name)([forward, backward])

    def _drop(self, x: Tensor, name: str) -> Tensor:
        if not self.dropout:
            return x
        noise = (None, 1, None) if self.variational and len(x.shape) == 3 else None
        return layers.Dropout(self.dropout, noise_shape=noise, name=name)(x)
