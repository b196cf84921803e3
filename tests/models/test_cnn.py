import keras
import numpy as np
import pytest

from modelzoo.fields.input_specs import ArraySpec
from modelzoo.models.cnn import CNN
from modelzoo.models.layers.batch_norm import BatchNorm

GREY, COLOUR = (28, 28, 1), (32, 32, 3)


def build(config, shape=(8, 8, 1), num_outputs=3):
    return config.build({"image": ArraySpec("image", shape)}, num_outputs)


# Kernels and biases of the convolutions, then of the dense layers. The image's side goes
# 28-26-13-11-5, 28-26-13-11-5-3 and 32-30-15-13-6.
@pytest.mark.field("CNN.filters", "CNN.dense", "CNN.pool_last")
@pytest.mark.parametrize(
    ("config", "shape", "parameters"),
    [
        (CNN((32, 64), dense=(128,)), GREY, 320 + 18_496 + (25 * 64 + 1) * 128 + 1_290),
        (
            CNN((32, 64, 64), pool_last=False, dense=(64,)),
            GREY,
            320 + 18_496 + 36_928 + (9 * 64 + 1) * 64 + 650,
        ),
        (CNN((64, 128), dense=(1000,)), COLOUR, 1_792 + 73_856 + (36 * 128 + 1) * 1000 + 10_010),
    ],
)
def test_sizes_of_the_textbook_nets(config, shape, parameters):
    assert build(config, shape, 10).count_params() == parameters


# Kernels, and gain and offset of each channel; only the logits have a bias.
@pytest.mark.field("CNN.convolutions", "CNN.batch_norm", "CNN.end")
def test_sizes_with_several_normalized_convolutions():
    model = build(
        CNN((32, 64), convolutions=2, padding="same", batch_norm=True, end="mean", dense=()),
        GREY,
        10,
    )
    kernels = 9 * (1 * 32 + 32 * 32 + 32 * 64 + 64 * 64)
    trainable = sum(v.shape.num_elements() for v in model.trainable_variables)
    assert trainable == kernels + 2 * 2 * (32 + 64) + 64 * 10 + 10
    assert model.count_params() - trainable == 2 * 2 * (32 + 64)
    names = [layer.name for layer in model.layers if "conv" in layer.name]
    one = ["", "_norm", "_relu"]
    assert names == [f"conv{k}_{i}{end}" for k in (1, 2) for i in (1, 2) for end in one]
    assert model.get_layer("mean").output.shape == (None, 64)


