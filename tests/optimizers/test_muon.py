import keras
import numpy as np
import pytest
import tensorflow as tf

from modelzoo.optimizers import Muon
from modelzoo.optimizers.muon import orthogonal
from modelzoo.optimizers.pure_optimizer import PureOptimizer


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5), (7, 1)])
def test_singular_vectors_stay_and_values_come_near_one(shape):
    matrix = np.random.default_rng(0).normal(size=shape)
    u, _, vt = np.linalg.svd(matrix, full_matrices=False)
    got = u.T @ orthogonal(tf.constant(matrix), 5).numpy() @ vt.T
    np.testing.assert_allclose(got, np.diag(np.diag(got)), atol=1e-6)
    assert np.diag(got).min() > 0.6 and np.diag(got).max() < 1.25


def step(config, name, shape, seed=0):
    """The update of one variable by its first gradient."""
    variable = keras.Variable(np.zeros(shape), dtype="float64", name=name)
    pure = PureOptimizer(config, [variable])
    slots = [tf.convert_to_tensor(v) for v in pure.variables]
    gradient = tf.constant(np.random.default_rng(seed).normal(size=shape))
    (value,), _ = pure.update([tf.convert_to_tensor(variable)], slots, [gradient], tf.constant(0.5))
    return value.numpy(), len(slots) - 1


def test_the_first_update_by_hand():
    # Of one row every direction is orthogonal already, but for the factor that 5 iterations leave.
    gradient = np.random.default_rng(0).normal(size=[1, 9])
    x = 1.0
    for _ in range(5):
        x = 3.4445 * x - 4.7750 * x**3 + 2.0315 * x**5
    expected = -0.5 * 0.2 * 3.0 * x * gradient / np.linalg.norm(gradient)
    value, slots = step(Muon(), "kernel", [1, 9])
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert slots == 1
    value, _ = step(Muon(rms_rate=None), "kernel", [1, 9])
    np.testing.assert_allclose(value, expected / 0.6, rtol=1e-6)


@pytest.mark.field("Muon.convolutions")
def test_a_convolution_is_the_matrix_of_its_inputs_and_outputs():
    config = Muon(convolutions=True)
    matrix, _ = step(config, "kernel", [18, 4])
    kernel, slots = step(config, "kernel", [3, 3, 2, 4])
    np.testing.assert_allclose(kernel, matrix.reshape(3, 3, 2, 4))
    assert slots == 1
    by_adam, slots = step(Muon(), "kernel", [3, 3, 2, 4])
    np.testing.assert_allclose(np.abs(by_adam), 0.5, rtol=1e-3)
    assert slots == 2


def test_what_is_updated_as_a_matrix():
    def variable(name, *shape):
        return keras.Variable(np.zeros(shape), name=name)

    some = [
        variable("dense_kernel", 2, 3),
        variable("logits_kernel", 2, 3),
        variable("embedding", 5, 2),
        variable("conv_kernel", 3, 3, 1, 2),
        variable("bias", 3),
    ]
    assert list(map(Muon().is_matrix, some)) == [True, True, False, False, False]
    other = Muon(adam=("logits",), convolutions=True)
    assert list(map(other.is_matrix, some)) == [True, False, True, True, False]
    assert Muon().describe(some) == "Muon on 2 of 5 variables"
