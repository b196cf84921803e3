"""Optimizers: typed configs of all update rules that Keras ships.

Their fields are Keras's arguments with Keras's defaults; weight decay, clipping, averaging and loss
scaling are the train step's. `modelzoo.optimizers.pure_optimizer` runs them.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, ClassVar

import keras

from modelzoo.fields.checks import check_at_least, check_patterns, check_positive
from modelzoo.optimizers.multipliers import (
    ALL_ONE,
    Multipliers,
    check_multipliers,
    multipliers,
)
from modelzoo.optimizers.muon import OrthogonalMomentum
from modelzoo.optimizers.schedule_free import ScheduleFree
from modelzoo.schedules.schedule import Constant


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """Base of all optimizers: the fields that they share.

    learning_rate: peak of the schedule.
    schedule: one of `modelzoo.schedules.schedule`.
    weight_decay: decoupled decay (Loshchilov and Hutter 2019): before each update a variable loses
        `learning_rate * weight_decay` of itself, by its own learning rate.
    decay_exclude: regular expressions; a variable whose path matches one does not decay.
    learning_rate_multipliers, weight_decay_multipliers: pairs of a regular expression and a factor.
        The first expression found in a variable's path counts, and each variable must match one.
        A learning rate of 0 leaves the variable as it is; to freeze a part of the model so that it
        costs no gradient either is not theirs. Layer-wise decay (Clark et al. 2020, section 3.1)
        is a pair for each block: `(("stage3", 1.0), ("stage2", 0.5), ("stage1", 0.25), ...)`.
    """

    learning_rate: float = 0.001
    schedule: Any = Constant()
    weight_decay: float = 0.0
    decay_exclude: tuple[str, ...] = ("bias", "gamma", "beta")
    learning_rate_multipliers: Multipliers = ALL_ONE
    weight_decay_multipliers: Multipliers = ALL_ONE

    # The Keras optimizer whose arguments the other fields are.
    rule: ClassVar[str] = ""

    def __post_init__(self):
        check_positive(learning_rate=self.learning_rate)
        check_at_least(0, weight_decay=self.weight_decay)
        check_patterns(decay_exclude=self.decay_exclude)
        check_multipliers(
            learning_rate_multipliers=self.learning_rate_multipliers,
            weight_decay_multipliers=self.weight_decay_multipliers,
        )

    def rates(self, paths: Sequence[str]) -> list[float]:
        """Each variable's factor of the learning rate; UserError where the patterns do not fit."""
        key = "config.optimizer.learning_rate_multipliers"
        return multipliers(key, self.learning_rate_multipliers, paths)

    def decays(self, paths: Sequence[str]) -> list[float]:
        """Each variable's weight decay; UserError where the patterns do not fit."""
        key = "config.optimizer.weight_decay_multipliers"
        factors = multipliers(key, self.weight_decay_multipliers, paths)
        return [
            0.0
            if any(re.search(p, path) for p in self.decay_exclude)
            else self.weight_decay * factor
            for path, factor in zip(paths, factors, strict=True)
        ]

    def describe(self, variables: Sequence[keras.Variable]) -> str:
        """The optimizer's name, and what it does with which of the variables."""
        return type(self).__name__

    def build(self) -> keras.optimizers.Optimizer:
        """The Keras optimizer; the rate given to it is never used (see `PureOptimizer`)."""
        if not self.rule:
            raise NotImplementedError
        shared = {field.name for field in dataclasses.fields(Optimizer)}
        own = {name: value for name, value in vars(self).items() if name not in shared}
        name = self.rule.lower()
        return getattr(keras.optimizers, self.rule)(float(self.learning_rate), **own, name=name)


def _check_fraction(**fields: float) -> None:
    for name, value in fields.items():
        if not 0 <= value < 1:
            raise ValueError(f"{name} must be at least 0 and below 1, got {value!r}")


