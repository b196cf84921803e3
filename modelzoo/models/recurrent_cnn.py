"""Recurrent convolutional network: layers that look again at their own output."""

import dataclasses
from typing import Literal

import keras
from keras import layers

from modelzoo.models.layers.batch_norm import BatchNorm
from modelzoo.models.layers.local_response_norm import LocalResponseNorm
from modelzoo.models.layers.precision import at_least_float32

Tensor = keras.KerasTensor


@dataclasses.dataclass(frozen=True)
class RecurrentCNN:
    """The recurrent convolutional network, RCNN, of Liang and Hu (2015).

    A 5x5 convolution, normalised too, then recurrent convolutional layers, the largest value of
    each channel over the image, and a dense layer. In a recurrent layer the state sees the input
    and itself,
    `x(t) = norm(relu(input * w + x(t - 1) * v + b))` from `x(0) = norm(relu(input * w + b))` on,
    with 3x3 kernels `w` and `v` that are the same at every `t`.

    filters: channels of every layer; the paper's RCNN-96, RCNN-128 and RCNN-160 have so many.
    recurrent_layers: how many recurrent layers there are.
    pool_after: numbers of the layers that 3x3 max pooling follows, which halves the image; 0 is the
        first convolution.
    steps: how often a recurrent layer sees its own state.
    norm: "local_response" is the paper's, over `filters // 8 + 1` neighbouring channels; "batch"
        normalises before the rectifier, at each `t` with gain, offset and statistics of its own.
    synchronized: take batch statistics over all replicas, not over each its own.
    dropout: share of the values dropped after each recurrent layer, and its pooling, but the last.
    """

    filters: int = 96
    recurrent_layers: int = 4
    pool_after: tuple[int, ...] = (0, 2)
    steps: int = 3
    norm: Literal["local_response", "batch"] = "local_response"
    synchronized: bool = True
    dropout: float = 0.5

    takes = ("image",)

    def __post_init__(self):
        for name in ("filters", "recurrent_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.steps < 0:
            raise ValueError(f"steps must be at least 0, got {self.steps}")
        if any(not 0 <= number <= self.recurrent_layers for number in self.pool_after):
            raise ValueError(
                f"pool_after must be numbers from 0 to {self.recurrent_layers}, "
                f"got {self.pool_after}"
            )
        if self.norm not in ("local_response", "batch"):
            raise ValueError(f'norm must be "local_response" or "batch", got {self.norm!r}')
        if not self.synchronized and self.norm != "batch":
            raise ValueError('synchronized must be true without norm "batch", got False')
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout}")

    def build(self, input_spec: keras.InputSpec, num_outputs: int) -> keras.Model:
        """Images `[batch, height, width, channels]` to logits `[batch, num_outputs]`."""
        outer = at_least_float32(keras.config.dtype_policy().compute_dtype)
        inputs = keras.Input(input_spec.shape[1:], dtype=outer, name="image")
        x = self._state(self._convolution("conv", 5)(inputs), "conv")
        for number in range(self.recurrent_layers + 1):
            if number > 0:
                x = self._recurrent(x, f"recurrent{number}")
            if number in self.pool_after:
                x = layers.MaxPooling2D(3, 2, padding="same", name=f"pool{number}")(x)
            if self.dropout and 0 < number < self.recurrent_layers:
                x = layers.Dropout(self.dropout, name=f"recurrent{number}_dropout")(x)
        x = layers.GlobalMaxPooling2D(name="max")(x)
        outputs = layers.Dense(num_outputs, dtype=outer, name="logits")(x)
        return keras.Model(inputs, outputs, name=f"recurrent_cnn{self.filters}")

    def _recurrent(self, x: Tensor, name: str) -> Tensor:
        """`[batch, height, width, channels]` to `[batch, height, width, filters]`."""
        seen = self._convolution(f"{name}_input", 3)(x)
        look = self._convolution(f"{name}_state", 3, first=False)
        x = self._state(seen, f"{name}_0")
        for step in range(1, self.steps + 1):
            x = layers.Add(name=f"{name}_{step}_add")([seen, look(x)])
            x = self._state(x, f"{name}_{step}")
        return x

    def _convolution(self, name: str, size: int, first: bool = True) -> layers.Conv2D:
        return layers.Conv2D(
            self.filters,
            size,
            padding="same",
            # One bias a layer; the offset of batch normalisation is another.
            use_bias=first and self.norm != "batch",
            # The sum of two convolutions keeps the variance that He et al. give to one.
            kernel_initializer="he_normal" if name == "conv" else "lecun_normal",
            name=name,
        )

    def _state(self, x: Tensor, name: str) -> Tensor:
        """The state that a layer's sum leads to."""
        if self.norm == "batch":
            x = BatchNorm(synchronized=self.synchronized, name=f"{name}_norm")(x)
        x = layers.ReLU(name=f"{name}_relu")(x)
        if self.norm == "local_response":
            x = LocalResponseNorm(self.filters // 8 + 1, name=f"{name}_norm")(x)
        return x
