"""Every private name of Keras and TensorFlow that this package uses, each behind one function.

`tests/fields/test_compat.py` fails for a release that drops one; adapt this module then.
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

    Checkpoints are keyed by variable paths, which contain these names. Keras numbers the layers of
    the whole process, so without this a second build of a model would have other paths. Afterwards,
    the process's numbers continue. Other global state of Keras does not change.
    """
    before = global_state.get_global_attribute(_LAYER_COUNTERS)
    global_state.set_global_attribute(_LAYER_COUNTERS, collections.defaultdict(int))
    try:
        yield
    finally:
        global_state.set_global_attribute(_LAYER_COUNTERS, before)


def all_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns the layers of a model, with nested layers, without the model itself."""
    return model._flatten_layers(include_self=False)


def separate_collectives() -> None:
    """Gives the next MirroredStrategy its own numbers for collective operations.

    TensorFlow starts with the same numbers in each strategy and keeps the shapes and devices of
    each number for the whole process. Another model or number of devices conflicts with them.
    """
    tf.distribute.MirroredStrategy._collective_key_base += _KEYS_PER_STRATEGY


class _PureOptimizer(keras.optimizers.Optimizer):
    """Methods that replace those of Keras's optimizer for TensorFlow.

    They assign to the Keras variable, where a StatelessScope records the value, and do not reduce
    over replicas.
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
        # Keras calls this after the preparations of Nadam. Each variable has its own rate.
        for parts in zip(grads, trainable_variables, learning_rate, strict=True):
            self.update_step(*parts)


def make_pure(optimizer: keras.optimizers.Optimizer) -> None:
    """Makes the updates of an unbuilt optimizer usable inside a `keras.StatelessScope`."""
    cls = type(optimizer)
    # In the method resolution order, between the optimizer's class and its TensorFlow base.
    pure = type(cls.__name__, (cls, _PureOptimizer), {})
    object.__setattr__(optimizer, "__class__", pure)


def update_step(
    optimizer: keras.optimizers.Optimizer,
    gradients: Sequence[tf.Tensor],
    variables: Sequence[keras.Variable],
    learning_rates: Sequence[tf.Tensor],
) -> None:
    """Updates variables with an optimizer from `make_pure`, each at its own learning rate."""
    optimizer._backend_update_step(gradients, variables, learning_rates)


def variable_index(optimizer: keras.optimizers.Optimizer, variable: keras.Variable) -> int:
    """Returns the index of a variable in `optimized_variables`."""
    return optimizer._get_variable_index(variable)


def optimized_variables(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """Returns the variables that the optimizer was built for."""
    return optimizer._trainable_variables