@dataclasses.dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent, with momentum (Polyak 1964) or Nesterov's (1983).

    momentum: share of the last update that is added to the next.
    nesterov: look ahead along the momentum.
    """

    learning_rate: float = 0.1
    momentum: float = 0.0
    nesterov: bool = False

    rule = "SGD"

    def __post_init__(self):
        super().__post_init__()
        _check_fraction(momentum=self.momentum)
        if self.nesterov and not self.momentum:
            raise ValueError(f"nesterov needs a momentum above 0, got {self.momentum!r}")


@dataclasses.dataclass(frozen=True)
class RMSprop(Optimizer):
    """Gradients over the root of their mean square (Tieleman and Hinton 2012).

    rho: decay of the mean of squared gradients.
    momentum: share of the last update that is added to the next.
    epsilon: added to the denominator.
    centered: divide by the standard deviation instead of the root mean square.
    """

    rho: float = 0.9
    momentum: float = 0.0
    epsilon: float = 1e-7
    centered: bool = False

    rule = "RMSprop"

    def __post_init__(self):
        super().__post_init__()
        _check_fraction(rho=self.rho, momentum=self.momentum)
        check_positive(epsilon=self.epsilon)


@dataclasses.dataclass(frozen=True)
class Adagrad(Optimizer):
    """Gradients over the root of the sum of their squares (Duchi et al. 2011).

    initial_accumulator_value: what the sum of squares starts from.
    epsilon: added beneath the root.
    """

    initial_accumulator_value: float = 0.1
    epsilon: float = 1e-7

    rule = "Adagrad"

    def __post_init__(self):
        super().__post_init__()
        check_at_least(0, initial_accumulator_value=self.initial_accumulator_value)
        check_positive(epsilon=self.epsilon)


@dataclasses.dataclass(frozen=True)
class Adadelta(Optimizer):
    """Updates in the units of the weights (Zeiler 2012); a learning rate of 1 is the paper's.

    rho: decay of the means of squared gradients and of squared updates.
    epsilon: added beneath both roots.
    """

    rho: float = 0.95
    epsilon: float = 1e-7

    rule = "Adadelta"

    def __post_init__(self):
        super().__post_init__()
        _check_fraction(rho=self.rho)
        check_positive(epsilon=self.epsilon)


@dataclasses.dataclass(frozen=True)
class Moments(Optimizer):
    """Base of those that keep moving means of the gradient and of its size.

    beta_1, beta_2: decays of the mean of the gradient and of that of its square (Adamax: of the
        maximum of its size).
    epsilon: added to the denominator.
    """

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7

    def __post_init__(self):
        super().__post_init__()
        _check_fraction(beta_1=self.beta_1, beta_2=self.beta_2)
        check_positive(epsilon=self.epsilon)


@dataclasses.dataclass(frozen=True)
class Adam(Moments):
    """Mean of the gradient over the root of its mean square (Kingma and Ba 2015).

    amsgrad: divide by the largest mean square so far (Reddi et al. 2018).
    """

    amsgrad: bool = False

    rule = "Adam"


@dataclasses.dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    weight_decay: float = 0.01


@dataclasses.dataclass(frozen=True)
class Adamax(Moments):
    """Adam by the decaying maximum of the gradient's size (Kingma and Ba 2015, section 7.1)."""

    rule = "Adamax"


@dataclasses.dataclass(frozen=True)
class Nadam(Moments):
    """Adam with Nesterov's momentum (Dozat 2016)."""

    rule = "Nadam"


@dataclasses.dataclass(frozen=True)
class Lamb(Moments):
    """Adam's update, scaled to each variable's norm, for large batches (You et al. 2020).

    The paper decays the weights within the scaled update; here decay is decoupled from it.
    """

    rule = "Lamb"


@dataclasses.dataclass(frozen=True)
class Lion(Optimizer):
    """Sign of an interpolation of gradient and momentum (Chen et al. 2023).

    It wants a learning rate 3 to 10 times below AdamW's, and as much more weight decay.

    beta_1: share of the momentum in what the sign is taken of.
    beta_2: decay of the momentum.
    """

    beta_1: float = 0.9
    beta_2: float = 0.99

    rule = "Lion"

    def __post_init__(self):
        super().__post_init__()
        check_positive(beta_1=self.beta_1)
        _check_fraction(beta_1=self.beta_1, beta_2=self.beta_2)


@dataclasses.dataclass(frozen=True)
class Adafactor(Optimizer):
    """Adam-like steps in proportion to the weights, by row and column means (Shazeer, Stern 2018).

    The rate of a step is at most `1 / sqrt(step)`, whatever the learning rate. Keras also stores
    the full mean square that the row and column means stand for.

    beta_2_decay: the mean square's decay at a step is `1 - step ** beta_2_decay`.
    epsilon_1: added to the squared gradient.
    epsilon_2: least root mean square of a variable that its step is in proportion to.
    clip_threshold: root mean square of an update above which it is scaled down.
    """

    beta_2_decay: float = -0.8
    epsilon_1: float = 1e-30
    epsilon_2: float = 1e-3
    clip_threshold: float = 1.0

    rule = "Adafactor"

    def __post_init__(self):
        super().__post_init__()
        if not self.beta_2_decay < 0:
            raise ValueError(f"beta_2_decay must be below 0, got {self.beta_2_decay!r}")
        check_positive(
            epsilon_1=self.epsilon_1, epsilon_2=self.epsilon_2, clip_threshold=self.clip_threshold
        )


