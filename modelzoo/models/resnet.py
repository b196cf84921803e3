"""Residual networks: the CIFAR family."""

import dataclasses
from collections.abc import Callable
from typing import Literal

import keras
from keras import layers, ops

from modelzoo.models.layers.batch_norm import BatchNorm
from modelzoo.models.layers.precision import at_least_float32

Tensor = keras.KerasTensor


@dataclasses.dataclass(frozen=True)
class ResNet:
    """The residual networks for small images of He et al. (2015), section 4.2.

    A 3x3 convolution, three stages of basic blocks of which the second and the third halve the
    image and double the width, the mean over the image, and a dense layer. Depths 20, 32, 44, 56
    and 110 are the paper's; 8 and 14 do for smaller images.

    depth: number of weighted layers on the main path, `6 n + 2` for `n` blocks in a stage.
    width: channels of the first stage.
    shortcut: where a block changes shape, "pad" subsamples and adds channels of zeros (the paper's
        option A), "projection" is a 1x1 convolution with its own normalisation (option B).
    momentum: share of the old value that the moving statistics keep in a step.
    epsilon: added to the variance in batch normalisation.
    synchronized: take batch statistics over all replicas, not over each its own.
    zero_gamma: start each block as the identity (Goyal et al. 2017, section 5.1).
    """

    depth: int = 20
    width: int = 16
    shortcut: Literal["pad", "projection"] = "pad"
    momentum: float = 0.9
    epsilon: float = 1e-5
    synchronized: bool = True
    zero_gamma: bool = False

    def __post_init__(self):
        if self.depth < 8 or self.depth % 6 != 2:
            raise ValueError(f"depth must be 6 n + 2 (8, 14, 20, 32, ...), got {self.depth}")
        if self.width < 1:
            raise ValueError(f"width must be at least 1, got {self.width}")
        if self.shortcut not in ("pad", "projection"):
            raise ValueError(f'shortcut must be "pad" or "projection", got {self.shortcut!r}')
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1, got {self.momentum}")
        if self.epsilon <= 0:
            raise ValueError(f"epsilon must be positive, got {self.epsilon}")

    def build(self, input_spec: keras.InputSpec, num_outputs: int) -> keras.Model:
        """Images `[batch, height, width, channels]` to logits `[batch, num_outputs]`."""

        def norm(x: Tensor, name: str, zero_gamma: bool = False) -> Tensor:
            return BatchNorm(
                self.momentum, self.epsilon, self.synchronized, zero_gamma, name=f"{name}_norm"
            )(x)

        outer = at_least_float32(keras.config.dtype_policy().compute_dtype)
        inputs = keras.Input(input_spec.shape[1:], dtype=outer, name="image")
        x = norm(convolution(inputs, self.width, 3, 1, "stem"), "stem")
        x = layers.ReLU(name="stem_relu")(x)
        for stage in range(3):
            for index in range((self.depth - 2) // 6):
                x = basic_block(
                    x,
                    filters=self.width * 2**stage,
                    strides=2 if stage > 0 and index == 0 else 1,
                    shortcut=self.shortcut,
                    zero_gamma=self.zero_gamma,
                    norm=norm,
                    name=f"stage{stage + 1}_block{index + 1}",
                )
        x = layers.GlobalAveragePooling2D(name="pool")(x)
        outputs = layers.Dense(num_outputs, dtype=outer, name="logits")(x)
        return keras.Model(inputs, outputs, name=f"resnet{self.depth}")


def basic_block(
    x: Tensor,
    filters: int,
    strides: int,
    shortcut: str,
    zero_gamma: bool,
    norm: Callable[..., Tensor],
    name: str,
) -> Tensor:
    """Two 3x3 convolutions around a shortcut: `relu(x + f(x))` (He et al., 2015, figure 2).

    `[batch, h, w, c]` becomes `[batch, ceil(h / strides), ceil(w / strides), filters]`.
    `norm(x, name, zero_gamma=False)` normalises.
    """
    y = norm(convolution(x, filters, 3, strides, f"{name}_1"), f"{name}_1")
    y = layers.ReLU(name=f"{name}_1_relu")(y)
    y = norm(convolution(y, filters, 3, 1, f"{name}_2"), f"{name}_2", zero_gamma=zero_gamma)
    if strides > 1 or x.shape[-1] != filters:
        if shortcut == "pad":
            x = x[:, ::strides, ::strides, :]
            x = ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, filters - x.shape[-1])))
        else:
            x = convolution(x, filters, 1, strides, f"{name}_shortcut")
            x = norm(x, f"{name}_shortcut")
    return layers.ReLU(name=f"{name}_relu")(layers.Add(name=f"{name}_add")([x, y]))


def convolution(x: Tensor, filters: int, size: int, strides: int, name: str) -> Tensor:
    """A convolution without bias that pads the image alike on all sides.

    With strides, "same" would pad an even image on the far sides only, and the outputs would sit
    beside the pixels that a subsampling shortcut takes.
    """
    if strides > 1 and size > 1:
        x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
    return layers.Conv2D(
        filters,
        size,
        strides,
        padding="valid" if strides > 1 else "same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
