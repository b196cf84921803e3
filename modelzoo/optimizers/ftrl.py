"""Follow the regularised leader."""

import dataclasses

from modelzoo.fields.checks import check_at_least
from modelzoo.fields.errors import FieldError
from modelzoo.optimizers.optimizer import Optimizer


@dataclasses.dataclass(frozen=True)
class Ftrl(Optimizer):
    """Follow the regularised leader (McMahan et al. 2013), for linear models.

    Each step computes a weight anew from sums over all gradients. Initial weights therefore fade,
    and weight decay has no effect: use the penalties below.

    learning_rate_power: power of the sum of squared gradients that divides the step; 0 or less.
    initial_accumulator_value: initial value of the sum of squared gradients.
    l1_regularization_strength, l2_regularization_strength: penalties on the absolute value and on
        the square of a weight; the first sets weights to exactly 0.
    l2_shrinkage_regularization_strength: penalty on the square that acts through the gradient only.
    beta: added to the root of the sum of squared gradients.
    """

    learning_rate_power: float = -0.5
    initial_accumulator_value: float = 0.1
    l1_regularization_strength: float = 0.0
    l2_regularization_strength: float = 0.0
    l2_shrinkage_regularization_strength: float = 0.0
    beta: float = 0.0

    keras_name = "Ftrl"

    def __post_init__(self):
        super().__post_init__()
        if self.weight_decay:
            raise FieldError(
                "weight_decay",
                "has no effect on Ftrl's weights: set l2_regularization_strength, "
                f"got {self.weight_decay!r}",
            )
        if self.learning_rate_power > 0:
            raise FieldError(
                "learning_rate_power", f"must be 0 or less, got {self.learning_rate_power!r}"
            )
        check_at_least(
            0,
            initial_accumulator_value=self.initial_accumulator_value,
            l1_regularization_strength=self.l1_regularization_strength,
            l2_regularization_strength=self.l2_regularization_strength,
            l2_shrinkage_regularization_strength=self.l2_shrinkage_regularization_strength,
            beta=self.beta,
        )
