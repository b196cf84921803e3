"""Recurrent convolutional networks for images."""

import dataclasses
from typing import ClassVar, Literal, TypeAlias

import keras
from keras import layers

from modelzoo.fields.checks import check_at_least, check_choices, check_rate
from modelzoo.fields.errors import FieldError
from modelzoo.fields.input_specs import Inputs, only_array
from modelzoo.models.layers.batch_norm import BatchNorm
from modelzoo.models.layers.inputs import NamedInputsModel, keras_inputs
from modelzoo.models.layers.local_response_norm import LocalResponseNorm
from modelzoo.models.layers.precision import at_least_float32

Tensor: TypeAlias = keras.KerasTensor


@dataclasses.dataclass(frozen=True)
class RecurrentCNN:
    """The recurrent convolutional network, RCNN, of Liang and Hu (2015).

    The network is a normalized 5x5 convolution, recurrent convolutional layers, global max pooling
    and a dense layer. The state of a recurrent layer depends on the input and on itself:
    `x(t) = norm(relu(input * w + x(t - 1) * v + b))`, starting from
    `x(0) = norm(relu(input * w + b))`. The 3x3 kernels `w` and `v` are the same for every `t`.

    filters: channels of every layer: 96, 128 and 160 in the paper's RCNN-96, -128 and -160.
    recurrent_layers: number of recurrent layers.
    pool_after: layers that are followed by 3x3 max pooling, which halves the image; 0 is the first
        convolution.
    steps: how often a recurrent layer reads its own state.
    norm: "local_response" is the paper's, over `filters // 8 + 1` neighbouring channels; "batch"
        normalizes before the rectifier, with its own gain, offset and statistics for each `t`.
    synchronized: compute batch statistics over all replicas, not per replica.
    dropout: dropout rate after each recurrent layer (and its pooling) except the last.

    >>> from modelzoo.fields.input_specs import ArraySpec
    >>> inputs = {"image": ArraySpec("image", (8, 8, 1))}
    >>> RecurrentCNN(filters=8).build(inputs, num_outputs=10).output_shape
    (None, 10)
    """

    input_kinds: ClassVar[tuple[str, ...]] = ("image",)
    reads_targets: ClassVar[bool] = False

    filters: int = 96
    recurrent_layers: int = 4
    pool_after: tuple[int, ...] = (0, 2)
    steps: int = 3
    norm: Literal["local_response", "batch"] = "local_response"
    synchronized: bool = True
    dropout: float = 0.5

    def __post_init__(self):
        check_choices(self)
        check_at_least(1, filters=self.filters, recurrent_layers=self.recurrent_layers)
        check_at_least(0, steps=self.steps)
        check_rate(dropout=self.dropout)
        if any(not 0 <= number <= self.recurrent_layers for number in self.pool_after):
            raise FieldError(
                "pool_after",
                f"must be numbers from 0 to {self.recurrent_layers}, got {self.pool_after}",
            )
        if not self.synchronized and self.norm != "batch":
            raise FieldError("synchronized", 'must be true without norm "batch", got False')

    def build(self, inputs: Inputs, num_outputs: int) -> keras.Model:
        """Builds a Keras model of one image; the logits are `[batch, num_outputs]`.

        Args:
            inputs: an input of kind "image", by name.
            num_outputs: number of logits.

        Raises:
            ValueError: if the inputs do not fit.
        """
        name, _ = only_array(inputs, "image")
        outer = at_least_float32(keras.config.dtype_policy().compute_dtype)
        tensors = keras_inputs(inputs)
        x = self._state(self._convolution("conv", 5)(tensors[name]), "conv")
        for number in range(self.recurrent_layers + 1):
            if number > 0:
                x = self._recurrent(x, f"recurrent{number}")
            if number in self.pool_after:
                x = layers.MaxPooling2D(3, 2, padding="same", name=f"pool{number}")(x)
            if self.dropout and 0 < number < self.recurrent_layers:
                x = layers.Dropout(self.dropout, name=f"recurrent{number}_dropout")(x)
        x = layers.GlobalMaxPooling2D(name="max")(x)
        outputs = layers.Dense(num_outputs, dtype=outer, name="logits")(x)
        return NamedInputsModel(tensors, outputs, name=f"recurrent_cnn{self.filters}")

    def _recurrent(self, x: Tensor, name: str) -> Tensor:
        """`[batch, height, width, channels]` to `[batch, height, width, filters]`."""
        from_input = self._convolution(f"{name}_input", 3)(x)
        convolution = self._convolution(f"{name}_state", 3, first=False)
        x = self._state(from_input, f"{name}_0")
        for step in range(1, self.steps + 1):
            x = layers.Add(name=f"{name}_{step}_add")([from_input, convolution(x)])
            x = self._state(x, f"{name}_{step}")
        return x

    def _convolution(self, name: str, size: int, first: bool = True) -> layers.Conv2D:
        return layers.Conv2D(
            self.filters,
            size,
            padding="same",
            # A layer needs one bias; the offset of batch normalization is one.
            use_bias=first and self.norm != "batch",
            # A sum of two convolutions has the variance of one with He initialization.
            kernel_initializer="he_normal" if name == "conv" else "lecun_normal",
            name=name,
        )

    def _state(self, x: Tensor, name: str) -> Tensor:
        """Applies the rectifier and the normalization of a state."""
        if self.norm == "batch":
            x = BatchNorm(synchronized=self.synchronized, name=f"{name}_norm")(x)
        x = layers.ReLU(name=f"{name}_relu")(x)
        if self.norm == "local_response":
            x = LocalResponseNorm(self.filters // 8 + 1, name=f"{name}_norm")(x)
        return x
