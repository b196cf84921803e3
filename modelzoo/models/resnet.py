"""Residual networks for CIFAR and ImageNet, with pre-activation and Wide ResNets."""

import dataclasses
from typing import ClassVar, Literal, TypeAlias

import keras
from keras import layers, ops

from modelzoo.fields.checks import check_at_least, check_choices, check_positive, check_rate
from modelzoo.fields.errors import FieldError
from modelzoo.fields.input_specs import Inputs, only_array
from modelzoo.models.layers.batch_norm import BatchNorm
from modelzoo.models.layers.inputs import NamedInputsModel, keras_inputs
from modelzoo.models.layers.precision import at_least_float32

Tensor: TypeAlias = keras.KerasTensor

# Blocks of each stage (He et al., 2015, table 1), by depth.
IMAGENET_BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


@dataclasses.dataclass(frozen=True)
class ResNet:
    """The residual networks of He et al. (2015) and their later variants.

    The network is a convolution, stages of blocks `x + f(x)`, global average pooling and a dense
    layer. Each stage but the first halves the image and doubles the width.

    ResNet50 of keras.applications is `family="imagenet", depth=50, downsample="1x1",
    conv_bias=True, epsilon=1.001e-5`; ResNet50V2 has `preactivation=True, downsample="last"`
    instead.

    family: "cifar" for small images (section 4.2 of the paper): a 3x3 convolution, then three
        stages of blocks of two 3x3 convolutions. "imagenet" (section 4.1): a 7x7 convolution and
        max pooling, each halving the image, then four stages. From depth 50 on, blocks are
        bottlenecks: a 3x3 convolution between two 1x1 convolutions, the last four times as wide.
    depth: number of weighted layers on the main path. "cifar": `6 n + 2` for `n` blocks in a stage,
        20, 32, 44, 56 and 110 in the paper; with preactivation also `6 n + 4`, as Wide ResNets
        count. "imagenet": 18, 34, 50, 101 or 152.
    width: channels of the first stage; None is 16 for "cifar" and 64 for "imagenet".
    widen: factor of the width of the 3x3 convolutions (Zagoruyko and Komodakis, 2016).
    preactivation: normalize and rectify before each convolution, not after it (He et al., 2016).
    downsample: which convolution of a bottleneck halves the image: the "3x3" of a stage's first
        block (known as v1.5), its first "1x1" (the paper's, v1), or the 3x3 of the "last" block of
        the stage before (Keras's V2). In blocks without bottleneck, the first 3x3 of the same
        block halves the image.
    shortcut: where a block changes the width, "pad" subsamples and adds channels of zeros (the
        paper's option A), "projection" is a 1x1 convolution (option B); None is "pad" for "cifar"
        without preactivation, else "projection".
    conv_bias: add biases to the convolutions, as Keras does: to all, or with preactivation to those
        that no normalization follows.
    dropout: dropout rate before the dense layer.
    block_dropout: dropout rate before the last convolution of each block.
    stochastic_depth: probability that an example skips the last block in training; it rises
        linearly over the blocks (Huang et al., 2016). A block kept with probability `p` is scaled
        by `1 / p` in training; the paper scales it by `p` in evaluation instead.
    momentum: share of the old value that the moving statistics keep in each step.
    epsilon: added to the variance in batch normalization.
    synchronized: compute batch statistics over all replicas, not per replica.
    zero_gamma: start each block as the identity (Goyal et al. 2017, section 5.1); not supported
        with preactivation, where the rectifier after a zero gain has no gradient.

    >>> from modelzoo.fields.input_specs import ArraySpec
    >>> inputs = {"image": ArraySpec("image", (32, 32, 3))}
    >>> ResNet(depth=20).build(inputs, num_outputs=10).output_shape
    (None, 10)
    """

    input_kinds: ClassVar[tuple[str, ...]] = ("image",)
    reads_targets: ClassVar[bool] = False

    depth: int = 20
    width: int | None = None
    shortcut: Literal["pad", "projection"] | None = None
    momentum: float = 0.9
    epsilon: float = 1e-5
    synchronized: bool = True
    zero_gamma: bool = False
    family: Literal["cifar", "imagenet"] = "cifar"
    widen: int = 1
    preactivation: bool = False
    downsample: Literal["3x3", "1x1", "last"] = "3x3"
    conv_bias: bool = False
    dropout: float = 0.0
    block_dropout: float = 0.0
    stochastic_depth: float = 0.0

    def __post_init__(self):
        check_choices(self)
        self._check_depth()
        check_at_least(1, width=self.width, widen=self.widen)
        check_rate(
            momentum=self.momentum,
            dropout=self.dropout,
            block_dropout=self.block_dropout,
            stochastic_depth=self.stochastic_depth,
        )
        check_positive(epsilon=self.epsilon)
        if self.downsample == "1x1" and not self._bottleneck:
            raise FieldError("downsample", 'must be "3x3" or "last" without bottlenecks, got "1x1"')
        if self.zero_gamma and self.preactivation:
            raise FieldError("zero_gamma", "must be false with preactivation, got True")

    def _check_depth(self) -> None:
        if self.family == "imagenet":
            if self.depth not in IMAGENET_BLOCKS:
                raise FieldError(
                    "depth",
                    f'must be 18, 34, 50, 101 or 152 in family "imagenet", got {self.depth}',
                )
        elif self.depth < 8 or self.depth % 6 not in ((2, 4) if self.preactivation else (2,)):
            wide = ", or 6 n + 4 (10, 16, 22, 28, ...)" if self.preactivation else ""
            hint = ' of family "cifar"' if self.depth in IMAGENET_BLOCKS else ""
            raise FieldError(
                "depth", f"must be 6 n + 2 (8, 14, 20, 32, ...){wide}{hint}, got {self.depth}"
            )

    @property
    def _bottleneck(self) -> bool:
        return self.family == "imagenet" and self.depth >= 50

    def build(self, inputs: Inputs, num_outputs: int) -> keras.Model:
        """Builds a Keras model of one image; the logits are `[batch, num_outputs]`.

        Args:
            inputs: an input of kind "image", by name.
            num_outputs: number of logits.

        Raises:
            ValueError: if the inputs do not fit.
        """
        name, _ = only_array(inputs, "image")
        imagenet = self.family == "imagenet"
        outer = at_least_float32(keras.config.dtype_policy().compute_dtype)
        tensors = keras_inputs(inputs)
        width = self.width or (64 if imagenet else 16)
        size, strides = (7, 2) if imagenet else (3, 1)
        x = convolution(tensors[name], width, size, strides, "stem", self.conv_bias)
        if not self.preactivation:
            x = layers.ReLU(name="stem_relu")(self._norm(x, "stem"))
        if imagenet:
            x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
            x = layers.MaxPooling2D(3, 2, name="stem_pool")(x)

        stages = IMAGENET_BLOCKS[self.depth] if imagenet else ((self.depth - 2) // 6,) * 3
        number = 0
        for stage, blocks in enumerate(stages):
            for index in range(blocks):
                number += 1
                if self.downsample == "last":
                    halves = index == blocks - 1 and stage < len(stages) - 1
                else:
                    halves = index == 0 and stage > 0
                x = self._block(
                    x,
                    width=width * 2**stage,
                    strides=2 if halves else 1,
                    skipped=self.stochastic_depth * number / sum(stages),
                    name=f"stage{stage + 1}_block{index + 1}",
                )
        if self.preactivation:
            x = layers.ReLU(name="end_relu")(self._norm(x, "end"))
        x = layers.GlobalAveragePooling2D(name="pool")(x)
        if self.dropout:
            x = layers.Dropout(self.dropout, name="dropout")(x)
        outputs = layers.Dense(num_outputs, dtype=outer, name="logits")(x)
        return NamedInputsModel(tensors, outputs, name=f"resnet{self.depth}")

    def _block(self, x: Tensor, width: int, strides: int, skipped: float, name: str) -> Tensor:
        """Applies a block `x + f(x)`; examples skip `f` with probability `skipped`.

        Maps `[batch, h, w, c]` to `[batch, ceil(h / strides), ceil(w / strides), outer]`; `outer`
        is `widen * width`, or `4 * width` for a bottleneck.
        """
        inner = self.widen * width
        if self._bottleneck:
            outer = 4 * width
            convolutions = [(inner, 1), (inner, 3), (outer, 1)]
        else:
            outer = inner
            convolutions = [(inner, 3), (outer, 3)]
        striding = 2 if self._bottleneck and self.downsample != "1x1" else 1
        y = x
        for index, (filters, size) in enumerate(convolutions, 1):
            label, last = f"{name}_{index}", index == len(convolutions)
            if self.preactivation:
                y = layers.ReLU(name=f"{label}_relu")(self._norm(y, label))
                if index == 1 and x.shape[-1] != outer:
                    x = y  # A shortcut that changes the width reads the activations too.
            if last and self.block_dropout:
                y = layers.Dropout(self.block_dropout, name=f"{name}_dropout")(y)
            bias = self.conv_bias and (last or not self.preactivation)
            y = convolution(y, filters, size, strides if index == striding else 1, label, bias)
            if not self.preactivation:
                y = self._norm(y, label, zero_gamma=last and self.zero_gamma)
                y = y if last else layers.ReLU(name=f"{label}_relu")(y)
        if skipped:
            drop = layers.Dropout(skipped, noise_shape=(None, 1, 1, 1), name=f"{name}_skip")
            y = drop(y)
        x = layers.Add(name=f"{name}_add")([self._shortcut(x, outer, strides, name), y])
        return x if self.preactivation else layers.ReLU(name=f"{name}_relu")(x)

    def _shortcut(self, x: Tensor, outer: int, strides: int, name: str) -> Tensor:
        """Returns the shortcut: `x` with `outer` channels and every `strides`-th row and column."""
        plain = self.family == "cifar" and not self.preactivation
        kind = self.shortcut or ("pad" if plain else "projection")
        if x.shape[-1] != outer and kind == "projection":
            x = convolution(x, outer, 1, strides, f"{name}_shortcut", self.conv_bias)
            return x if self.preactivation else self._norm(x, f"{name}_shortcut")
        if strides > 1:
            x = x[:, ::strides, ::strides, :]
        if x.shape[-1] != outer:
            x = ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, outer - x.shape[-1])))
        return x

    def _norm(self, x: Tensor, name: str, zero_gamma: bool = False) -> Tensor:
        return BatchNorm(
            self.momentum, self.epsilon, self.synchronized, zero_gamma, name=f"{name}_norm"
        )(x)


def convolution(
    x: Tensor, filters: int, size: int, strides: int, name: str, use_bias: bool = False
) -> Tensor:
    """Applies a convolution that pads the image equally on all sides.

    With strides, "same" would pad an even image at the bottom and right only, and the outputs would
    be off the pixels that a subsampling shortcut selects.
    """
    if strides > 1 and size > 1:
        x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
    return layers.Conv2D(
        filters,
        size,
        strides,
        padding="valid" if strides > 1 else "same",
        use_bias=use_bias,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
