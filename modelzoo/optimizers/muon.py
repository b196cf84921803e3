"""Muon: its config and its update rule, the same under all versions of Keras."""

import dataclasses
import re
from collections.abc import Sequence

import keras
from keras import ops

from modelzoo.fields import compat
from modelzoo.fields.checks import check_at_least, check_patterns, check_positive, check_rate
from modelzoo.optimizers.optimizer import Optimizer

# Coefficients of the quintic in the Newton-Schulz iteration (Jordan et al. 2024). Within 5 steps
# they bring singular values between 0.7 and 1.2, which works as well as 1.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


@dataclasses.dataclass(frozen=True)
class Muon(Optimizer):
    """Orthogonalized momentum for matrices (Jordan et al. 2024); Adam for all other variables.

    momentum: share of the last sum of gradients that is added to the next.
    nesterov: evaluate the momentum one step ahead.
    ns_steps: Newton-Schulz iterations towards the orthogonal matrix.
    rms_rate: root mean square that a matrix's update is scaled to, so that Adam's learning rate and
        weight decay fit (Liu et al. 2025); None keeps its singular values near 1.
    convolutions: also treat kernels of more than two axes as matrices `[all inputs, outputs]`;
        Keras uses Adam for them.
    adam: regular expressions; Adam updates the variables whose path matches one, such as `logits`.
    adam_beta_1, adam_beta_2, epsilon: Adam's.
    adam_lr_ratio: Adam's learning rate as a factor of the matrices'.
    """

    weight_decay: float = 0.004
    momentum: float = 0.95
    nesterov: bool = True
    ns_steps: int = 5
    rms_rate: float | None = 0.2
    convolutions: bool = False
    adam: tuple[str, ...] = ("embedding",)
    adam_beta_1: float = 0.9
    adam_beta_2: float = 0.999
    epsilon: float = 1e-7
    adam_lr_ratio: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        check_rate(
            momentum=self.momentum, adam_beta_1=self.adam_beta_1, adam_beta_2=self.adam_beta_2
        )
        check_at_least(1, ns_steps=self.ns_steps)
        check_positive(
            rms_rate=self.rms_rate, epsilon=self.epsilon, adam_lr_ratio=self.adam_lr_ratio
        )
        check_patterns(adam=self.adam)

    def is_matrix(self, variable: keras.Variable) -> bool:
        """Whether the variable is updated as a matrix, not by Adam."""
        axes = len(variable.shape)
        matrix = axes == 2 or (self.convolutions and axes > 2)
        return matrix and not any(re.search(pattern, variable.path) for pattern in self.adam)

    def describe(self, variables: Sequence[keras.Variable]) -> str:
        """Returns how many variables are updated as matrices."""
        return f"Muon on {sum(map(self.is_matrix, variables))} of {len(variables)} variables"

    def build(self) -> keras.optimizers.Optimizer:
        """Returns the update rule of this module."""
        return OrthogonalMomentum(self)


class OrthogonalMomentum(keras.optimizers.Optimizer):
    """Muon for the matrices according to `config`, and Adam for the other variables.

    It computes the same numbers as `keras.optimizers.Muon` in Keras 3.15. Keras 3.12 scales the
    updates differently and selects other variables; neither supports convolutions.
    """

    def __init__(self, config: Muon):
        super().__init__(float(config.learning_rate), name="muon")
        self.config = config

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Creates a momentum for each variable, and a mean square for each of Adam's."""
        super().build(variables)
        self._momentums = self.add_optimizer_variables(variables, "momentum")
        self._velocities = [
            None
            if self.config.is_matrix(v)
            else self.add_variable_from_reference(v, name="velocity")
            for v in variables
        ]

    def update_step(self, gradient, variable, learning_rate) -> None:
        """Updates one variable and its state."""
        config, index = self.config, compat.variable_index(self, variable)
        momentum, velocity = self._momentums[index], self._velocities[index]
        rate = ops.cast(learning_rate, variable.dtype)
        if velocity is None:
            self.assign(momentum, momentum * config.momentum + gradient)
            update = gradient + momentum * config.momentum if config.nesterov else momentum
            # All axes but the last count inputs, the last counts outputs.
            matrix = ops.reshape(update, [-1, variable.shape[-1]])
            matrix = rate * orthogonal(matrix, config.ns_steps)
            if config.rms_rate is not None:
                # The mean square of an orthogonal matrix is 1 / max(rows, columns).
                matrix *= config.rms_rate * max(matrix.shape) ** 0.5
            self.assign_sub(variable, ops.reshape(matrix, variable.shape))
            return
        beta_1, beta_2 = config.adam_beta_1, config.adam_beta_2
        step = ops.cast(self.iterations + 1, variable.dtype)
        power_1 = ops.power(ops.cast(beta_1, variable.dtype), step)
        power_2 = ops.power(ops.cast(beta_2, variable.dtype), step)
        self.assign_add(momentum, (gradient - momentum) * (1 - beta_1))
        self.assign_add(velocity, (ops.square(gradient) - velocity) * (1 - beta_2))
        rate *= config.adam_lr_ratio * ops.sqrt(1 - power_2) / (1 - power_1)
        self.assign_sub(variable, momentum * rate / (ops.sqrt(velocity) + config.epsilon))


def orthogonal(matrix, steps: int):
    """Approximates the nearest semi-orthogonal matrix of `[rows, columns]` by Newton-Schulz."""
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    # The square below is smaller for a wide matrix.
    x = ops.transpose(matrix) if tall else matrix
    x = x / (ops.norm(x) + 1e-7)
    for _ in range(steps):
        square = ops.matmul(x, ops.transpose(x))
        x = a * x + ops.matmul(b * square + c * ops.matmul(square, square), x)
    return ops.transpose(x) if tall else x
