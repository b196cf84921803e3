"""Adagrad."""

import dataclasses

from modelzoo.fields.checks import check_at_least, check_positive
from modelzoo.optimizers.optimizer import Optimizer


@dataclasses.dataclass(frozen=True)
class Adagrad(Optimizer):
    """Gradient divided by the root of the sum of its squares (Duchi et al. 2011).

    initial_accumulator_value: initial value of the sum of squares.
    epsilon: added inside the root.
    """

    initial_accumulator_value: float = 0.1
    epsilon: float = 1e-7

    keras_name = "Adagrad"

    def __post_init__(self):
        super().__post_init__()
        check_at_least(0, initial_accumulator_value=self.initial_accumulator_value)
        check_positive(epsilon=self.epsilon)
