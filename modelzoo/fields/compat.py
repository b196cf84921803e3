"""Every private name of Keras and TensorFlow that this package uses, each behind one function.

A release that drops one fails `tests/fields/test_compat.py`, and is adapted to here.
"""

import collections
import contextlib
from collections.abc import Iterator, Sequence

import keras
import tensorflow as tf
from keras.src.backend.common import global_state

_LAYER_COUNTERS = "object_name_uids"
_KEYS_PER_STRATEGY = 10_000


@contextlib.contextmanager
def fresh_layer_names() -> Iterator[None]:
    """Names unnamed layers as in a fresh process: `dense`, `dense_1` and so on.

    Keras counts layers for the whole process, so a model built twice has other variable paths the
    second time, while checkpoints are keyed by these paths. The process's counts continue
    afterwards. Other global state of Keras, such as the dtype policy, is not affected.
    """
    before = global_state.get_global_attribute(_LAYER_COUNTERS)
    global_state.set_global_attribute(_LAYER_COUNTERS, collections.defaultdict(int))
    try:
        yield
    finally:
        global_state.set_global_attribute(_LAYER_COUNTERS, before)


def all_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns the layers of a model, with those within them, but not the model itself."""
    return model._flatten_layers(include_self=False)


def separate_collectives() -> None:
    """Gives the next MirroredStrategy its own numbers for collective operations.

    TensorFlow numbers them from the same start in each strategy and remembers them for the whole
    process: another model or number of devices would not match what it remembers.
    """
    tf.distribute.MirroredStrategy._collective_key_base += _KEYS_PER_STRATEGY


class _PureOptimizer(keras.optimizers.Optimizer):
    """Methods that replace those of Keras's optimizer for TensorFlow.

    Assignments go to the Keras variable, where a StatelessScope records them, and nothing is
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
        # Called here for what Nadam does before; each variable has its own rate.
        for parts in zip(grads, trainable_variables, learning_rate, strict=True):
            self.update_step(*parts)


def make_pure(optimizer: keras.optimizers.Optimizer) -> None:
    """Makes the update of an optimizer, not built yet, usable inside a `keras.StatelessScope`."""
    cls = type(optimizer)
    # Between the class of the rule and its TensorFlow base in the order of methods.
    pure = type(cls.__name__, (cls, _PureOptimizer), {})
    object.__setattr__(optimizer, "__class__", pure)


def update_step(
    optimizer: keras.optimizers.Optimizer,
    gradients: Sequence[tf.Tensor],
    variables: Sequence[keras.Variable],
    learning_rates: Sequence[tf.Tensor],
) -> None:
    """Updates variables by an optimizer that is pure, each with its own learning rate."""
    optimizer._backend_update_step(gradients, variables, learning_rates)


def variable_index(optimizer: keras.optimizers.Optimizer, variable: keras.Variable) -> int:
    """Returns the position of a variable among those that the optimizer was built for."""
    return optimizer._get_variable_index(variable)


def optimized_variables(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """Returns the variables that the optimizer was built for."""
    return optimizer._trainable_variables
