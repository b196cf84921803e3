"""Plain convolutional networks for images."""

import dataclasses
from typing import ClassVar, Literal

import keras
from keras import layers

from modelzoo.fields.checks import check_at_least, check_choices, check_rate, check_sizes
from modelzoo.fields.errors import FieldError
from modelzoo.fields.input_specs import Inputs, only_array
from modelzoo.models.layers.batch_norm import BatchNorm
from modelzoo.models.layers.inputs import NamedInputsModel, keras_inputs
from modelzoo.models.layers.precision import at_least_float32


@dataclasses.dataclass(frozen=True)
class CNN:
    """Convolutions with ReLU and 2x2 pooling, then dense layers (after LeCun et al., 1998).

    filters: channels of the convolutions of each group; a pooling follows each group.
    convolutions: convolutions in each group.
    kernel_size: height and width of the convolutions.
    padding: "valid" (each convolution trims the image's border) or "same".
    batch_norm: normalize after each convolution, which then has no bias.
    synchronized: compute batch statistics over all replicas, not per replica.
    pooling: "max" or "average"; XLA cannot run the gradient of "max" deterministically.
    pool_last: whether a pooling follows the last group too.
    end: what follows the last group: "flatten" or "mean", the mean of each channel.
    dense: widths of the dense layers between the convolutions and the logits.
    conv_dropout: dropout rate after each group and its pooling.
    dropout: dropout rate after each dense layer of `dense`.
    l1: factor of the L1 penalty on all kernels, which is added to the loss.
    l2: factor of the L2 penalty on all kernels, which is added to the loss.

    >>> from modelzoo.fields.input_specs import ArraySpec
    >>> inputs = {"image": ArraySpec("image", (8, 8, 1))}
    >>> CNN(filters=(4,)).build(inputs, num_outputs=10).output_shape
    (None, 10)
    """

    input_kinds: ClassVar[tuple[str, ...]] = ("image",)
    reads_targets: ClassVar[bool] = False

    filters: tuple[int, ...] = (32, 64)
    kernel_size: int = 3
    padding: Literal["valid", "same"] = "valid"
    pooling: Literal["max", "average"] = "max"
    pool_last: bool = True
    dense: tuple[int, ...] = (128,)
    conv_dropout: float = 0.0
    dropout: float = 0.0
    l1: float = 0.0
    l2: float = 0.0
    convolutions: int = 1
    batch_norm: bool = False
    synchronized: bool = True
    end: Literal["flatten", "mean"] = "flatten"

    def __post_init__(self):
        check_choices(self)
        check_sizes(1, filters=self.filters)
        check_sizes(0, dense=self.dense)
        check_at_least(1, convolutions=self.convolutions, kernel_size=self.kernel_size)
        check_at_least(0, l1=self.l1, l2=self.l2)
        check_rate(conv_dropout=self.conv_dropout, dropout=self.dropout)
        if self.dropout and not self.dense:
            raise FieldError("dropout", f"must be 0.0 without dense layers, got {self.dropout}")
        if not self.synchronized and not self.batch_norm:
            raise FieldError("synchronized", "must be true without batch_norm, got False")

    def build(self, inputs: Inputs, num_outputs: int) -> keras.Model:
        """Builds a Keras model of one image; the logits are `[batch, num_outputs]`.

        The penalties of `l1` and `l2` are in the model's `losses`.

        Args:
            inputs: an input of kind "image", by name.
            num_outputs: number of logits.

        Raises:
            ValueError: if the inputs do not fit or the images are too small.
        """
        name, spec = only_array(inputs, "image")
        self._check_size(*spec.sizes[:2])
        pooling = {"max": layers.MaxPooling2D, "average": layers.AveragePooling2D}[self.pooling]
        penalty = keras.regularizers.L1L2(self.l1, self.l2) if self.l1 or self.l2 else None
        outer = at_least_float32(keras.config.dtype_policy().compute_dtype)
        tensors = keras_inputs(inputs)
        x = tensors[name]
        for number, filters in enumerate(self.filters, 1):
            for index in range(1, self.convolutions + 1):
                label = f"conv{number}" if self.convolutions == 1 else f"conv{number}_{index}"
                x = layers.Conv2D(
                    filters,
                    self.kernel_size,
                    padding=self.padding,
                    activation=None if self.batch_norm else "relu",
                    use_bias=not self.batch_norm,
                    kernel_initializer="he_normal",
                    kernel_regularizer=penalty,
                    name=label,
                )(x)
                if self.batch_norm:
                    x = BatchNorm(synchronized=self.synchronized, name=f"{label}_norm")(x)
                    x = layers.ReLU(name=f"{label}_relu")(x)
            if self.pool_last or number < len(self.filters):
                x = pooling(2, name=f"pool{number}")(x)
            if self.conv_dropout:
                x = layers.Dropout(self.conv_dropout, name=f"conv{number}_dropout")(x)
        if self.end == "mean":
            x = layers.GlobalAveragePooling2D(name="mean")(x)
        else:
            x = layers.Flatten(name="flatten")(x)
        for number, width in enumerate(self.dense, 1):
            x = layers.Dense(
                width,
                activation="relu",
                kernel_initializer="he_normal",
                kernel_regularizer=penalty,
                name=f"dense{number}",
            )(x)
            if self.dropout:
                x = layers.Dropout(self.dropout, name=f"dense{number}_dropout")(x)
        outputs = layers.Dense(num_outputs, kernel_regularizer=penalty, dtype=outer, name="logits")(
            x
        )
        return NamedInputsModel(tensors, outputs, name="cnn")

    def _check_size(self, height: int, width: int) -> None:
        size = min(height, width)
        for number in range(1, len(self.filters) + 1):
            size -= self.convolutions * (self.kernel_size - 1) if self.padding == "valid" else 0
            size //= 2 if self.pool_last or number < len(self.filters) else 1
            if size < 1:
                raise FieldError(
                    "filters",
                    f'must be fewer, or padding "same", for images of {height}x{width}: '
                    f"no pixel is left after convolution {number * self.convolutions}, "
                    f"got {self.filters}",
                )
