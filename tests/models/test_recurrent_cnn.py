import keras
import numpy as np
import pytest

from modelzoo.fields.input_specs import ArraySpec
from modelzoo.models.layers.batch_norm import BatchNorm
from modelzoo.models.layers.local_response_norm import LocalResponseNorm
from modelzoo.models.recurrent_cnn import RecurrentCNN

SMALL = {
    norm: RecurrentCNN(filters=16, recurrent_layers=2, pool_after=(0, 1), steps=2, norm=norm)
    for norm in ("local_response", "batch")
}


def build(config, shape=(8, 9, 2), num_outputs=3):
    return config.build({"image": ArraySpec("image", shape)}, num_outputs)


# The paper's table 1: 0.67, 1.19 and 1.86 million.
@pytest.mark.field("RecurrentCNN.filters", "RecurrentCNN.recurrent_layers")
@pytest.mark.parametrize(("filters", "millions"), [(96, 0.67), (128, 1.19), (160, 1.86)])
def test_sizes_of_the_paper(filters, millions):
    model = build(RecurrentCNN(filters), (32, 32, 3), 10)
    expected = 75 * filters + filters
    expected += 4 * (2 * 9 * filters * filters + filters)
    expected += filters * 10 + 10
    assert model.count_params() == expected
    assert round(expected / 1e6, 2) == millions


@pytest.mark.field("RecurrentCNN.pool_after")
def test_pooling_follows_the_layers_that_were_asked_for():
    model = build(RecurrentCNN(16), (32, 32, 3))
    shapes = {
        name: model.get_layer(name).output.shape[1:3]
        for name in ("pool0", "recurrent2_3_norm", "pool2", "recurrent4_3_norm")
    }
    assert shapes == {
        "pool0": (16, 16),
        "recurrent2_3_norm": (16, 16),
        "pool2": (8, 8),
        "recurrent4_3_norm": (8, 8),
    }
    model = build(RecurrentCNN(16, pool_after=(4,)), (32, 32, 3))
    assert model.get_layer("recurrent4_3_norm").output.shape[1:3] == (32, 32)
    assert model.get_layer("max").input.shape[1:3] == (16, 16)


