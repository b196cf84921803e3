"""Adadelta."""

import dataclasses

from modelzoo.fields.checks import check_positive, check_rate
from modelzoo.optimizers.optimizer import Optimizer


@dataclasses.dataclass(frozen=True)
class Adadelta(Optimizer):
    """Updates in the units of the weights (Zeiler 2012); the paper uses a learning rate of 1.

    rho: decay of the means of squared gradients and of squared updates.
    epsilon: added inside both roots.
    """

    rho: float = 0.95
    epsilon: float = 1e-7

    keras_name = "Adadelta"

    def __post_init__(self):
        super().__post_init__()
        check_rate(rho=self.rho)
        check_positive(epsilon=self.epsilon)
