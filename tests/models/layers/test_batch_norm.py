import keras
import numpy as np
import pytest
import tensorflow as tf

from modelzoo.models.layers.batch_norm import BatchNorm

SHAPES = [(4, 3, 5, 2), (6, 2), (4, 5, 2)]


def values(shape, seed=0, dtype="float32"):
    """Numbers far from mean 0 and variance 1."""
    return (np.random.default_rng(seed).normal(3.0, 2.0, shape)).astype(dtype)


def trained(layer, x, upstream):
    """Output and gradients with respect to input and variables of one training step."""
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
        loss = tf.reduce_sum(y * tf.cast(upstream, y.dtype))
    return y, tape.gradient(loss, [x] + [v.value for v in layer.trainable_variables])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 3e-5), ("float64", 1e-12)])
def test_is_keras_batch_normalization(shape, dtype, tolerance):
    ours = BatchNorm(momentum=0.8, epsilon=1e-3, dtype=dtype)
    keras_layer = keras.layers.BatchNormalization(momentum=0.8, epsilon=1e-3, dtype=dtype)
    for layer in (ours, keras_layer):
        layer.build(shape)
        layer.gamma.assign([1.5, -0.5])
        layer.beta.assign([0.1, 0.2])
    upstream = values(shape, seed=9, dtype=dtype)
    for step in range(4):
        x = values(shape, seed=step, dtype=dtype)
        y, gradients = trained(ours, x, upstream)
        expected, expected_gradients = trained(keras_layer, x, upstream)
        np.testing.assert_allclose(y, expected, rtol=tolerance, atol=tolerance)
        for ours_, theirs in zip(gradients, expected_gradients, strict=True):
            np.testing.assert_allclose(ours_, theirs, rtol=tolerance, atol=10 * tolerance)
        for name in ("moving_mean", "moving_variance"):
            np.testing.assert_allclose(
                getattr(ours, name), getattr(keras_layer, name), rtol=tolerance
            )
    np.testing.assert_allclose(ours(x), keras_layer(x), rtol=tolerance, atol=tolerance)
    assert ours(x).shape == x.shape


def test_one_training_step_by_hand():
    layer = BatchNorm(momentum=0.75, epsilon=0.5)
    y = layer(np.float32([[1.0], [3.0]]), training=True)  # mean 2, biased variance 1
    np.testing.assert_allclose(y, np.float32([[-1.0], [1.0]]) / np.sqrt(1.5), rtol=1e-6)
    np.testing.assert_allclose(layer.moving_mean, [0.5], rtol=1e-6)  # 0.75 * 0 + 0.25 * 2
    np.testing.assert_allclose(layer.moving_variance, [1.0], rtol=1e-6)


def test_training_uses_the_fused_kernel():
    layer = BatchNorm()
    layer.build((2, 3, 3, 1))
    for training in (True, False):
        function = tf.function(lambda x, training=training: layer(x, training=training))
        graph = function.get_concrete_function(tf.TensorSpec((2, 3, 3, 1))).graph
        assert "FusedBatchNormV3" in [op.type for op in graph.get_operations()]


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16"])
def test_low_precision_keeps_float32_statistics(policy):
    layer = BatchNorm(dtype=policy)
    x = values((8, 4, 4, 3))
    y = layer(x, training=True)
    assert y.dtype == layer.compute_dtype
    assert {v.dtype for v in layer.variables} == {"float32"}
    exact = BatchNorm()
    np.testing.assert_allclose(tf.cast(y, "float32"), exact(x, training=True), atol=0.03)
    np.testing.assert_allclose(layer.moving_mean, exact.moving_mean, rtol=0.01)
    np.testing.assert_allclose(layer.moving_variance, exact.moving_variance, rtol=0.01)


def test_float64_has_float64_variables():
    layer = BatchNorm(dtype="float64")
    assert layer(values((2, 3)), training=True).dtype == "float64"
    assert {v.dtype for v in layer.variables} == {"float64"}


def test_frozen_layer_uses_moving_statistics():
    layer = BatchNorm()
    x = values((4, 3))
    layer.build(x.shape)
    layer.trainable = False
    np.testing.assert_array_equal(layer(x, training=True), layer(x, training=False))
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(3))


def test_zero_gamma_starts_at_the_offset():
    layer = BatchNorm(zero_gamma=True)
    np.testing.assert_array_equal(
        layer(values((4, 2, 2, 3)), training=True), np.zeros((4, 2, 2, 3))
    )


def test_compiles_under_xla():
    compiled, plain = BatchNorm(), BatchNorm()
    x, upstream = values((4, 3, 3, 2)), values((4, 3, 3, 2), seed=1)
    compiled.build(x.shape)
    plain.build(x.shape)
    function = tf.function(lambda x: trained(compiled, x, upstream), jit_compile=True)
    y, gradients = function(tf.constant(x))
    expected, expected_gradients = trained(plain, x, upstream)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(compiled.moving_variance, plain.moving_variance, rtol=1e-5)


