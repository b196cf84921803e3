"""Adam and its variants, with moving means of the gradient and its magnitude."""

import dataclasses

from modelzoo.fields.checks import check_positive, check_rate
from modelzoo.optimizers.optimizer import Optimizer


@dataclasses.dataclass(frozen=True)
class Moments(Optimizer):
    """Base of the optimizers that keep moving means of the gradient and of its magnitude.

    beta_1, beta_2: decays of the mean of the gradient and of the mean of its square (Adamax: of
        the maximum of its absolute value).
    epsilon: added to the denominator.
    """

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7

    def __post_init__(self):
        super().__post_init__()
        check_rate(beta_1=self.beta_1, beta_2=self.beta_2)
        check_positive(epsilon=self.epsilon)


@dataclasses.dataclass(frozen=True)
class Adam(Moments):
    """Mean of the gradient divided by the root of its mean square (Kingma and Ba 2015).

    amsgrad: divide by the largest mean square so far (Reddi et al. 2018).

    Example:
        >>> from modelzoo.schedules import Cosine
        >>> Adam(learning_rate=2e-3, schedule=Cosine(warmup=100)).beta_2
        0.999
    """

    amsgrad: bool = False

    keras_name = "Adam"


@dataclasses.dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    weight_decay: float = 0.01


@dataclasses.dataclass(frozen=True)
class Adamax(Moments):
    """Adam with the decaying maximum of the gradient (Kingma and Ba 2015, section 7.1)."""

    keras_name = "Adamax"


@dataclasses.dataclass(frozen=True)
class Nadam(Moments):
    """Adam with Nesterov momentum (Dozat 2016)."""

    keras_name = "Nadam"


@dataclasses.dataclass(frozen=True)
class Lamb(Moments):
    """Adam's update scaled to the norm of each variable, for large batches (You et al. 2020).

    The paper includes weight decay in the scaled update; this optimizer decouples it.
    """

    keras_name = "Lamb"
