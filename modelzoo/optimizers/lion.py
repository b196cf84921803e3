"""Lion."""

import dataclasses

from modelzoo.fields.checks import check_positive, check_rate
from modelzoo.optimizers.optimizer import Optimizer


@dataclasses.dataclass(frozen=True)
class Lion(Optimizer):
    """Sign of an interpolation between gradient and momentum (Chen et al. 2023).

    It needs a learning rate 3 to 10 times below AdamW's, and a weight decay as much above AdamW's.

    beta_1: share of the momentum in the interpolation.
    beta_2: decay of the momentum.
    """

    beta_1: float = 0.9
    beta_2: float = 0.99

    keras_name = "Lion"

    def __post_init__(self):
        super().__post_init__()
        check_positive(beta_1=self.beta_1)
        check_rate(beta_1=self.beta_1, beta_2=self.beta_2)
