"""Schedule-Free AdamW: its config and its update rule, the same under all versions of Keras."""

import dataclasses
from collections.abc import Sequence

import keras
from keras import ops

from modelzoo.fields import compat
from modelzoo.fields.checks import check_positive, check_rate
from modelzoo.fields.errors import FieldError
from modelzoo.optimizers.optimizer import Optimizer


@dataclasses.dataclass(frozen=True)
class ScheduleFreeAdamW(Optimizer):
    """Adam that averages its weights instead of following a schedule (Defazio et al. 2024).

    As in Keras, the model trains, evaluates and serves with the weights y, which are partly the
    mean of all steps.

    beta_1: share of the mean of all steps in the weights.
    beta_2: decay of the mean of the squared gradient.
    epsilon: added to the denominator.
    """

    learning_rate: float = 0.0025
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self):
        super().__post_init__()
        check_rate(beta_2=self.beta_2)
        if not 0 < self.beta_1 < 1:
            raise FieldError("beta_1", f"must be above 0 and below 1, got {self.beta_1!r}")
        check_positive(epsilon=self.epsilon)

    def build(self) -> keras.optimizers.Optimizer:
        """Returns the update rule of this module."""
        return ScheduleFree(self)


class ScheduleFree(keras.optimizers.Optimizer):
    """Adam's steps on a sequence z, whose mean is x; the weights y lie between both.

    `z -= rate g / sqrt(v)`, `x += (z - x) / t`, `y = (1 - beta_1) z + beta_1 x` at step t (Defazio
    et al. 2024, equations 3 to 5). Keras 3.15 computes other numbers: it takes x from the z after
    the step.
    """

    def __init__(self, config: ScheduleFreeAdamW):
        super().__init__(float(config.learning_rate), name="schedulefreeadamw")
        self.config = config

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Creates z and the mean square of each variable."""
        super().build(variables)
        self._momentums = self.add_optimizer_variables(variables, "momentum")
        self._velocities = self.add_optimizer_variables(variables, "velocity")
        self.restart()

    def restart(self) -> None:
        """Sets z to the weights."""
        for z, variable in zip(self._momentums, compat.optimized_variables(self), strict=True):
            z.assign(variable.value)

    def update_step(self, gradient, variable, learning_rate) -> None:
        """Updates one variable and its state."""
        index = compat.variable_index(self, variable)
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
