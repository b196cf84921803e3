"""The update rule of Schedule-Free AdamW, the same under all versions of Keras."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras
from keras import ops

if TYPE_CHECKING:
    from modelzoo.optimizers.optimizer import ScheduleFreeAdamW


class ScheduleFree(keras.optimizers.Optimizer):
    """Adam's steps on a sequence z, whose mean is x; the weights are y between both.

    `z -= rate g / sqrt(v)`, `x += (z - x) / t`, `y = (1 - beta_1) z + beta_1 x` at step t (Defazio
    et al. 2024, equations 3 to 5). Not Keras 3.15's numbers: that finds x by the z after its step.
    """

    def __init__(self, config: "ScheduleFreeAdamW"):
        super().__init__(float(config.learning_rate), name="schedulefreeadamw")
        self.config = config

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Makes z and the mean square for each variable."""
        super().build(variables)
        self._momentums = self.add_optimizer_variables(variables, "momentum")
        self._velocities = self.add_optimizer_variables(variables, "velocity")
        self.restart()

    def restart(self) -> None:
        """Begins z at the weights."""
        for z, variable in zip(self._momentums, self._trainable_variables, strict=True):
            z.assign(variable.value)

    def update_step(self, gradient, variable, learning_rate) -> None:
        """Updates one variable and its slots."""
        index = self._get_variable_index(variable)
        z, velocity = self._momentums[index], self._velocities[index]
        beta_1, beta_2 = self.config.beta_1, self.config.beta_2
        step = ops.cast(self.iterations + 1, variable.dtype)
        x = (variable - (1 - beta_1) * z) / beta_1
        self.assign_add(velocity, (ops.square(gradient) - velocity) * (1 - beta_2))
        debiased = velocity / (1 - ops.power(ops.cast(beta_2, variable.dtype), step))
        rate = ops.cast(learning_rate, variable.dtype)
        self.assign_sub(z, rate * gradient / (ops.sqrt(debiased) + self.config.epsilon))
        x = x + (z - x) / step
        self.assign(variable, (1 - beta_1) * z + beta_1 * x)
