"""Stochastic gradient descent."""

import dataclasses

from modelzoo.fields.checks import check_rate
from modelzoo.fields.errors import FieldError
from modelzoo.optimizers.optimizer import Optimizer


@dataclasses.dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent with momentum (Polyak 1964) or Nesterov momentum (1983).

    momentum: share of the last update that is added to the next.
    nesterov: evaluate the momentum one step ahead.

    Example:
        >>> SGD(learning_rate=0.1, momentum=0.9, nesterov=True).momentum
        0.9
    """

    learning_rate: float = 0.1
    momentum: float = 0.0
    nesterov: bool = False

    keras_name = "SGD"

    def __post_init__(self):
        super().__post_init__()
        check_rate(momentum=self.momentum)
        if self.nesterov and not self.momentum:
            raise FieldError("nesterov", f"needs a momentum above 0, got {self.momentum!r}")
