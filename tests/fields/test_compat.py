"""Each private name of Keras and TensorFlow still does what this package needs it for."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from modelzoo.fields import compat


def test_layer_names_continue_afterwards_even_after_an_error():
    first = keras.layers.Dense(1).name
    with pytest.raises(KeyError), compat.fresh_layer_names():
        assert [keras.layers.Dense(1).name for _ in range(2)] == ["dense", "dense_1"]
        raise KeyError
    number = int(first.partition("_")[2] or 0)
    assert keras.layers.Dense(1).name == f"dense_{number + 1}"


def test_fresh_layer_names_keep_policy_strategy_and_seed():
    keras.config.set_dtype_policy("float64")
    strategy = tf.distribute.MirroredStrategy(
        ["cpu:0", "cpu:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
    keras.utils.set_random_seed(1)
    with strategy.scope():
        with compat.fresh_layer_names():
            inside = keras.layers.Dense(3)
            inside.build([None, 2])
        outside = keras.layers.Dense(3)
        outside.build([None, 2])
    for layer in (inside, outside):
        assert layer.kernel.dtype == "float64"
        assert len(strategy.experimental_local_results(layer.kernel.value)) == 2
    # The stream of random numbers is not begun again.
    assert not np.allclose(inside.kernel, outside.kernel)
    assert keras.config.dtype_policy().name == "float64"


def test_all_layers_are_those_within_layers_too():
    inner = keras.Sequential([keras.Input([2]), keras.layers.Dense(3, name="deep")], name="inner")
    inputs = keras.Input([2])
    model = keras.Model(inputs, keras.layers.Dense(1, name="last")(inner(inputs)))
    names = {layer.name for layer in compat.all_layers(model)}
    assert {"inner", "deep", "last"} <= names and model.name not in names


def test_each_mirrored_strategy_has_its_own_collectives():
    def key():
        compat.separate_collectives()
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
        return strategy.extended._collective_key_base

    assert key() < key()


class Halving(keras.optimizers.SGD):
    """SGD at half the rate, with each variable's position recorded."""

    def update_step(self, gradient, variable, learning_rate):
        self.seen = [*getattr(self, "seen", []), compat.variable_index(self, variable)]
        super().update_step(gradient, variable, learning_rate / 2)


def test_a_pure_optimizer_changes_no_variable_and_has_a_rate_for_each():
    optimizer = Halving(9.0)
    compat.make_pure(optimizer)
    variables = [keras.Variable([1.0]), keras.Variable([2.0])]
    optimizer.build(variables)
    assert [id(v) for v in compat.optimized_variables(optimizer)] == [id(v) for v in variables]
    gradients = [tf.constant([1.0]), tf.constant([1.0])]
    with keras.StatelessScope() as scope:
        compat.update_step(optimizer, gradients, variables, [tf.constant(0.2), tf.constant(2.0)])
    assert optimizer.seen == [0, 1]
    got = [float(scope.get_current_value(v)[0]) for v in variables]
    np.testing.assert_allclose(got, [0.9, 1.0], rtol=1e-6)
    assert [float(v.numpy()[0]) for v in variables] == [1.0, 2.0]


def test_a_pure_nadam_updates_its_schedule_once_for_all_variables():
    optimizer = keras.optimizers.Nadam()
    compat.make_pure(optimizer)
    variables = [keras.Variable([1.0]), keras.Variable([2.0])]
    optimizer.build(variables)
    rates = [tf.constant(0.1)] * 2
    with keras.StatelessScope() as scope:
        compat.update_step(optimizer, [tf.constant([1.0])] * 2, variables, rates)
    moved = [float(scope.get_current_value(v)[0]) - float(v.numpy()[0]) for v in variables]
    assert moved[0] == pytest.approx(moved[1], rel=1e-5) and moved[0] < 0


def test_a_pure_optimizer_compiles_on_several_replicas():
    strategy = tf.distribute.MirroredStrategy(
        ["cpu:0", "cpu:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
    with strategy.scope():
        variable = keras.Variable([1.0])
        optimizer = keras.optimizers.Adam()
        compat.make_pure(optimizer)
        optimizer.build([variable])

    @tf.function
    def step():
        def one():
            with keras.StatelessScope() as scope:
                compat.update_step(optimizer, [tf.constant([1.0])], [variable], [tf.constant(0.1)])
            return scope.get_current_value(variable)

        return strategy.run(one)

    for value in strategy.experimental_local_results(step()):
        np.testing.assert_allclose(value, [0.9], rtol=1e-4)
