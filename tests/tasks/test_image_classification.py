"""The task's features, loss, config checks and serving signatures."""

import dataclasses
import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from modelzoo.data.augment import Augment
from modelzoo.data.spec import ImageSpec
from modelzoo.fields.errors import UserError
from modelzoo.models.cnn import CNN
from modelzoo.models.resnet import ResNet
from modelzoo.tasks.image_classification import ImageClassification

SPEC = ImageSpec(height=4, width=6, channels=3, class_names=("ant", "bee", "cat"))


@dataclasses.dataclass(frozen=True)
class Linear:
    """A model config, as small as they come."""

    def build(self, input_spec, num_outputs):
        inputs = keras.Input(input_spec.shape[1:], name="image")
        x = keras.layers.Flatten(name="flatten")(inputs)
        return keras.Model(inputs, keras.layers.Dense(num_outputs, name="logits")(x))


def _images(n=5, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *SPEC.shape), np.uint8)


def _png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def _softmax(logits):
    exp = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


def test_features_normalise_to_minus_one_to_one_by_default_and_pass_the_rest_through():
    task = ImageClassification().bind(SPEC)
    image = _images()
    rest = {"label": tf.range(5), "weight": tf.ones(5), "index": tf.range(5) + 7}
    batch = task.features({"image": tf.constant(image), **rest}, training=False)
    assert batch["image"].dtype == tf.float32
    np.testing.assert_allclose(batch["image"], image / 127.5 - 1, atol=1e-6)
    assert {k: v for k, v in batch.items() if k != "image"} == rest


@pytest.mark.field("ImageInputs.mean", "ImageInputs.std")
def test_features_use_mean_and_std_of_each_channel():
    mean, std = (0.1, 0.5, 0.8), (0.2, 1.0, 0.25)
    task = ImageClassification(mean=mean, std=std).bind(SPEC)
    image = _images()
    batch = task.features({"image": tf.constant(image)}, training=False)
    np.testing.assert_allclose(
        batch["image"], (image / 255 - np.array(mean)) / np.array(std), atol=1e-5
    )


def test_encoded_and_decoded_images_give_the_same_features():
    task = ImageClassification().bind(SPEC)
    image = _images()
    encoded = tf.constant([_png(one) for one in image])
    np.testing.assert_array_equal(
        task.features({"encoded": encoded}, training=False)["image"],
        task.features({"image": tf.constant(image)}, training=False)["image"],
    )


def test_only_training_augments():
    task = ImageClassification(augment=Augment(flip=True)).bind(SPEC)
    image = _images(n=32)
    seeds = tf.stack([tf.zeros(32, tf.int64), tf.range(32, dtype=tf.int64)], axis=1)
    raw = {"image": tf.constant(image)}
    plain = task.features(raw, training=False)["image"].numpy()
    augmented = task.features(raw, training=True, seeds=seeds)["image"].numpy()
    flipped = (augmented == plain[:, :, ::-1]).all(axis=(1, 2, 3))
    kept = (augmented == plain).all(axis=(1, 2, 3))
    assert (flipped | kept).all()
    assert 0 < flipped.sum() < 32


def _seeds(n):
    return tf.stack([tf.zeros(n, tf.int64), tf.range(n, dtype=tf.int64)], axis=1)


def test_erased_pixels_have_the_mean_which_is_zero():
    augment = Augment(erasing=1.0, erasing_area=(0.3, 0.6))
    task = ImageClassification(augment=augment, mean=(0.2, 0.5, 0.9), std=(0.1, 0.2, 0.3)).bind(
        SPEC
    )
    image = tf.constant(_images(n=8))
    batch = task.features({"image": image}, training=True, seeds=_seeds(8))
    plain = task.features({"image": image}, training=False)["image"].numpy()
    changed = (batch["image"].numpy() != plain).any(axis=-1)
    assert changed.any(axis=(1, 2)).mean() > 0.8
    # As near to it as a pixel's 256 levels allow.
    assert (abs(batch["image"].numpy()[changed]) <= 0.501 / 255 / np.array([0.1, 0.2, 0.3])).all()


