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
    update cannot be discarded if a gradient is not finite, and cannot be compiled on several
    replicas. This class runs `update_step` on tensors inside a `keras.StatelessScope`; the caller
    assigns the results. Build it inside `strategy.scope()`.

    targets: the variables to update.
    variables: the optimizer's own variables.
    names: the names of `variables` in a checkpoint.
    rates: the learning rate factor of each target.
    decays: the weight decay of each target.
    averages: whether the rule averages the weights: it has `means`, and decays by itself.

    Raises:
        UserError: the config's multipliers do not fit the variables.

    Example:
        >>> from modelzoo.optimizers import SGD
        >>> weight = keras.Variable([1.0, 2.0])
        >>> optimizer = PureOptimizer(SGD(), [weight])
        >>> state = [tf.convert_to_tensor(v) for v in optimizer.variables]
        >>> (new,), _ = optimizer.update([weight.value], state, [tf.constant([1.0, 1.0])], 0.5)
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
        self.averages = hasattr(rule, "mean")
        # Without Keras's own learning rate, which this class does not use.
        self.variables = [v for v in rule.variables if not v.path.endswith("learning_rate")]
        self.names = self._names()

    def restart(self) -> None:
        """Resets the state that starts at the weights, after new weights were loaded."""
        if hasattr(self._keras, "restart"):
            self._keras.restart()

    def update(
        self,
        values: Sequence[tf.Tensor],
        state: Sequence[tf.Tensor],
        gradients: Sequence[tf.Tensor],
        learning_rate: tf.Tensor,
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Returns values and state after one update, in the order of `targets` and `variables`."""
        scaled = {rate: learning_rate * rate for rate in dict.fromkeys(self.rates)}
        rates = [scaled[rate] for rate in self.rates]
        values = [
            value
            if self.averages or not decay
            else value * (1 - tf.cast(rate, value.dtype) * decay)
            for value, rate, decay in zip(values, rates, self.decays, strict=True)
        ]
        mapping = zip(self.targets + self.variables, [*values, *state], strict=True)
        # Skips rates of 0, since Ftrl divides by the rate.
        updated = [k for k, rate in enumerate(self.rates) if rate]
        with keras.StatelessScope(mapping) as scope:
            compat.update_step(
                self._keras,
                [gradients[k] for k in updated],
                [self.targets[k] for k in updated],
                [rates[k] for k in updated],
            )
            self._keras.iterations.assign_add(1)
        return (
            [scope.get_current_value(v) for v in self.targets],
            [scope.get_current_value(v) for v in self.variables],
        )

    def means(self, values: Sequence[tf.Tensor], state: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Returns the mean of each target over all updates, of an optimizer that averages."""
        mapping = zip(self.targets + self.variables, [*values, *state], strict=True)
        with keras.StatelessScope(mapping):
            return [self._keras.mean(v) for v in self.targets]

    def _names(self) -> list[str]:
        """Returns Keras's path of each variable; attribute and target if the path is not unique."""
        rule = self._keras
        names = {}
        for attribute, value in vars(rule).items():
            attribute = attribute.strip("_")
            if attribute in ("variables", "trainable_variables"):
                continue
            if isinstance(value, keras.Variable):
                names[id(value)] = f"{rule.name}/{attribute}"
            elif isinstance(value, list) and len(value) == len(self.targets):
                for variable, target in zip(value, self.targets, strict=True):
                    names[id(variable)] = f"{rule.name}/{attribute}/{target.path}"
        paths = collections.Counter(v.path for v in self.variables)
        return [
            v.path
            if paths[v.path] == 1 and v.path.startswith(f"{rule.name}/")
            else names.get(id(v), v.path)
            for v in self.variables
        ]
