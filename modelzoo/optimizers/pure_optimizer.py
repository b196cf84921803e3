"""Keras's update rules run as pure functions of their state."""

import collections
from collections.abc import Sequence

import keras
import tensorflow as tf

from modelzoo.optimizers.optimizer import Optimizer


class _Pure(keras.optimizers.Optimizer):
    """Stands behind a rule's own class, before what TensorFlow's base class does instead.

    Assignments go through the Keras variable, where a StatelessScope records them, and nothing is
    reduced over replicas.
    """

    def assign(self, variable, value):
        variable.assign(value)

    def assign_add(self, variable, value):
        variable.assign_add(value)

    def assign_sub(self, variable, value):
        variable.assign_sub(value)

    def _var_key(self, variable):
        return id(variable)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        # What Nadam does once a step comes before; each variable has a rate of its own.
        for parts in zip(grads, trainable_variables, learning_rate, strict=True):
            self.update_step(*parts)


class PureOptimizer:
    """A Keras optimizer as a pure function of its state.

    Keras's TensorFlow optimizers assign to `tf.Variable`s and reduce gradients on their own, which
    can be neither undone where a gradient is not finite, nor compiled on several replicas. Here
    `update_step` runs on tensors inside a `keras.StatelessScope`; who calls decides what to assign.
    Build it inside `strategy.scope()`. Raises UserError where the config's multipliers do not fit
    the variables.

    targets, variables, names: the variables, the slots and the slots' names in a checkpoint.
    rates, decays: each target's factor of the learning rate and its weight decay.
    """

    def __init__(self, config: Optimizer, variables: Sequence[keras.Variable]):
        self.targets = list(variables)
        paths = [v.path for v in self.targets]
        self.rates, self.decays = config.rates(paths), config.decays(paths)
        rule = config.build()
        pure = type(type(rule).__name__, (type(rule), _Pure), {})
        object.__setattr__(rule, "__class__", pure)
        rule.build(self.targets)
        self._keras = rule
        # Slots, without the variable of Keras's own learning rate, which nothing reads here.
        self.variables = [v for v in rule.variables if not v.path.endswith("learning_rate")]
        self.names = self._names()

    def restart(self) -> None:
        """Begins anew the slots that begin as the weights, once these are set from elsewhere."""
        if hasattr(self._keras, "restart"):
            self._keras.restart()

    def update(
        self,
        values: Sequence[tf.Tensor],
        slots: Sequence[tf.Tensor],
        gradients: Sequence[tf.Tensor],
        learning_rate: tf.Tensor,
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Values and slots after one update; lists in the order of `targets` and `variables`."""
        own = {rate: learning_rate * rate for rate in dict.fromkeys(self.rates)}
        rates = [own[rate] for rate in self.rates]
        values = [
            value * (1 - tf.cast(rate, value.dtype) * decay) if decay else value
            for value, rate, decay in zip(values, rates, self.decays, strict=True)
        ]
        state = zip(self.targets + self.variables, [*values, *slots], strict=True)
        # A rule need not leave a variable as it is at a rate of 0: Ftrl divides by the rate.
        moved = [k for k, rate in enumerate(self.rates) if rate]
        with keras.StatelessScope(state) as scope:
            self._keras._backend_update_step(
                [gradients[k] for k in moved],
                [self.targets[k] for k in moved],
                [rates[k] for k in moved],
            )
            self._keras.iterations.assign_add(1)
        return (
            [scope.get_current_value(v) for v in self.targets],
            [scope.get_current_value(v) for v in self.variables],
        )

    def _names(self) -> list[str]:
        """Keras's own path for each slot; by attribute and target where that is none of its own."""
        rule = self._keras
        held = {}
        for attribute, value in vars(rule).items():
            attribute = attribute.strip("_")
            if attribute in ("variables", "trainable_variables"):
                continue
            if isinstance(value, keras.Variable):
                held[id(value)] = f"{rule.name}/{attribute}"
            elif isinstance(value, list) and len(value) == len(self.targets):
                for slot, target in zip(value, self.targets, strict=True):
                    held[id(slot)] = f"{rule.name}/{attribute}/{target.path}"
        paths = collections.Counter(v.path for v in self.variables)
        return [
            v.path
            if paths[v.path] == 1 and v.path.startswith(f"{rule.name}/")
            else held.get(id(v), v.path)
            for v in self.variables
        ]
