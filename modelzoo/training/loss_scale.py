"""Dynamic loss scaling, which keeps small float16 gradients from underflowing.

The loss is multiplied by a scale before the backward pass, and the reduced gradient is divided by
it (Micikevicius et al. 2018, section 3.2). An update that is not finite is discarded: the step
counter and the data continue, and the scale halves. After a number of consecutive finite updates,
the scale doubles. It is a power of two, which causes no rounding: without overflow and underflow,
the update does not depend on it. A sum over fewer examples overflows less often, so the discarded
steps may depend on the number of replicas and micro-batches.
"""

import keras
import tensorflow as tf

from modelzoo.training.config import TrainConfig

INITIAL, GROWTH = 2.0**15, 2000
LEAST, MOST = 1.0, 2.0**24


class LossScale:
    """The variables of the loss scale: the scale, and the finite updates since its last change.

    Build it inside `strategy.scope()`.

    initial: the first scale.
    growth: number of consecutive finite updates after which the scale doubles.
    """

    def __init__(self, initial: float, growth: int):
        self.growth = growth
        self.variables = [
            keras.Variable(initial, dtype="float32", trainable=False, name="scale"),
            keras.Variable(0, dtype="int64", trainable=False, name="good_steps"),
        ]

    @classmethod
    def from_config(cls, settings: TrainConfig) -> "LossScale | None":
        """Returns the loss scale of float16; None for other precisions."""
        if settings.precision != "float16":
            return None
        return cls(settings.loss_scale or INITIAL, settings.loss_scale_growth or GROWTH)

    def next_values(
        self, scale: tf.Tensor, good_steps: tf.Tensor, ok: tf.Tensor
    ) -> list[tf.Tensor]:
        """Returns the values of `variables` after an update that was finite (`ok`) or discarded."""
        good_steps = tf.where(ok, good_steps + 1, 0)
        grown = good_steps >= self.growth
        bigger = tf.where(grown, tf.minimum(2 * scale, MOST), scale)
        scale = tf.where(ok, bigger, tf.maximum(scale / 2, LEAST))
        return [scale, tf.where(grown, tf.zeros_like(good_steps), good_steps)]
