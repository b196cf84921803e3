"""Base of the optimizer configs.

The fields of an optimizer are the arguments of Keras with the defaults of Keras. Weight decay,
clipping, averaging and loss scaling belong to the train step. `modelzoo.optimizers.pure_optimizer`
runs the update rules.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import ClassVar

import keras

from modelzoo.fields.checks import check_at_least, check_patterns, check_positive
from modelzoo.optimizers.multipliers import (
    ALL_ONE,
    Multipliers,
    check_multipliers,
    multipliers,
)
from modelzoo.schedules.constant import Constant
from modelzoo.schedules.schedule import Schedule


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """Base of all optimizers: the fields that they share.

    A subclass adds the arguments of a Keras optimizer as fields and names it in `keras_name`, or
    overrides `build`.

    learning_rate: peak of the schedule.
    schedule: one of `modelzoo.schedules`.
    weight_decay: decoupled decay (Loshchilov and Hutter 2019): before each update a variable is
        multiplied by `1 - learning_rate * weight_decay`, with its own learning rate.
    decay_exclude: regular expressions; a variable whose path matches one does not decay.
    learning_rate_multipliers, weight_decay_multipliers: pairs of a regular expression and a factor.
        The first expression that matches a variable's path applies, and each variable must match
        one. A learning rate of 0 keeps the variable unchanged, at the cost of its gradient;
        `config.train.freeze` avoids this cost. Layer-wise decay (Clark et al. 2020, section 3.1) is
        one pair for each block: `(("stage3", 1.0), ("stage2", 0.5), ("stage1", 0.25), ...)`.
    """

    learning_rate: float = 0.001
    schedule: Schedule = Constant()
    weight_decay: float = 0.0
    decay_exclude: tuple[str, ...] = ("bias", "gamma", "beta")
    learning_rate_multipliers: Multipliers = ALL_ONE
    weight_decay_multipliers: Multipliers = ALL_ONE

    keras_name: ClassVar[str] = ""
    """The class in `keras.optimizers` whose arguments the fields of a subclass are."""

    def __post_init__(self):
        check_positive(learning_rate=self.learning_rate)
        check_at_least(0, weight_decay=self.weight_decay)
        check_patterns(decay_exclude=self.decay_exclude)
        check_multipliers(
            learning_rate_multipliers=self.learning_rate_multipliers,
            weight_decay_multipliers=self.weight_decay_multipliers,
        )

    def rates(self, paths: Sequence[str]) -> list[float]:
        """Returns each variable's factor of the learning rate, by its path.

        Raises:
            UserError: The patterns do not fit the paths.
        """
        key = "config.optimizer.learning_rate_multipliers"
        return multipliers(key, self.learning_rate_multipliers, paths)

    def decays(self, paths: Sequence[str]) -> list[float]:
        """Returns each variable's weight decay, by its path.

        Raises:
            UserError: The patterns do not fit the paths.
        """
        key = "config.optimizer.weight_decay_multipliers"
        factors = multipliers(key, self.weight_decay_multipliers, paths)
        return [
            0.0
            if any(re.search(p, path) for p in self.decay_exclude)
            else self.weight_decay * factor
            for path, factor in zip(paths, factors, strict=True)
        ]

    def describe(self, variables: Sequence[keras.Variable]) -> str:
        """Returns the optimizer's name, and how it treats the variables if they differ."""
        return type(self).__name__

    def build(self) -> keras.optimizers.Optimizer:
        """Returns the Keras optimizer; `PureOptimizer` ignores the learning rate in it."""
        if not self.keras_name:
            raise NotImplementedError
        shared = {field.name for field in dataclasses.fields(Optimizer)}
        own = {name: value for name, value in vars(self).items() if name not in shared}
        keras_class = getattr(keras.optimizers, self.keras_name)
        return keras_class(float(self.learning_rate), **own, name=self.keras_name.lower())