@pytest.mark.field("CNN.batch_norm", "CNN.end")
def test_normalized_forward_pass_is_plain_operations():
    model = build(
        CNN((2, 3), convolutions=2, batch_norm=True, pool_last=False, end="mean", dense=(4,)),
        (16, 14, 2),
    )
    rng = np.random.default_rng(0)
    for v in model.variables:
        v.assign(rng.uniform(0.3, 1.5, v.shape) if "norm" in v.path else rng.normal(size=v.shape))
    weights = {v.path: v.numpy().astype("float64") for v in model.variables}

    def convolution(x, name):
        windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
        x = np.einsum("nhwcij,ijco->nhwo", windows, weights[f"{name}/kernel"])
        gamma, beta, mean, variance = (
            weights[f"{name}_norm/{part}"]
            for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return np.maximum((x - mean) / np.sqrt(variance + 1e-5) * gamma + beta, 0.0)

    images = rng.normal(size=(2, 16, 14, 2))
    x = convolution(convolution(images, "conv1_1"), "conv1_2")
    x = x.reshape(2, 6, 2, 5, 2, 2).max(axis=(2, 4))
    x = convolution(convolution(x, "conv2_1"), "conv2_2").mean(axis=(1, 2))
    x = np.maximum(x @ weights["dense1/kernel"] + weights["dense1/bias"], 0.0)
    expected = x @ weights["logits/kernel"] + weights["logits/bias"]
    np.testing.assert_allclose(model({"image": images}), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.field("CNN.synchronized")
def test_statistics_are_over_all_replicas_or_each_its_own():
    for synchronized in (True, False):
        model = build(CNN((2,), batch_norm=True, synchronized=synchronized))
        norms = [layer for layer in model.layers if isinstance(layer, BatchNorm)]
        assert [norm.synchronized for norm in norms] == [synchronized]
    with pytest.raises(ValueError, match="^synchronized must be true without batch_norm, got"):
        CNN(synchronized=False)


@pytest.mark.field("CNN.kernel_size", "CNN.pooling")
def test_forward_pass_by_hand():
    def set_weights(model, *weights):
        model.set_weights([np.float32(weight) for weight in (np.ones((2, 2, 1, 1)), *weights)])

    x = np.arange(9, dtype="float32").reshape(1, 3, 3, 1)
    # Window sums 8, 12, 20, 24, less 10, without the negative one: 0, 2, 10, 14.
    model = build(CNN((1,), kernel_size=2, dense=(), pooling="average"), (3, 3, 1), 2)
    set_weights(model, [-10.0], [[2.0, -1.0]], [0.0, 0.5])
    np.testing.assert_allclose(model({"image": x}), [[13.0, -6.0]])
    model = build(CNN((1,), kernel_size=2, dense=(1,), pooling="max"), (3, 3, 1), 2)
    set_weights(model, [-10.0], [[3.0]], [-2.0], [[2.0, -1.0]], [0.0, 0.5])
    np.testing.assert_allclose(model({"image": x}), [[80.0, -39.5]])


@pytest.mark.field("CNN.padding")
def test_same_padding_keeps_the_size():
    model = build(CNN((2, 2), padding="same", pool_last=False))
    assert model.get_layer("conv1").output.shape == (None, 8, 8, 2)
    assert model.get_layer("conv2").output.shape == (None, 4, 4, 2)


@pytest.mark.field("CNN.l1", "CNN.l2")
def test_penalty_is_over_all_kernels():
    model = build(CNN((2,), dense=(3,), l1=0.5, l2=0.25))
    kernels = [v.numpy() for v in model.trainable_variables if v.name == "kernel"]
    assert len(kernels) == 3
    expected = sum(0.5 * np.abs(k).sum() + 0.25 * np.square(k).sum() for k in kernels)
    np.testing.assert_allclose(sum(float(loss) for loss in model.losses), expected, rtol=1e-5)
    assert build(CNN((2,))).losses == []


@pytest.mark.field("CNN.conv_dropout", "CNN.dropout")
def test_dropout_is_where_it_was_asked_for():
    def rates(config):
        dropouts = [n for n in build(config).layers if isinstance(n, keras.layers.Dropout)]
        return {layer.name: layer.rate for layer in dropouts}

    assert rates(CNN((2, 2), padding="same")) == {}
    assert rates(CNN((2, 2), conv_dropout=0.25, padding="same")) == {
        "conv1_dropout": 0.25,
        "conv2_dropout": 0.25,
    }
    assert rates(CNN((2,), dense=(4, 3), dropout=0.5)) == {
        "dense1_dropout": 0.5,
        "dense2_dropout": 0.5,
    }


@pytest.mark.parametrize(
    "config", [CNN((2,), dense=(4,)), CNN((2,), convolutions=2, batch_norm=True, end="mean")]
)
@pytest.mark.parametrize(
    ("policy", "logits", "variables"),
    [("mixed_bfloat16", "float32", "float32"), ("float64", "float64", "float64")],
)
def test_precision(policy, logits, variables, config):
    keras.config.set_dtype_policy(policy)
    model = build(config)
    assert model({"image": np.ones((2, 8, 8, 1))}).dtype == logits
    assert {v.dtype for v in model.variables} == {variables}
    assert model.layers[1].output.dtype == keras.config.dtype_policy().compute_dtype


@pytest.mark.parametrize(
    ("config", "number"),
    [
        (CNN((4, 4)), 2),
        (CNN((4, 4, 4, 4), padding="same"), 4),
        (CNN((4,), kernel_size=9, pool_last=False), 1),
        (CNN((4, 4), convolutions=2, end="mean"), 4),
    ],
)
def test_too_small_an_image_is_refused(config, number):
    with pytest.raises(ValueError, match=rf"^filters must .*8x8.* convolution {number}, got \("):
        build(config)


@pytest.mark.parametrize(
    "config", [CNN((4, 4), pool_last=False), CNN((4, 4, 4), padding="same"), CNN((4,), 7)]
)
def test_an_image_that_just_suffices_is_built(config):
    assert build(config).get_layer("flatten").output.shape == (None, 4)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("filters", ()),
        ("filters", (0,)),
        ("dense", (8, 0)),
        ("kernel_size", 0),
        ("convolutions", 0),
        ("end", "max"),
        ("padding", "full"),
        ("pooling", "mean"),
        ("conv_dropout", 1.0),
        ("dropout", -0.1),
        ("l1", -1.0),
        ("l2", -1.0),
    ],
)
def test_impossible_values_are_named(field, value):
    with pytest.raises(ValueError, match=rf"^{field} must .*, got "):
        CNN(**{field: value})


def test_dropout_needs_dense_layers():
    with pytest.raises(ValueError, match=r"^dropout must be 0.0 without dense layers, got 0.5"):
        CNN(dense=(), dropout=0.5)