def reference(model, x, layers, pool_after, steps, batch):
    """The network in NumPy, float64; returns logits."""
    weights = {v.path: np.float64(v) for v in model.weights}

    def convolve(x, name):
        kernel = weights[f"{name}/kernel"]
        pad = kernel.shape[0] // 2
        padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[:2], axis=(1, 2))
        return np.einsum("nhwcij,ijco->nhwo", windows, kernel) + weights.get(f"{name}/bias", 0.0)

    def state(x, name):
        if batch:
            gamma, beta, mean, variance = (
                weights[f"{name}_norm/{part}"]
                for part in ("gamma", "beta", "moving_mean", "moving_variance")
            )
            return np.maximum((x - mean) / np.sqrt(variance + 1e-5) * gamma + beta, 0.0)
        x = np.maximum(x, 0.0)
        filters = x.shape[-1]
        reach = (filters // 8 + 1) // 2
        sums = np.stack(
            [(x[..., max(k - reach, 0) : k + reach + 1] ** 2).sum(axis=-1) for k in range(filters)],
            axis=-1,
        )
        return x / (1 + 0.001 / (filters // 8 + 1) * sums) ** 0.75

    def pool(x):
        # 3x3 windows with strides 2; if the padding is odd, the far side gets one more.
        outs = [-(-size // 2) for size in x.shape[1:3]]
        sides = [
            divmod(2 * out + 1 - size, 2) for out, size in zip(outs, x.shape[1:3], strict=True)
        ]
        margin = [(half, half + odd) for half, odd in sides]
        padded = np.pad(x, [(0, 0), *margin, (0, 0)], constant_values=-np.inf)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
        return windows[:, ::2, ::2].max(axis=(-2, -1))

    x = state(convolve(x, "conv"), "conv")
    for number in range(layers + 1):
        if number:
            name = f"recurrent{number}"
            from_input = convolve(x, f"{name}_input")
            x = state(from_input, f"{name}_0")
            for step in range(1, steps + 1):
                x = state(from_input + convolve(x, f"{name}_state"), f"{name}_{step}")
        x = pool(x) if number in pool_after else x
    return x.max(axis=(1, 2)) @ weights["logits/kernel"] + weights["logits/bias"]


@pytest.mark.field("RecurrentCNN.steps", "RecurrentCNN.norm", "RecurrentCNN.pool_after")
@pytest.mark.parametrize("norm", SMALL)
def test_forward_pass_is_the_networks(norm):
    model = build(SMALL[norm])
    rng = np.random.default_rng(1)
    for v in model.weights:
        if "kernel" not in v.path:
            positive = "variance" in v.path or "gamma" in v.path
            v.assign(rng.uniform(0.5, 1.5, v.shape) if positive else rng.normal(size=v.shape))
    # Large values, so that the neighbours matter.
    x = 50 * rng.normal(size=(2, 8, 9, 2))
    expected = reference(model, x, 2, (0, 1), 2, batch=norm == "batch")
    np.testing.assert_allclose(
        model({"image": x}), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max()
    )


def test_weights_are_shared_over_time_but_not_statistics():
    counts = [
        [len(build(RecurrentCNN(8, 1, (), steps, norm)).weights) for steps in (1, 3)]
        for norm in ("local_response", "batch")
    ]
    # Three convolutions and the logits; with batch normalization only the logits have a bias.
    assert counts[0] == [7, 7]
    assert counts[1] == [5 + 4 * 3, 5 + 4 * 5]


@pytest.mark.field("RecurrentCNN.steps")
def test_without_steps_nothing_recurs():
    names = {layer.name for layer in build(RecurrentCNN(8, 1, (), 0)).layers}
    assert "recurrent1_input" in names and "recurrent1_state" not in names


@pytest.mark.field("RecurrentCNN.norm", "RecurrentCNN.synchronized")
def test_fields_reach_the_normalization():
    model = build(RecurrentCNN(16, norm="batch", synchronized=False))
    norms = [layer for layer in model.layers if layer.name.endswith("_norm")]
    assert len(norms) == 1 + 4 * 4
    assert all(isinstance(n, BatchNorm) and not n.synchronized for n in norms)
    model = build(RecurrentCNN(96))
    norms = [layer for layer in model.layers if layer.name.endswith("_norm")]
    assert all(isinstance(n, LocalResponseNorm) for n in norms)
    assert {(n.size, n.alpha, n.beta) for n in norms} == {(13, 0.001, 0.75)}


@pytest.mark.field("RecurrentCNN.dropout")
def test_dropout_is_after_all_recurrent_layers_but_the_last():
    def rates(config):
        dropouts = [n for n in build(config).layers if isinstance(n, keras.layers.Dropout)]
        return {layer.name: layer.rate for layer in dropouts}

    assert rates(RecurrentCNN(8, dropout=0.0)) == {}
    assert rates(RecurrentCNN(8, dropout=0.3)) == {
        f"recurrent{number}_dropout": 0.3 for number in (1, 2, 3)
    }
    model = build(RecurrentCNN(8))
    assert model.get_layer("recurrent2_dropout").input is model.get_layer("pool2").output


@pytest.mark.parametrize("norm", SMALL)
def test_precision(norm):
    exact = build(SMALL[norm])
    x = np.random.default_rng(0).normal(size=(2, 8, 9, 2)).astype("float32")
    for policy, outer in (("mixed_bfloat16", "float32"), ("float64", "float64")):
        keras.config.set_dtype_policy(policy)
        model = build(SMALL[norm])
        model.set_weights(exact.get_weights())
        inner = keras.config.dtype_policy().compute_dtype
        assert {layer.output.dtype for layer in model.layers[1:-1]} == {inner}
        assert model({"image": x}).dtype == outer
        assert {v.dtype for v in model.weights} == {outer}
        error = (
            np.abs(np.subtract(model({"image": x}), exact({"image": x}))).max()
            / np.abs(exact({"image": x})).max()
        )
        assert error < (0.05 if inner == "bfloat16" else 1e-5)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("filters", 0),
        ("recurrent_layers", 0),
        ("steps", -1),
        ("pool_after", (0, 5)),
        ("norm", "layer"),
        ("synchronized", False),
        ("dropout", 1.0),
    ],
)
def test_impossible_values_are_named(field, value):
    with pytest.raises(ValueError, match=rf"^{field} must .*, got "):
        RecurrentCNN(**{field: value})