def test_a_mixed_batch_has_both_labels_and_shares_and_evaluation_has_not():
    task = ImageClassification(augment=Augment(mixup=1.0), mean=(0.2,) * 3, std=(0.3,) * 3).bind(
        SPEC
    )
    raw = {
        "image": tf.constant(_images(n=6)),
        "label": tf.constant([0, 1, 2, 0, 1, 1], tf.int64),
        "weight": tf.ones(6),
        "index": tf.range(6),
    }
    batch = task.features(raw, training=True, seeds=_seeds(6))
    plain = task.features(raw, training=False)
    assert plain.keys() == raw.keys()
    np.testing.assert_array_equal(batch["label_2"], [1, 0, 0, 2, 1, 1])
    share = batch["mix"].numpy()[:, None, None, None]
    own = plain["image"].numpy()
    expected = share * own + (1 - share) * own[[1, 0, 3, 2, 5, 4]]
    np.testing.assert_allclose(batch["image"], expected, atol=1e-5)
    for name in ("label", "index", "weight"):
        np.testing.assert_array_equal(batch[name], raw[name])


def test_loss_and_accuracy_of_a_mixed_batch_are_those_of_its_soft_targets():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(4, 3)).astype(np.float32)
    first, second = np.array([0, 1, 2, 1]), np.array([1, 0, 1, 1])
    share, weights = np.array([0.3, 0.9, 1.0, 0.6]), np.array([1.0, 2.0, 0.5, 1.0])
    batch = {
        "label": tf.constant(first),
        "label_2": tf.constant(second),
        "mix": tf.constant(share, tf.float32),
        "weight": tf.constant(weights, tf.float32),
    }
    config = ImageClassification(label_smoothing=0.3, class_weights=(1.0, 3.0, 0.5))
    outputs = {"logits": tf.constant(logits)}
    total, weight = config.bind(SPEC).loss(outputs, batch)
    # Each row's target, with its weight and the classes', smoothed.
    factors = np.array(config.class_weights)
    own = (weights * share)[:, None] * np.eye(3)[first] * factors
    other = (weights * (1 - share))[:, None] * np.eye(3)[second] * factors
    targets = own + other
    smoothed = 0.7 * targets + 0.3 * targets.sum(axis=1, keepdims=True) / 3
    expected = -(smoothed * np.log(_softmax(logits.astype(np.float64)))).sum()
    np.testing.assert_allclose([total, weight], [expected, targets.sum()], rtol=1e-5)

    sums = config.bind(SPEC).sums(outputs, batch, training=True)
    best = logits.argmax(axis=1)
    hits = weights * (share * (best == first) + (1 - share) * (best == second))
    np.testing.assert_allclose(sums["correct"], hits.sum(), rtol=1e-5)
    np.testing.assert_allclose(sums["weight"], weights.sum(), rtol=1e-6)


@pytest.mark.field("ClassTargets.label_smoothing", "ClassTargets.class_weights")
def test_loss_is_smoothed_and_class_weighted_and_the_sums_are_not():
    logits = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    labels, weights = np.array([0, 1, 2, 1]), np.array([1.0, 2.0, 0.5, 0.0], np.float32)
    batch = {"label": tf.constant(labels), "weight": tf.constant(weights)}
    outputs = {"logits": tf.constant(logits)}
    config = ImageClassification(label_smoothing=0.3, class_weights=(1.0, 3.0, 0.5))
    log_probabilities = np.log(_softmax(logits.astype(np.float64)))

    total, weight = config.bind(SPEC).loss(outputs, batch)
    factors = weights * np.array(config.class_weights)[labels]
    each = -((0.7 * np.eye(3)[labels] + 0.1) * log_probabilities).sum(axis=1)
    np.testing.assert_allclose([total, weight], [(each * factors).sum(), factors.sum()], rtol=1e-5)

    sums = config.bind(SPEC).sums(outputs, batch)
    plain = -(log_probabilities[np.arange(4), labels] * weights).sum()
    np.testing.assert_allclose([sums["loss"], sums["weight"]], [plain, 3.5], rtol=1e-5)
    assert config.bind(SPEC).scores(sums)["per_class"].keys() == set(SPEC.class_names)


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("mixed_bfloat16", "float32"), ("float32", "float32"), ("float64", "float64")],
)
def test_logits_are_at_least_float32(precision, expected):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        task = ImageClassification().bind(SPEC)
        model = task.build_model(Linear())
        batch = task.features({"image": tf.constant(_images())}, training=False)
        assert task.outputs(model, batch)["logits"].dtype == expected
    finally:
        keras.config.set_dtype_policy(before)