@dataclasses.dataclass(frozen=True)
class Ftrl(Optimizer):
    """Follow the regularised leader (McMahan et al. 2013), for linear models.

    A weight is computed anew from sums over all gradients, so that initial weights fade and weight
    decay has no effect: shrink by the fields below.

    learning_rate_power: power of the sum of squared gradients that divides the step; 0 or less.
    initial_accumulator_value: what the sum of squared gradients starts from.
    l1_regularization_strength, l2_regularization_strength: penalties on the size and on the square
        of a weight; the first makes weights exactly 0.
    l2_shrinkage_regularization_strength: penalty on the square that acts through the gradient only.
    beta: added to the root of the sum of squared gradients.
    """

    learning_rate_power: float = -0.5
    initial_accumulator_value: float = 0.1
    l1_regularization_strength: float = 0.0
    l2_regularization_strength: float = 0.0
    l2_shrinkage_regularization_strength: float = 0.0
    beta: float = 0.0

    rule = "Ftrl"

    def __post_init__(self):
        super().__post_init__()
        if self.weight_decay:
            raise ValueError(
                "weight_decay has no effect on Ftrl's weights: set l2_regularization_strength, "
                f"got {self.weight_decay!r}"
            )
        if self.learning_rate_power > 0:
            raise ValueError(
                f"learning_rate_power must be 0 or less, got {self.learning_rate_power!r}"
            )
        check_at_least(
            0,
            initial_accumulator_value=self.initial_accumulator_value,
            l1_regularization_strength=self.l1_regularization_strength,
            l2_regularization_strength=self.l2_regularization_strength,
            l2_shrinkage_regularization_strength=self.l2_shrinkage_regularization_strength,
            beta=self.beta,
        )


@dataclasses.dataclass(frozen=True)
class ScheduleFreeAdamW(Optimizer):
    """Adam that averages instead of following a schedule (Defazio et al. 2024).

    Trained, scored and served are the weights y, as in Keras: in part the mean of all steps.

    beta_1: share of the mean of all steps in the weights.
    beta_2: decay of the mean of the gradient's square.
    epsilon: added to the denominator.
    """

    learning_rate: float = 0.0025
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self):
        super().__post_init__()
        _check_fraction(beta_2=self.beta_2)
        if not 0 < self.beta_1 < 1:
            raise ValueError(f"beta_1 must be above 0 and below 1, got {self.beta_1!r}")
        check_positive(epsilon=self.epsilon)

    def build(self) -> keras.optimizers.Optimizer:
        """The rule of `modelzoo.optimizers.schedule_free`."""
        return ScheduleFree(self)


@dataclasses.dataclass(frozen=True)
class Muon(Optimizer):
    """Momentum made orthogonal, for matrices (Jordan et al. 2024); Adam for all other variables.

    momentum: share of the last sum of gradients that is added to the next.
    nesterov: look ahead along the momentum.
    ns_steps: Newton-Schulz iterations towards the orthogonal matrix.
    rms_rate: a matrix's update is scaled to this root mean square, so that Adam's learning rate and
        weight decay fit (Liu et al. 2025); None leaves its singular values near 1.
    convolutions: take kernels of more than two axes for matrices, `[all inputs, outputs]`, as well;
        Keras leaves them to Adam.
    adam: regular expressions; a variable whose path matches one is left to Adam, such as `logits`.
    adam_beta_1, adam_beta_2, epsilon: Adam's.
    adam_lr_ratio: Adam's learning rate as a factor of the matrices'.
    """

    weight_decay: float = 0.004
    momentum: float = 0.95
    nesterov: bool = True
    ns_steps: int = 5
    rms_rate: float | None = 0.2
    convolutions: bool = False
    adam: tuple[str, ...] = ("embedding",)
    adam_beta_1: float = 0.9
    adam_beta_2: float = 0.999
    epsilon: float = 1e-7
    adam_lr_ratio: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        _check_fraction(
            momentum=self.momentum, adam_beta_1=self.adam_beta_1, adam_beta_2=self.adam_beta_2
        )
        check_at_least(1, ns_steps=self.ns_steps)
        check_positive(
            rms_rate=self.rms_rate, epsilon=self.epsilon, adam_lr_ratio=self.adam_lr_ratio
        )
        check_patterns(adam=self.adam)

    def is_matrix(self, variable: keras.Variable) -> bool:
        """Whether the variable is updated as a matrix, not by Adam."""
        axes = len(variable.shape)
        matrix = axes == 2 or (self.convolutions and axes > 2)
        return matrix and not any(re.search(pattern, variable.path) for pattern in self.adam)

    def describe(self, variables: Sequence[keras.Variable]) -> str:
        """How many variables are updated as matrices."""
        return f"Muon on {sum(map(self.is_matrix, variables))} of {len(variables)} variables"

    def build(self) -> keras.optimizers.Optimizer:
        """The rule of `modelzoo.optimizers.muon`."""
        return OrthogonalMomentum(self)
