"""RMSprop."""

import dataclasses

from modelzoo.fields.checks import check_positive, check_rate
from modelzoo.optimizers.optimizer import Optimizer


@dataclasses.dataclass(frozen=True)
class RMSprop(Optimizer):
    """Gradient divided by the root of its mean square (Tieleman and Hinton 2012).

    rho: decay of the mean of squared gradients.
    momentum: share of the last update that is added to the next.
    epsilon: added to the denominator.
    centered: divide by the standard deviation instead of the root mean square.
    """

    rho: float = 0.9
    momentum: float = 0.0
    epsilon: float = 1e-7
    centered: bool = False

    keras_name = "RMSprop"

    def __post_init__(self):
        super().__post_init__()
        check_rate(rho=self.rho, momentum=self.momentum)
        check_positive(epsilon=self.epsilon)
