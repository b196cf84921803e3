"""Adafactor."""

import dataclasses

from modelzoo.fields.checks import check_positive
from modelzoo.fields.errors import FieldError
from modelzoo.optimizers.optimizer import Optimizer


@dataclasses.dataclass(frozen=True)
class Adafactor(Optimizer):
    """Adam-like steps in proportion to the weights, factored (Shazeer and Stern 2018).

    The rate of a step is at most `1 / sqrt(step)`, whatever the learning rate. Keras stores the
    full mean square in addition to its row and column means.

    beta_2_decay: the decay of the mean square at a step is `1 - step ** beta_2_decay`.
    epsilon_1: added to the squared gradient.
    epsilon_2: lower bound of the root mean square of a variable, to which its step is
        proportional.
    clip_threshold: root mean square of an update above which it is scaled down.
    """

    beta_2_decay: float = -0.8
    epsilon_1: float = 1e-30
    epsilon_2: float = 1e-3
    clip_threshold: float = 1.0

    keras_name = "Adafactor"

    def __post_init__(self):
        super().__post_init__()
        if not self.beta_2_decay < 0:
            raise FieldError("beta_2_decay", f"must be below 0, got {self.beta_2_decay!r}")
        check_positive(
            epsilon_1=self.epsilon_1, epsilon_2=self.epsilon_2, clip_threshold=self.clip_threshold
        )
