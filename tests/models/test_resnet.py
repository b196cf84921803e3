import keras
import numpy as np
import pytest
import tensorflow as tf

from modelzoo.models.layers.batch_norm import BatchNorm
from modelzoo.models.resnet import ResNet


def spec(*shape):
    return keras.InputSpec(shape=(None, *shape))


def trainable(model):
    return sum(v.shape.num_elements() for v in model.trainable_variables)


# The paper's table 6 gives 0.27, 0.46, 0.66, 0.85 and 1.7 million.
@pytest.mark.field("ResNet.depth")
@pytest.mark.parametrize(
    ("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.73)]
)
def test_sizes_of_the_paper(depth, millions):
    n = (depth - 2) // 6
    expected = 9 * 3 * 16 + 32  # stem and its normalisation
    expected += 2 * n * (9 * 16 * 16 + 32)
    expected += 9 * 16 * 32 + 64 + (2 * n - 1) * (9 * 32 * 32 + 64)
    expected += 9 * 32 * 64 + 128 + (2 * n - 1) * (9 * 64 * 64 + 128)
    expected += 64 * 10 + 10
    assert trainable(ResNet(depth).build(spec(32, 32, 3), 10)) == expected
    assert round(expected / 1e6, 2) == millions


@pytest.mark.field("ResNet.shortcut", "ResNet.width")
def test_projection_adds_its_kernels_and_normalisations():
    padded = trainable(ResNet(8).build(spec(8, 8, 1), 10))
    projected = trainable(ResNet(8, shortcut="projection").build(spec(8, 8, 1), 10))
    assert projected - padded == 16 * 32 + 64 + 32 * 64 + 128


def randomize(model):
    """Gives every variable values of its own; variances stay positive."""
    rng = np.random.default_rng(1)
    for variable in model.variables:
        noise = rng.normal(size=variable.shape) * 0.3
        is_gain = variable.name in ("gamma", "moving_variance")
        variable.assign(np.abs(noise) + 0.5 if is_gain else noise)


def reference(model, x, blocks, shortcut):
    """The network written out with plain operations; returns logits."""
    weights = {v.path: tf.convert_to_tensor(v) for v in model.variables}

    def conv_norm(x, name, stride):
        kernel = weights[f"{name}_conv/kernel"]
        pad = kernel.shape[0] // 2
        padding = [[0, 0], [pad, pad], [pad, pad], [0, 0]]
        y = tf.nn.conv2d(x, kernel, stride, padding)
        gamma, beta, mean, variance = (
            weights[f"{name}_norm/{part}"]
            for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return (y - mean) / tf.sqrt(variance + 1e-5) * gamma + beta

    x = tf.nn.relu(conv_norm(x, "stem", 1))
    for stage in (1, 2, 3):
        for block in range(1, blocks + 1):
            name = f"stage{stage}_block{block}"
            stride = 2 if stage > 1 and block == 1 else 1
            y = tf.nn.relu(conv_norm(x, f"{name}_1", stride))
            y = conv_norm(y, f"{name}_2", 1)
            if stride == 2 and shortcut == "projection":
                x = conv_norm(x, f"{name}_shortcut", 2)
            elif stride == 2:
                x = tf.concat([x[:, ::2, ::2], tf.zeros_like(x[:, ::2, ::2])], axis=-1)
            x = tf.nn.relu(x + y)
    x = tf.reduce_mean(x, axis=(1, 2))
    return x @ weights["logits/kernel"] + weights["logits/bias"]


@pytest.mark.parametrize("shortcut", ["pad", "projection"])
@pytest.mark.parametrize("size", [8, 5])
def test_forward_pass_is_the_networks(shortcut, size):
    model = ResNet(14, width=4, shortcut=shortcut).build(spec(size, size, 2), 3)
    randomize(model)
    x = np.random.default_rng(0).normal(size=(2, size, size, 2)).astype("float32")
    expected = reference(model, x, blocks=2, shortcut=shortcut)
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shortcut", ["pad", "projection"])
def test_keras_file_gives_the_same_model(tmp_path, shortcut):
    model = ResNet(8, width=4, shortcut=shortcut).build(spec(8, 8, 1), 3)
    randomize(model)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype("float32")
    np.testing.assert_array_equal(again(x), model(x))
    assert [v.path for v in again.variables] == [v.path for v in model.variables]


def test_bfloat16_keeps_float32_variables_and_logits():
    exact = ResNet(8, width=4).build(spec(8, 8, 1), 3)
    randomize(exact)
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = ResNet(8, width=4).build(spec(8, 8, 1), 3)
    model.set_weights(exact.get_weights())
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype("float32")
    logits = model(x)
    assert logits.dtype == "float32"
    assert {v.dtype for v in model.variables} == {"float32"}
    assert model.get_layer("stem_relu").output.dtype == "bfloat16"
    assert 0 < np.abs(logits - exact(x)).max() < 0.05 * np.abs(logits).max()


def test_float64_is_float64_throughout():
    keras.config.set_dtype_policy("float64")
    model = ResNet(8, width=4).build(spec(8, 8, 1), 3)
    assert {layer.output.dtype for layer in model.layers} == {"float64"}
    assert {v.dtype for v in model.variables} == {"float64"}


@pytest.mark.field("ResNet.momentum", "ResNet.epsilon", "ResNet.synchronized", "ResNet.zero_gamma")
def test_fields_reach_the_normalisation():
    model = ResNet(
        8, width=4, momentum=0.5, epsilon=0.25, synchronized=False, zero_gamma=True
    ).build(spec(8, 8, 1), 3)
    norms = [layer for layer in model.layers if isinstance(layer, BatchNorm)]
    assert {(n.momentum, n.epsilon, n.synchronized) for n in norms} == {(0.5, 0.25, False)}
    silent = [n.name for n in norms if not np.any(n.gamma)]
    assert silent == [f"stage{stage}_block1_2_norm" for stage in (1, 2, 3)]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("depth", 18),
        ("depth", 2),
        ("width", 0),
        ("shortcut", "conv"),
        ("momentum", 1.0),
        ("epsilon", 0.0),
    ],
)
def test_impossible_values_are_named(field, value):
    with pytest.raises(ValueError, match=f"^{field} must be .*{value}"):
        ResNet(**{field: value})
