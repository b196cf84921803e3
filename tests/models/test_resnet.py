import functools
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import modelzoo
from modelzoo import config
from modelzoo.data import Augment, ClassFolders, ClassLabel, Dataset
from modelzoo.data import Image as ImageInput
from modelzoo.fields.input_specs import ArraySpec, MaskSpec, TokenSpec
from modelzoo.models.layers.batch_norm import BatchNorm
from modelzoo.models.resnet import IMAGENET_BLOCKS, ResNet
from modelzoo.optimizers import SGD
from modelzoo.tasks import Classification
from modelzoo.training import checkpoint
from modelzoo.training.config import TrainConfig

# ImageNet networks with published sizes; "" and "V2" are suffixes of keras.applications.
KNOWN = {
    "": {"downsample": "1x1", "conv_bias": True, "epsilon": 1.001e-5},
    "V2": {"preactivation": True, "downsample": "last", "conv_bias": True, "epsilon": 1.001e-5},
    "torchvision": {},
    "wide": {"widen": 2},
}
# One of each kind, small.
KINDS = {
    "cifar": ResNet(8, width=4),
    "projection": ResNet(8, width=4, shortcut="projection"),
    "imagenet": ResNet(18, width=2, family="imagenet", dropout=0.5, conv_bias=True),
    "wide": ResNet(
        10, width=4, widen=2, preactivation=True, block_dropout=0.3, stochastic_depth=0.2
    ),
}


def spec(*shape):
    return {"image": ArraySpec("image", shape)}


def parameters(model, kind="weights"):
    return sum(v.shape.num_elements() for v in getattr(model, kind))


def trainable(model):
    return parameters(model, "trainable_variables")


