"""Optimizers: typed configs, and Keras's update rules run as pure functions."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from modelzoo.train.schedule import Constant
from modelzoo.train.settings import check_at_least, check_positive


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """What all optimizers share.

    learning_rate: peak of the schedule.
    schedule: `Constant` or `Cosine` from `modelzoo.train.schedule`.
    weight_decay: decoupled decay (Loshchilov and Hutter 2019): before each update a variable loses
        `learning_rate * weight_decay` of itself.
    decay_exclude: regular expressions; a variable whose path matches one does not decay.
    """

    learning_rate: float = 0.001
    schedule: Any = Constant()
    weight_decay: float = 0.0
    decay_exclude: tuple[str, ...] = ("bias", "gamma", "beta")

    def __post_init__(self):
        check_positive(learning_rate=self.learning_rate)
        check_at_least(0, weight_decay=self.weight_decay)
        for pattern in self.decay_exclude:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(
                    f"decay_exclude must hold regular expressions, got {pattern!r} ({error})"
                ) from None

    def decays(self, path: str) -> bool:
        """Whether the variable at `path` decays."""
        return self.weight_decay > 0 and not any(re.search(p, path) for p in self.decay_exclude)

    def build(self) -> keras.optimizers.Optimizer:
        """The Keras optimizer; the rate given to it is never used (see `PureOptimizer`)."""
        raise NotImplementedError


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

    def __post_init__(self):
        super().__post_init__()
        _check_fraction(momentum=self.momentum)
        if self.nesterov and not self.momentum:
            raise ValueError(f"nesterov needs a momentum above 0, got {self.momentum!r}")

    def build(self) -> keras.optimizers.Optimizer:
        """keras.optimizers.SGD."""
        return keras.optimizers.SGD(
            self.learning_rate, momentum=self.momentum, nesterov=self.nesterov, name="sgd"
        )


@dataclasses.dataclass(frozen=True)
class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton 2012).

    rho: decay of the mean of squared gradients.
    momentum: share of the last update that is added to the next.
    epsilon: added to the denominator.
    centered: divide by the standard deviation instead of the root mean square.
    """

    rho: float = 0.9
    momentum: float = 0.0
    epsilon: float = 1e-7
    centered: bool = False

    def __post_init__(self):
        super().__post_init__()
        _check_fraction(rho=self.rho, momentum=self.momentum)
        check_positive(epsilon=self.epsilon)

    def build(self) -> keras.optimizers.Optimizer:
        """keras.optimizers.RMSprop."""
        return keras.optimizers.RMSprop(
            self.learning_rate,
            rho=self.rho,
            momentum=self.momentum,
            epsilon=self.epsilon,
            centered=self.centered,
            name="rmsprop",
        )


@dataclasses.dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma and Ba 2015).

    beta_1, beta_2: decays of the means of the gradient and of its square.
    epsilon: added to the denominator.
    amsgrad: divide by the largest mean square so far (Reddi et al. 2018).
    """

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    amsgrad: bool = False

    def __post_init__(self):
        super().__post_init__()
        _check_fraction(beta_1=self.beta_1, beta_2=self.beta_2)
        check_positive(epsilon=self.epsilon)

    def build(self) -> keras.optimizers.Optimizer:
        """keras.optimizers.Adam."""
        return keras.optimizers.Adam(
            self.learning_rate,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
            amsgrad=self.amsgrad,
            name="adam",
        )


@dataclasses.dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    weight_decay: float = 0.01


class PureOptimizer:
    """A Keras optimizer as a pure function of its state.

    Keras's TensorFlow optimizers assign to `tf.Variable`s and reduce gradients on their own, which
    can be neither undone where a gradient is not finite, nor compiled on several replicas. Here
    `update_step` runs on tensors inside a `keras.StatelessScope`; who calls decides what to assign.
    Build it inside `strategy.scope()`.
    """

    def __init__(self, config: Optimizer, variables: Sequence[keras.Variable]):
        self.config = config
        self._keras = config.build()
        base = keras.optimizers.Optimizer
        for method in ("assign", "assign_add", "assign_sub"):
            # The base class assigns through the Keras variable, which a StatelessScope records.
            rule = getattr(_base_of(base), method).__get__(self._keras)
            object.__setattr__(self._keras, method, rule)
        object.__setattr__(self._keras, "_var_key", id)
        self._keras.build(variables)
        self.targets = list(variables)
        # Slots, without the variable of Keras's own learning rate, which nothing reads here.
        self.variables = [v for v in self._keras.variables if not v.path.endswith("learning_rate")]

    def update(
        self,
        values: Sequence[tf.Tensor],
        slots: Sequence[tf.Tensor],
        gradients: Sequence[tf.Tensor],
        learning_rate: tf.Tensor,
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Values and slots after one update; lists in the order of `targets` and `variables`."""
        decay = self.config.weight_decay
        values = [
            value * (1 - tf.cast(learning_rate, value.dtype) * decay)
            if self.config.decays(target.path)
            else value
            for target, value in zip(self.targets, values, strict=True)
        ]
        state = zip(self.targets + self.variables, [*values, *slots], strict=True)
        with keras.StatelessScope(state) as scope:
            for target, gradient in zip(self.targets, gradients, strict=True):
                self._keras.update_step(gradient, target, learning_rate)
            self._keras.iterations.assign_add(1)
        return (
            [scope.get_current_value(v) for v in self.targets],
            [scope.get_current_value(v) for v in self.variables],
        )


def _base_of(optimizer_class: type) -> type:
    """The backend-neutral base class, which holds the assignments that a scope records."""
    for base in optimizer_class.__mro__:
        if base.__name__ == "BaseOptimizer":
            return base
    raise TypeError(f"no BaseOptimizer beneath {optimizer_class}")
