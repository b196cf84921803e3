import numpy as np
import pytest
import tensorflow as tf

from modelzoo.models.layers.positions import Positions, rotate, sinusoids


def test_sinusoids_are_the_papers():
    places = [0, 1, 2, 30]
    expected = np.zeros([4, 6])
    for row, position in enumerate(places):
        for i in range(3):
            angle = position / 10000 ** (2 * i / 6)
            expected[row, 2 * i : 2 * i + 2] = np.sin(angle), np.cos(angle)
    np.testing.assert_allclose(sinusoids(tf.constant(places), 6), expected, rtol=0, atol=1e-5)
    exact = sinusoids(tf.constant(places), 6, "float64")
    np.testing.assert_allclose(exact, expected, rtol=0, atol=1e-12)


def test_each_step_gets_the_vector_of_its_position():
    x = np.ones([2, 5, 4], "float32")
    vectors = sinusoids(tf.range(5), 4)
    layer = Positions()
    np.testing.assert_allclose(layer(x), x + vectors)
    np.testing.assert_allclose(layer(x, tf.constant(3)), x + vectors[3])
    learned = Positions("learned", 5)
    assert learned(x).shape == x.shape
    learned.table.assign(np.arange(20).reshape(5, 4))
    np.testing.assert_array_equal(learned(x), 1 + np.arange(20).reshape(1, 5, 4).repeat(2, axis=0))
    np.testing.assert_array_equal(learned(x, tf.constant(4))[:, 0], [[17, 18, 19, 20]] * 2)


def test_rotations_are_those_of_complex_numbers():
    x = np.random.default_rng(0).normal(size=(2, 7, 6)).astype("float32")
    angles = np.arange(7)[:, None] / 10000 ** (np.arange(3) / 3)
    turned = (x[..., :3] + 1j * x[..., 3:]) * np.exp(1j * angles)
    expected = np.concatenate([turned.real, turned.imag], axis=-1)
    np.testing.assert_allclose(rotate(tf.constant(x), tf.range(7)), expected, rtol=0, atol=1e-5)


def test_products_of_rotated_vectors_depend_on_their_distance():
    rng = np.random.default_rng(0)
    q, k = (tf.constant(rng.normal(size=(1, 8)), tf.float32) for _ in range(2))

    def product(a, b):
        return float(tf.reduce_sum(rotate(q, tf.constant([a])) * rotate(k, tf.constant([b]))))

    assert product(3, 1) == pytest.approx(product(12, 10), abs=1e-5)
    assert product(3, 1) != pytest.approx(product(3, 2), abs=1e-2)


def test_more_steps_than_were_learned_are_refused():
    layer = Positions("learned", 4)
    assert layer(np.zeros([1, 4, 2], "float32")).shape == (1, 4, 2)
    message = "positions must be sinusoidal or rotary for .* in training, 4 tokens, got .* 5 tokens"
    with pytest.raises(ValueError, match=message):
        layer(np.zeros([1, 5, 2], "float32"))
    run = tf.function(layer, input_signature=[tf.TensorSpec([None, None, 2])])
    assert run(np.zeros([1, 3, 2], "float32")).shape == (1, 3, 2)
    with pytest.raises(tf.errors.InvalidArgumentError):
        run(np.zeros([1, 5, 2], "float32"))