# The paper's table 6 gives 0.27, 0.46, 0.66, 0.85 and 1.7 million.
@pytest.mark.field("ResNet.depth")
@pytest.mark.parametrize(
    ("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.73)]
)
def test_sizes_of_the_paper(depth, millions):
    n = (depth - 2) // 6
    expected = 9 * 3 * 16 + 32  # stem and its normalization
    expected += 2 * n * (9 * 16 * 16 + 32)
    expected += 9 * 16 * 32 + 64 + (2 * n - 1) * (9 * 32 * 32 + 64)
    expected += 9 * 32 * 64 + 128 + (2 * n - 1) * (9 * 64 * 64 + 128)
    expected += 64 * 10 + 10
    assert trainable(ResNet(depth).build(spec(32, 32, 3), 10)) == expected
    assert round(expected / 1e6, 2) == millions


@pytest.mark.field("ResNet.shortcut", "ResNet.width")
def test_projection_adds_its_kernels_and_normalizations():
    padded = trainable(ResNet(8).build(spec(8, 8, 1), 10))
    projected = trainable(ResNet(8, shortcut="projection").build(spec(8, 8, 1), 10))
    assert projected - padded == 16 * 32 + 64 + 32 * 64 + 128


@pytest.fixture(scope="module")
def known():
    """Builds, once each, a net of `KNOWN` for 1,000 classes."""

    @functools.cache
    def build(name, depth):
        return ResNet(depth, family="imagenet", **KNOWN[name]).build(spec(64, 64, 3), 1000)

    return build


# All, and the trainable ones, as keras.applications and torchvision have them.
@pytest.mark.field("ResNet.family", "ResNet.conv_bias", "ResNet.widen", "ResNet.depth")
@pytest.mark.parametrize(
    ("name", "depth", "total", "trained"),
    [
        ("", 50, 25_636_712, 25_583_592),
        ("", 101, 44_707_176, 44_601_832),
        ("", 152, 60_419_944, 60_268_520),
        ("V2", 50, 25_613_800, 25_568_360),
        ("V2", 101, 44_675_560, 44_577_896),
        ("V2", 152, 60_380_648, 60_236_904),
        ("torchvision", 18, None, 11_689_512),
        ("torchvision", 34, None, 21_797_672),
        ("torchvision", 50, None, 25_557_032),
        ("torchvision", 101, None, 44_549_160),
        ("torchvision", 152, None, 60_192_808),
        ("wide", 50, None, 68_883_240),
    ],
)
def test_sizes_for_imagenet(known, name, depth, total, trained):
    # Deeper nets, slow to build, have more of a stage's inner blocks, which are all alike.
    base = 50 if depth > 50 else 18 if depth == 34 else depth
    model = known(name, base)
    more = [a - b for a, b in zip(IMAGENET_BLOCKS[depth], IMAGENET_BLOCKS[base], strict=True)]
    for kind, expected in (("weights", total), ("trainable_variables", trained)):
        inner = [0] * 4
        for v in getattr(model, kind):
            if re.match(r"stage\d_block2_", v.path):
                inner[int(v.path[5]) - 1] += v.shape.num_elements()
        assert expected in (None, parameters(model, kind) + np.dot(more, inner))


# Zagoruyko and Komodakis give 2.7, 8.9 and 36.5 million.
@pytest.mark.field("ResNet.widen", "ResNet.preactivation")
@pytest.mark.parametrize(
    ("depth", "widen", "expected"),
    [(16, 4, 2_748_890), (40, 4, 8_949_210), (28, 10, 36_479_194)],
)
def test_sizes_of_wide_nets(depth, widen, expected):
    config = ResNet(depth, widen=widen, preactivation=True)
    assert trainable(config.build(spec(32, 32, 3), 10)) == expected


def our_name(name, version):
    """Our name for a layer of keras.applications."""
    name = name.replace("predictions", "logits").replace("post_bn", "end_norm")
    name = re.sub("^conv1_", "stem_", name)
    name = re.sub(r"^conv(\d)_", lambda match: f"stage{int(match[1]) - 1}_", name)
    if version == "V2":
        name = re.sub(r"_(\d)_bn", lambda match: f"_{int(match[1]) + 1}_norm", name)
        name = name.replace("_preact_bn", "_1_norm")
    return name.replace("_0_", "_shortcut_").replace("_bn", "_norm")


@pytest.mark.field("ResNet.downsample", "ResNet.conv_bias", "ResNet.epsilon")
@pytest.mark.parametrize("version", ["", "V2"])
def test_forward_pass_is_keras_applications(known, version):
    ours = known(version, 50)
    theirs = getattr(keras.applications, f"ResNet50{version}")(
        weights=None, input_shape=(64, 64, 3), classes=1000, classifier_activation=None
    )
    rng = np.random.default_rng(0)
    for v in theirs.weights:
        if "kernel" not in v.path:
            positive = "variance" in v.path or "gamma" in v.path
            v.assign(rng.uniform(0.5, 1.2, v.shape) if positive else rng.normal(0, 0.1, v.shape))
    for layer in theirs.layers:
        if layer.weights:
            ours.get_layer(our_name(layer.name, version)).set_weights(layer.get_weights())
    x = rng.normal(size=(2, 64, 64, 3)).astype("float32")
    expected = theirs(x)
    assert np.std(expected) > 0.1
    np.testing.assert_allclose(
        ours({"image": x}), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max()
    )


def randomize(model):
    """Gives every variable values of its own; variances stay positive."""
    rng = np.random.default_rng(1)
    for variable in model.variables:
        noise = rng.normal(size=variable.shape) * 0.3
        is_gain = variable.name in ("gamma", "moving_variance")
        variable.assign(np.abs(noise) + 0.5 if is_gain else noise)


def reference(model, x, stages, shortcut, preactivation=False):
    """The network of blocks of two written out with plain operations; returns logits."""
    weights = {v.path: tf.convert_to_tensor(v) for v in model.variables}

    def conv(x, name, stride):
        kernel = weights[f"{name}_conv/kernel"]
        pad = kernel.shape[0] // 2
        y = tf.nn.conv2d(x, kernel, stride, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
        return y + weights.get(f"{name}_conv/bias", 0.0)

    def norm(x, name):
        gamma, beta, mean, variance = (
            weights[f"{name}_norm/{part}"]
            for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return (x - mean) / tf.sqrt(variance + 1e-5) * gamma + beta

    def shortened(x, name, stride, channels):
        if x.shape[-1] == channels:
            return x
        if shortcut == "projection":
            x = conv(x, f"{name}_shortcut", stride)
            return x if preactivation else norm(x, f"{name}_shortcut")
        x = x[:, ::stride, ::stride]
        return tf.concat([x, tf.zeros([*x.shape[:-1], channels - x.shape[-1]])], axis=-1)

    x = conv(x, "stem", 1 if len(stages) == 3 else 2)
    if not preactivation:
        x = tf.nn.relu(norm(x, "stem"))
    if len(stages) == 4:
        x = tf.nn.max_pool2d(x, 3, 2, [[0, 0], [1, 1], [1, 1], [0, 0]])
    for stage, blocks in enumerate(stages, 1):
        for block in range(1, blocks + 1):
            name = f"stage{stage}_block{block}"
            stride = 2 if stage > 1 and block == 1 else 1
            channels = weights[f"{name}_2_conv/kernel"].shape[-1]
            if preactivation:
                y = tf.nn.relu(norm(x, f"{name}_1"))
                x = x if x.shape[-1] == channels else shortened(y, name, stride, channels)
                y = tf.nn.relu(norm(conv(y, f"{name}_1", stride), f"{name}_2"))
                x = x + conv(y, f"{name}_2", 1)
            else:
                y = tf.nn.relu(norm(conv(x, f"{name}_1", stride), f"{name}_1"))
                y = norm(conv(y, f"{name}_2", 1), f"{name}_2")
                x = tf.nn.relu(shortened(x, name, stride, channels) + y)
    if preactivation:
        x = tf.nn.relu(norm(x, "end"))
    x = tf.reduce_mean(x, axis=(1, 2))
    return x @ weights["logits/kernel"] + weights["logits/bias"]


def assert_is_reference(config, size, *structure):
    model = config.build(spec(size, size, 2), 3)
    randomize(model)
    x = np.random.default_rng(0).normal(size=(2, size, size, 2)).astype("float32")
    expected = reference(model, x, *structure)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(model({"image": x}), expected, rtol=1e-4, atol=1e-4 * max(scale, 1))


@pytest.mark.parametrize("shortcut", ["pad", "projection"])
@pytest.mark.parametrize("size", [8, 5])
def test_forward_pass_is_the_networks(shortcut, size):
    assert_is_reference(ResNet(14, width=4, shortcut=shortcut), size, (2, 2, 2), shortcut)


@pytest.mark.field("ResNet.preactivation", "ResNet.widen")
@pytest.mark.parametrize(("shortcut", "size", "widen"), [(None, 8, 2), ("pad", 5, 3)])
def test_forward_pass_of_a_wide_net_with_preactivation(shortcut, size, widen):
    config = ResNet(16, width=4, widen=widen, preactivation=True, shortcut=shortcut)
    assert_is_reference(config, size, (2, 2, 2), shortcut or "projection", True)


@pytest.mark.field("ResNet.family")
@pytest.mark.parametrize(("shortcut", "bias"), [(None, False), ("pad", True)])
def test_forward_pass_for_imagenet(shortcut, bias):
    config = ResNet(18, family="imagenet", width=3, shortcut=shortcut, conv_bias=bias)
    assert_is_reference(config, 37, (2, 2, 2, 2), shortcut or "projection")


@pytest.mark.field("ResNet.downsample")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", {f"stage{stage}_block1_1_conv" for stage in (2, 3, 4)}),
        ("V2", {"stage1_block3_2_conv", "stage2_block4_2_conv", "stage3_block6_2_conv"}),
        ("wide", {f"stage{stage}_block1_2_conv" for stage in (2, 3, 4)}),
    ],
)
def test_one_convolution_of_a_bottleneck_halves_the_image(known, name, expected):
    model = known(name, 50)
    convolutions = [n for n in model.layers if isinstance(n, keras.layers.Conv2D)]
    halving = {layer.name for layer in convolutions if layer.strides == (2, 2)}
    assert {name for name in halving if "shortcut" not in name} - {"stem_conv"} == expected
    assert model.get_layer("pool").input.shape[1:3] == (2, 2)


def test_basic_blocks_can_halve_the_image_before_the_next_stage():
    model = ResNet(14, width=4, downsample="last").build(spec(8, 8, 1), 3)
    added = [layer for layer in model.layers if layer.name.endswith("_add")]
    sizes = [layer.output.shape[1] for layer in added]
    assert sizes == [8, 4, 4, 2, 2, 2]


def dropouts(model):
    kept = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    return {layer.name: layer.rate for layer in kept}


@pytest.mark.field("ResNet.dropout", "ResNet.block_dropout")
def test_dropout_is_where_it_was_asked_for():
    model = ResNet(8, width=4, dropout=0.5).build(spec(8, 8, 1), 3)
    assert dropouts(model) == {"dropout": 0.5}
    assert model.layers[-2].name == "dropout"
    config = ResNet(10, width=4, preactivation=True, block_dropout=0.3)
    model = config.build(spec(8, 8, 1), 3)
    assert dropouts(model) == {f"stage{stage}_block1_dropout": 0.3 for stage in (1, 2, 3)}
    into = model.get_layer("stage2_block1_2_conv").input
    assert into is model.get_layer("stage2_block1_dropout").output


@pytest.mark.field("ResNet.stochastic_depth")
def test_examples_skip_blocks_and_later_ones_more_often():
    model = ResNet(14, width=4, stochastic_depth=0.6).build(spec(8, 8, 1), 3)
    rates = list(dropouts(model).values())
    np.testing.assert_allclose(rates, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    # The step sets the seeds of what is random, and knows them by this.
    assert len(model.variables) - len(model.weights) == 6
    names = "stage3_block2_2_norm", "stage3_block2_skip"
    both = keras.Model(model.input, [model.get_layer(name).output for name in names])
    x = np.random.default_rng(0).normal(size=(200, 8, 8, 1)).astype("float32")
    branch, kept = (np.array(y) for y in both({"image": x}, training=True))
    skipped = ~kept.any(axis=(1, 2, 3))
    assert 90 < skipped.sum() < 150  # 120 of 200, by four standard deviations
    np.testing.assert_allclose(kept[~skipped], branch[~skipped] / 0.4, rtol=1e-5)
    branch, kept = (np.array(y) for y in both({"image": x}, training=False))
    np.testing.assert_array_equal(branch, kept)


@pytest.mark.parametrize("kind", KINDS)
def test_keras_file_gives_the_same_model(tmp_path, kind):
    model = KINDS[kind].build(spec(8, 8, 1), 3)
    randomize(model)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype("float32")
    np.testing.assert_array_equal(again({"image": x}), model({"image": x}))
    assert [v.path for v in again.weights] == [v.path for v in model.weights]


@pytest.mark.parametrize("kind", ["cifar", "imagenet", "wide"])
def test_bfloat16_keeps_float32_variables_and_logits(kind):
    exact = KINDS[kind].build(spec(8, 8, 1), 3)
    randomize(exact)
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = KINDS[kind].build(spec(8, 8, 1), 3)
    model.set_weights(exact.get_weights())
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype("float32")
    logits = model({"image": x})
    assert logits.dtype == "float32"
    assert {v.dtype for v in model.weights} == {"float32"}
    assert {layer.output.dtype for layer in model.layers[1:-1]} == {"bfloat16"}
    assert 0 < np.abs(logits - exact({"image": x})).max() < 0.05 * np.abs(logits).max()


@pytest.mark.parametrize("kind", ["cifar", "imagenet", "wide"])
def test_float64_is_float64_throughout(kind):
    keras.config.set_dtype_policy("float64")
    model = KINDS[kind].build(spec(8, 8, 1), 3)
    assert {layer.output.dtype for layer in model.layers} == {"float64"}
    assert {v.dtype for v in model.weights} == {"float64"}


@pytest.mark.field("ResNet.momentum", "ResNet.epsilon", "ResNet.synchronized", "ResNet.zero_gamma")
def test_fields_reach_the_normalization():
    model = ResNet(
        8, width=4, momentum=0.5, epsilon=0.25, synchronized=False, zero_gamma=True
    ).build(spec(8, 8, 1), 3)
    norms = [layer for layer in model.layers if isinstance(layer, BatchNorm)]
    assert {(n.momentum, n.epsilon, n.synchronized) for n in norms} == {(0.5, 0.25, False)}
    silent = [n.name for n in norms if not np.any(n.gamma)]
    assert silent == [f"stage{stage}_block1_2_norm" for stage in (1, 2, 3)]


@pytest.mark.parametrize(
    ("field", "value", "others"),
    [
        ("depth", 18, {}),
        ("depth", 2, {}),
        ("depth", 22, {}),
        ("depth", 18, {"preactivation": True}),
        ("depth", 20, {"family": "imagenet"}),
        ("width", 0, {}),
        ("widen", 0, {}),
        ("family", "mnist", {}),
        ("downsample", "first", {}),
        ("downsample", "1x1", {"family": "imagenet", "depth": 34}),
        ("shortcut", "conv", {}),
        ("momentum", 1.0, {}),
        ("epsilon", 0.0, {}),
        ("dropout", 1.0, {}),
        ("block_dropout", -0.1, {}),
        ("stochastic_depth", 1.0, {}),
        ("zero_gamma", True, {"preactivation": True}),
    ],
)
def test_impossible_values_are_named(field, value, others):
    with pytest.raises(ValueError, match=f"^{field} must be .*{value}"):
        ResNet(**{field: value, **others})


def test_depths_of_wide_nets_count_their_projections():
    for depth in (14, 16):
        model = ResNet(depth, width=2, preactivation=True).build(spec(8, 8, 1), 2)
        assert len([layer for layer in model.layers if layer.name.endswith("_add")]) == 6


def test_fifty_layers_train_on_a_folder_of_images_of_all_sorts(tmp_path):
    rng = np.random.default_rng(0)
    kinds = [("L", "png"), ("RGBA", "png"), ("P", "png"), ("RGB", "jpg")]
    for split in ("train", "test"):
        for name in ("ant", "bee"):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for number, (mode, suffix) in enumerate(kinds):
                size = (40 + 9 * number, 90 - 13 * number)
                image = Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).convert(mode)
                image.save(tmp_path / "images" / split / name / f"{number}.{suffix}")
    experiment = config.Experiment(
        model=ResNet(50, width=4, family="imagenet", zero_gamma=True, stochastic_depth=0.2),
        task=Classification(),
        data=Dataset(
            source=ClassFolders(str(tmp_path / "images")),
            inputs=ImageInput(size=(64, 64), channels=3, augment=Augment(flip=True)),
            target=ClassLabel(),
        ),
        optimizer=SGD(0.01),
        train=TrainConfig(steps=2, batch_size=8, checkpoint_every=1),
    )
    result = modelzoo.train(experiment, tmp_path / "run")
    assert np.sum(result["eval"]["test"]["confusion"]) == 8
    assert np.isfinite(result["eval"]["test"]["loss"])
    one, two = (checkpoint.read(checkpoint.find(tmp_path / "run", step)) for step in (1, 2))
    for end in ("stem_conv/kernel", "stage4_block3_3_norm/gamma", "logits/kernel"):
        assert np.any(one[f"model/{end}"] != two[f"model/{end}"])


@pytest.mark.parametrize(
    ("inputs", "got"),
    [
        ({}, "none"),
        ({"series": ArraySpec("series", (8, 1))}, r"series \(series\)"),
        (
            {"left": ArraySpec("image", (8, 8, 1)), "right": ArraySpec("image", (8, 8, 1))},
            r"left \(image\), right \(image\)",
        ),
        (
            {"tokens": TokenSpec(9, "mask"), "mask": MaskSpec(), **spec(8, 8, 1)},
            r"tokens \(tokens\), mask \(mask\), image \(image\)",
        ),
    ],
)
def test_other_inputs_than_one_image_are_refused(inputs, got):
    with pytest.raises(ValueError, match=f"^inputs must be one of kind image, got {got}: choose"):
        ResNet(8).build(inputs, 3)


def test_the_input_may_have_any_name():
    plain = ResNet(8, width=4).build(spec(8, 8, 1), 3)
    named = ResNet(8, width=4).build({"scan/image": ArraySpec("image", (8, 8, 1))}, 3)
    named.set_weights(plain.get_weights())
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype("float32")
    np.testing.assert_array_equal(named({"scan/image": x}), plain({"image": x}))
    assert [v.path for v in named.variables] == [v.path for v in plain.variables]