def test_the_data_is_described_in_a_few_words():
    assert ImageClassification().bind(SPEC).describe() == "3 classes, images 4x6x3"


@pytest.mark.parametrize(
    "model", [CNN(filters=(4,), padding="same", dense=(8,), dropout=0.5), ResNet(8, width=4)]
)
def test_evaluation_lowers_to_xla(model):
    # Seven classes, so that the five best are counted too.
    task = ImageClassification().bind(ImageSpec(8, 8, 1, tuple("abcdefg")))
    model = task.build_model(model)
    rng = np.random.default_rng(0)
    batch = {
        "image": tf.constant(rng.normal(size=[6, 8, 8, 1]), tf.float32),
        "label": tf.constant(rng.integers(0, 7, 6)),
        "weight": tf.constant([1.0, 2.0, 0.0, 1.0, 1.0, 0.5]),
    }

    def step(batch):
        return task.sums(task.outputs(model, batch), batch)

    compiled = tf.function(step, jit_compile=True, autograph=False)
    expected = step(batch)
    got = compiled(batch)
    assert got.keys() == expected.keys() == {"correct", "weight", "loss", "top5", "confusion"}
    for name in expected:
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("n", [0, 1, 5])
def test_signatures_give_softmax_scores_and_class_names(n):
    task = ImageClassification().bind(SPEC)
    model = task.build_model(Linear())
    image = _images(n)
    kernel, bias = (weight.numpy() for weight in model.weights)
    expected = _softmax((image / 127.5 - 1).reshape(n, 4 * 6 * 3) @ kernel + bias)
    signatures = task.signatures(model)
    encoded = tf.constant([_png(one) for one in image], tf.string)
    for result in (
        signatures["serving_default"](tf.constant(image)),
        signatures["image_bytes"](encoded),
    ):
        assert result["scores"].dtype == tf.float32
        np.testing.assert_allclose(result["scores"], expected, atol=1e-5)
        names = [SPEC.class_names[i] for i in expected.argmax(axis=-1)]
        assert [name.decode() for name in result["classes"].numpy()] == names


@pytest.mark.parametrize(
    "broken", [b"", b"no image", _png(_images(1)[0])[:60]], ids=["empty", "text", "truncated"]
)
def test_a_broken_image_is_an_invalid_argument(broken):
    task = ImageClassification().bind(SPEC)
    image_bytes = task.signatures(task.build_model(Linear()))["image_bytes"]
    with pytest.raises(tf.errors.InvalidArgumentError):
        image_bytes(tf.constant([_png(_images(1)[0]), broken]))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("label_smoothing", -0.1),
        ("label_smoothing", 1.0),
        ("class_weights", (1.0, -1.0, 1.0)),
        ("class_weights", (0.0, 0.0, 0.0)),
        ("class_weights", ()),
        ("std", (0.1, 0.0, 0.1)),
    ],
)
def test_impossible_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=f"^{field} must be"):
        ImageClassification(**{field: value})


def test_what_cannot_be_augmented_is_refused_by_key():
    grey = dataclasses.replace(SPEC, channels=1)
    config = ImageClassification(augment=Augment(hue=0.1))
    assert config.bind(SPEC)
    with pytest.raises(UserError, match=r"config\.task\.augment\.hue needs images of 3 channels"):
        config.bind(grey)


@pytest.mark.parametrize(
    ("field", "value"), [("class_weights", (1.0, 2.0)), ("mean", (0.5,)), ("std", (0.5,) * 4)]
)
def test_lengths_that_do_not_fit_the_data_are_refused_by_key(field, value):
    with pytest.raises(UserError, match=rf"config\.task\.{field} .* 3 .* got {len(value)}"):
        ImageClassification(**{field: value}).bind(SPEC)
