"""Muon's update rule, the same under all versions of Keras."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras
from keras import ops

if TYPE_CHECKING:
    from modelzoo.optimizers.optimizer import Muon

# Of the quintic that Newton-Schulz iterates (Jordan et al. 2024): singular values come to lie
# between 0.7 and 1.2 within 5 steps, which serves as well as 1.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class OrthogonalMomentum(keras.optimizers.Optimizer):
    """Muon for matrices and Adam for the rest, as `config` tells them apart.

    The numbers are those of `keras.optimizers.Muon` in Keras 3.15. The one in Keras 3.12 scales its
    updates in another way and takes other variables for matrices; neither takes convolutions.
    """

    def __init__(self, config: "Muon"):
        super().__init__(float(config.learning_rate), name="muon")
        self.config = config

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Makes a momentum for each variable, and for those of Adam a mean square."""
        super().build(variables)
        self._momentums = self.add_optimizer_variables(variables, "momentum")
        self._velocities = [
            None
            if self.config.is_matrix(v)
            else self.add_variable_from_reference(v, name="velocity")
            for v in variables
        ]

    def update_step(self, gradient, variable, learning_rate) -> None:
        """Updates one variable and its slots."""
        config, index = self.config, self._get_variable_index(variable)
        momentum, velocity = self._momentums[index], self._velocities[index]
        rate = ops.cast(learning_rate, variable.dtype)
        if velocity is None:
            self.assign(momentum, momentum * config.momentum + gradient)
            update = gradient + momentum * config.momentum if config.nesterov else momentum
            # All axes but the last are inputs of what the last counts.
            matrix = ops.reshape(update, [-1, variable.shape[-1]])
            matrix = rate * orthogonal(matrix, config.ns_steps)
            if config.rms_rate is not None:
                # An orthogonal matrix has 1 / max(rows, columns) for its mean square.
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
    """The nearest semi-orthogonal matrix, about, of one `[rows, columns]`, by Newton-Schulz."""
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    # The smaller of both products of the matrix with itself.
    x = ops.transpose(matrix) if tall else matrix
    x = x / (ops.norm(x) + 1e-7)
    for _ in range(steps):
        square = ops.matmul(x, ops.transpose(x))
        x = a * x + ops.matmul(b * square + c * ops.matmul(square, square), x)
    return ops.transpose(x) if tall else x