def test_stateless_scope_leaves_the_variables_alone():
    layer = BatchNorm()
    x = values((4, 3))
    layer.build(x.shape)
    with keras.StatelessScope([(layer.gamma, tf.fill([3], 2.0))]) as scope:
        y = layer(x, training=True)
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(3))
    moved = scope.get_current_value(layer.moving_mean)
    np.testing.assert_allclose(moved, 0.1 * x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(y, 2 * layer(x, training=True), rtol=1e-5)


def test_config_and_saved_forms_are_complete(tmp_path):
    layer = BatchNorm(momentum=0.7, epsilon=0.01, synchronized=False, zero_gamma=True, name="n")
    assert BatchNorm.from_config(layer.get_config()).get_config() == layer.get_config()
    assert layer.compute_output_shape((None, 4, 4, 3)) == (None, 4, 4, 3)
    inputs = keras.Input((2, 2, 3))
    model = keras.Model(inputs, BatchNorm(momentum=0.5)(inputs))
    x = values((4, 2, 2, 3))
    model(x, training=True)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(x), model(x))
    model.export(tmp_path / "exported", format="tf_saved_model", verbose=False)
    exported = tf.saved_model.load(str(tmp_path / "exported"))
    np.testing.assert_allclose(exported.serve(x), model(x), rtol=1e-6)


def run_replicas(replicas, x, upstream, synchronized):
    """Outputs, input gradients, summed variable gradients and moving statistics of a step."""
    strategy = tf.distribute.MirroredStrategy(
        [f"cpu:{i}" for i in range(replicas)], tf.distribute.ReductionToOneDevice()
    )
    with strategy.scope():
        layer = BatchNorm(synchronized=synchronized, momentum=0.6, dtype="float64")
        layer.build(x.shape)
        layer.gamma.assign([1.5, -0.5])
        layer.moving_mean.assign([2.0, 1.0])

    def local(x, upstream):
        gamma, beta = (tf.convert_to_tensor(v) for v in (layer.gamma, layer.beta))
        with tf.GradientTape() as tape:
            tape.watch([x, gamma, beta])
            with keras.StatelessScope([(layer.gamma, gamma), (layer.beta, beta)]) as scope:
                y = layer(x, training=True)
            loss = tf.reduce_sum(y * upstream)
        dx, dgamma, dbeta = tape.gradient(loss, [x, gamma, beta])
        moving = [scope.get_current_value(v) for v in (layer.moving_mean, layer.moving_variance)]
        return y, dx, dgamma, dbeta, *moving

    def shards(array):
        parts = np.split(array, replicas)
        return strategy.experimental_distribute_values_from_function(
            lambda c: tf.constant(parts[c.replica_id_in_sync_group])
        )

    run = tf.function(lambda x, upstream: strategy.run(local, (x, upstream)))
    results = run(shards(x), shards(upstream))
    return [np.stack(strategy.experimental_local_results(r)) for r in results]


@pytest.mark.parametrize("shape", [(8, 3, 3, 2), (8, 2)])
@pytest.mark.parametrize("replicas", [2, 4])
def test_synchronized_replicas_are_one(shape, replicas):
    x, upstream = values(shape, dtype="float64"), values(shape, seed=1, dtype="float64")
    y, dx, dgamma, dbeta, mean, variance = run_replicas(replicas, x, upstream, True)
    one = BatchNorm(momentum=0.6, dtype="float64")
    one.build(shape)
    one.gamma.assign([1.5, -0.5])
    one.moving_mean.assign([2.0, 1.0])
    expected, gradients = trained(one, x, upstream)
    np.testing.assert_allclose(y.reshape(shape), expected, rtol=1e-9, atol=1e-9)
    for ours, theirs in zip(
        (dx.reshape(shape), dgamma.sum(0), dbeta.sum(0)), gradients, strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
    for replica in range(replicas):
        np.testing.assert_allclose(mean[replica], one.moving_mean, rtol=1e-9)
        np.testing.assert_allclose(variance[replica], one.moving_variance, rtol=1e-9)


def test_replicas_not_synchronized_use_their_own():
    x = values((8, 2), dtype="float64")
    y, *_, mean, _ = run_replicas(2, x, np.ones_like(x), False)
    for replica, part in enumerate(np.split(x, 2)):
        np.testing.assert_allclose(mean[replica], 0.6 * np.array([2, 1]) + 0.4 * part.mean(0))
        expected = (part - part.mean(0)) / np.sqrt(part.var(0) + 1e-5) * [1.5, -0.5]
        np.testing.assert_allclose(y[replica], expected, rtol=1e-9)
