import keras
import numpy as np
import pytest

from modelzoo.models.cnn import CNN

GREY, COLOUR = (28, 28, 1), (32, 32, 3)


def build(config, shape=(8, 8, 1), num_outputs=3):
    return config.build(keras.InputSpec(shape=(None, *shape)), num_outputs)


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


@pytest.mark.field("CNN.kernel_size", "CNN.pooling")
def test_forward_pass_by_hand():
    def set_weights(model, *weights):
        model.set_weights([np.float32(weight) for weight in (np.ones((2, 2, 1, 1)), *weights)])

    x = np.arange(9, dtype="float32").reshape(1, 3, 3, 1)
    # Window sums 8, 12, 20, 24, less 10, without the negative one: 0, 2, 10, 14.
    model = build(CNN((1,), kernel_size=2, dense=(), pooling="average"), (3, 3, 1), 2)
    set_weights(model, [-10.0], [[2.0, -1.0]], [0.0, 0.5])
    np.testing.assert_allclose(model(x), [[13.0, -6.0]])
    model = build(CNN((1,), kernel_size=2, dense=(1,), pooling="max"), (3, 3, 1), 2)
    set_weights(model, [-10.0], [[3.0]], [-2.0], [[2.0, -1.0]], [0.0, 0.5])
    np.testing.assert_allclose(model(x), [[80.0, -39.5]])


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
    ("policy", "logits", "variables"),
    [("mixed_bfloat16", "float32", "float32"), ("float64", "float64", "float64")],
)
def test_precision(policy, logits, variables):
    keras.config.set_dtype_policy(policy)
    model = build(CNN((2,), dense=(4,)))
    assert model(np.ones((2, 8, 8, 1))).dtype == logits
    assert {v.dtype for v in model.variables} == {variables}
    assert model.get_layer("conv1").output.dtype == keras.config.dtype_policy().compute_dtype


def test_keras_file_gives_the_same_model(tmp_path):
    model = build(CNN((2,), dense=(4,), dropout=0.5, l2=0.1))
    model.save(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype("float32")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(x), model(x))


@pytest.mark.parametrize(
    ("config", "number"),
    [
        (CNN((4, 4)), 2),
        (CNN((4, 4, 4, 4), padding="same"), 4),
        (CNN((4,), kernel_size=9, pool_last=False), 1),
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
