"""Pooling over the steps of a sequence."""

import keras
from keras import ops

from modelzoo.fields.checks import check_choice
from modelzoo.models.layers.precision import at_least_float32

POOLINGS = ("mean", "max", "mean_max", "attention")


@keras.saving.register_keras_serializable(package="modelzoo")
class StepPooling(keras.layers.Layer):
    """Pools `[batch, length, dim]` to `[batch, dim]` over the steps where the mask is True.

    The mask is bool `[batch, length]`, True for real steps. A sequence without a real step gives
    zeros.

    kind: "mean", "max", "mean_max" (both concatenated, `[batch, 2 * dim]`) or "attention", the mean
        weighted by `softmax(tanh(x @ kernel + bias) @ context)` over the steps (Yang et al., 2016,
        equations 5 to 7).
    """

    def __init__(self, kind: str = "mean", **kwargs):
        super().__init__(**kwargs)
        check_choice(POOLINGS, kind=kind)
        self.kind = kind
        self.supports_masking = True

    def compute_mask(self, inputs, mask=None):
        return None

    def build(self, input_shape):
        if self.kind == "attention":
            dim = input_shape[-1]
            self.kernel = self.add_weight(shape=(dim, dim), name="kernel")
            self.bias = self.add_weight(shape=(dim,), initializer="zeros", name="bias")
            self.context = self.add_weight(shape=(dim, 1), name="context")

    def call(self, inputs, mask=None):
        x = ops.cast(inputs, at_least_float32(self.compute_dtype))
        if mask is None:
            step_mask = ops.ones_like(x[..., :1])
        else:
            step_mask = ops.cast(mask, x.dtype)[..., None]
        masked = (1.0 - step_mask) * -1e9  # Keeps padding from being the maximum.
        pooled = []
        if self.kind in ("max", "mean_max"):
            pooled.append(ops.max(x + masked, axis=1) * ops.max(step_mask, axis=1))
        weights = step_mask
        if self.kind == "attention":
            hidden = ops.tanh(ops.matmul(inputs, self.kernel) + self.bias)
            scores = ops.cast(ops.matmul(hidden, self.context), x.dtype) + masked
            weights *= ops.exp(scores - ops.max(scores, axis=1, keepdims=True))
        # The sum is at least 1, the largest weight, unless there is no real step.
        total = ops.maximum(ops.sum(weights, axis=1), 1.0)
        if self.kind != "max":
            pooled.insert(0, ops.sum(x * weights, axis=1) / total)
        return ops.cast(ops.concatenate(pooled, axis=-1), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[-1] * (1 + (self.kind == "mean_max")))

    def get_config(self):
        return {**super().get_config(), "kind": self.kind}
