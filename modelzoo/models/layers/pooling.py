"""One vector of all steps of a sequence."""

import keras
from keras import ops

from modelzoo.models.layers.precision import at_least_float32


@keras.saving.register_keras_serializable(package="modelzoo")
class StepPooling(keras.layers.Layer):
    """`[batch, length, dim]` to `[batch, dim]`, of the steps where the mask is True.

    The mask is `[batch, length]`; a sequence without any step gives zeros. `kind` is "mean", "max",
    "mean_max", both side by side `[batch, 2 * dim]`, or "attention": the mean weighted by
    `softmax(tanh(x @ kernel + bias) @ context)` over the steps (Yang et al., 2016, equations 5 to
    7).
    """

    def __init__(self, kind: str = "mean", **kwargs):
        super().__init__(**kwargs)
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
        real = ops.ones_like(x[..., :1]) if mask is None else ops.cast(mask, x.dtype)[..., None]
        none = (1.0 - real) * -1e9  # Added to what is not to be the largest.
        pooled = []
        if self.kind in ("max", "mean_max"):
            pooled.append(ops.max(x + none, axis=1) * ops.max(real, axis=1))
        weights = real
        if self.kind == "attention":
            hidden = ops.tanh(ops.matmul(inputs, self.kernel) + self.bias)
            scores = ops.cast(ops.matmul(hidden, self.context), x.dtype) + none
            weights *= ops.exp(scores - ops.max(scores, axis=1, keepdims=True))
        # The largest weight is 1, unless there is none.
        total = ops.maximum(ops.sum(weights, axis=1), 1.0)
        if self.kind != "max":
            pooled.insert(0, ops.sum(x * weights, axis=1) / total)
        return ops.cast(ops.concatenate(pooled, axis=-1), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[-1] * (1 + (self.kind == "mean_max")))

    def get_config(self):
        return {**super().get_config(), "kind": self.kind}
