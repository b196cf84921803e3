"""Keras's update rules as pure functions of their state."""

import collections
from collections.abc import Sequence

import keras
import tensorflow as tf

from modelzoo.fields import compat
from modelzoo.optimizers.optimizer import Optimizer


class PureOptimizer:
    """A Keras optimizer as a pure function of its state.

    Keras's TensorFlow optimizers assign to `tf.Variable`s and reduce gradients themselves. Such an
    update cannot be discarded if a gradient is not finite, nor be compiled on several replicas.
    Here `update_step` runs on tensors inside a `keras.StatelessScope`, and the caller decides what
    to assign. Build it inside `strategy.scope()`. Raises UserError if the config's multipliers do
    not fit the variables.

    targets: the variables to update.
    variables, names: the optimizer's own variables (slots), and their names in a checkpoint.
    rates, decays: each target's factor of the learning rate and its weight decay.

    Example:
        >>> from modelzoo.optimizers import SGD
        >>> weight = keras.Variable([1.0, 2.0])
        >>> optimizer = PureOptimizer(SGD(), [weight])
        >>> slots = [tf.convert_to_tensor(v) for v in optimizer.variables]
        >>> (new,), _ = optimizer.update([weight.value], slots, [tf.constant([1.0, 1.0])], 0.5)
        >>> new.numpy().tolist(), weight.numpy().tolist()
        ([0.5, 1.5], [1.0, 2.0])
    """

    def __init__(self, config: Optimizer, variables: Sequence[keras.Variable]):
        self.targets = list(variables)
        paths = [v.path for v in self.targets]
        self.rates, self.decays = config.rates(paths), config.decays(paths)
        rule = config.build()
        compat.make_pure(rule)
        rule.build(self.targets)
        self._keras = rule
        # Without the variable of Keras's own learning rate, which nothing reads here.
        self.variables = [v for v in rule.variables if not v.path.endswith("learning_rate")]
        self.names = self._names()

    def restart(self) -> None:
        """Resets the slots that start at the weights, after new weights were loaded."""
        if hasattr(self._keras, "restart"):
            self._keras.restart()

    def update(
        self,
        values: Sequence[tf.Tensor],
        slots: Sequence[tf.Tensor],
        gradients: Sequence[tf.Tensor],
        learning_rate: tf.Tensor,
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Returns values and slots after one update, in the order of `targets` and `variables`."""
        own = {rate: learning_rate * rate for rate in dict.fromkeys(self.rates)}
        rates = [own[rate] for rate in self.rates]
        values = [
            value * (1 - tf.cast(rate, value.dtype) * decay) if decay else value
            for value, rate, decay in zip(values, rates, self.decays, strict=True)
        ]
        state = zip(self.targets + self.variables, [*values, *slots], strict=True)
        # A rate of 0 need not keep a variable unchanged: Ftrl divides by the rate.
        moved = [k for k, rate in enumerate(self.rates) if rate]
        with keras.StatelessScope(state) as scope:
            compat.update_step(
                self._keras,
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
        """Returns Keras's path of each slot; attribute and target if that path is not unique."""
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
