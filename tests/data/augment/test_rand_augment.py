"""Each operation against PIL's own, bit for bit; against Keras's where that computes the same."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from modelzoo.data.augment import rand_augment

HEIGHT, WIDTH = 29, 37  # Enough pixels for the levels of equalize to be apart.
FILL = np.array([5, 60, 70], np.uint8)


def images_of(channels, count=16):
    """Noise, images of few values, of one value, and of a narrow range."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (count, HEIGHT, WIDTH, channels))
    low = rng.integers(0, 200, (count, 1, 1, channels))
    narrow = low + noise % rng.integers(1, 56, low.shape)
    noise[::2] = narrow[::2]
    noise[1] = 7
    noise[3] = noise[3] // 100 * 100
    return noise.astype(np.uint8)


def by_pil(pixels, operation, negative, magnitude):
    image = Image.fromarray(pixels if pixels.shape[-1] == 3 else pixels[..., 0])
    fill = tuple(FILL.tolist()) if pixels.shape[-1] == 3 else int(FILL[0])
    share, sign = magnitude / 10, -1 if negative else 1
    amount = share * sign

    def moved(*matrix):
        return image.transform(image.size, Image.Transform.AFFINE, matrix, fillcolor=fill)

    result = {
        "identity": lambda: image,
        "autocontrast": lambda: ImageOps.autocontrast(image),
        "equalize": lambda: ImageOps.equalize(image),
        "posterize": lambda: ImageOps.posterize(image, 8 - round(4 * share)),
        "solarize": lambda: ImageOps.solarize(image, round(256 * (1 - share))),
        "color": lambda: ImageEnhance.Color(image).enhance(1 + 0.9 * amount),
        "contrast": lambda: ImageEnhance.Contrast(image).enhance(1 + 0.9 * amount),
        "brightness": lambda: ImageEnhance.Brightness(image).enhance(1 + 0.9 * amount),
        "sharpness": lambda: ImageEnhance.Sharpness(image).enhance(1 + 0.9 * amount),
        "rotate": lambda: image.rotate(30 * amount, fillcolor=fill),
        "shear_x": lambda: moved(1, 0.3 * amount, 0, 0, 1, 0),
        "shear_y": lambda: moved(1, 0, 0, 0.3 * amount, 1, 0),
        "translate_x": lambda: moved(1, 0, int(150 / 331 * amount * WIDTH), 0, 1, 0),
        "translate_y": lambda: moved(1, 0, 0, 0, 1, int(150 / 331 * amount * HEIGHT)),
    }[operation]()
    return np.asarray(result).reshape(pixels.shape)


@pytest.mark.parametrize("magnitude", [0, 3.3, 9, 10])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("operation", rand_augment.OPERATIONS)
def test_an_operation_is_pils(operation, channels, magnitude):
    images = images_of(channels)
    negative = np.arange(len(images), dtype=np.int32) // 2 % 2
    got = rand_augment.apply(
        tf.constant(images),
        tf.fill([len(images)], rand_augment.OPERATIONS.index(operation)),
        tf.constant(negative),
        magnitude,
        FILL[:channels],
    )
    expected = [
        by_pil(image, operation, minus, magnitude)
        for image, minus in zip(images, negative, strict=True)
    ]
    np.testing.assert_array_equal(got, np.stack(expected))
    if operation != "identity" and magnitude == 9 and (channels, operation) != (1, "color"):
        assert (got.numpy() != images).any()


def by_keras(images, operation, negative, magnitude):
    """What Keras's layer makes of float images by the same amount."""
    share, sign = magnitude / 10, -1 if negative else 1
    factor, moved = 1 + 0.9 * share * sign, -int(150 / 331 * share * sign * WIDTH)
    one = np.ones([len(images), 1, 1, 1], np.float32)
    layers, pixels = keras.layers, {"value_range": (0, 255)}
    layer, transformation = {
        "autocontrast": (layers.AutoContrast(**pixels), None),
        "posterize": (
            layers.RandomPosterization(4, **pixels),
            {"shift_factor": np.full(len(images), round(4 * share), np.uint8)},
        ),
        "solarize": (
            layers.Solarization(**pixels),
            {"additions": 0 * one, "thresholds": round(256 * (1 - share)) * one},
        ),
        "color": (layers.RandomColorDegeneration(0.5, **pixels), {"factor": (1 - factor) * one}),
        "contrast": (layers.RandomContrast(0.5, **pixels), {"contrast_factor": factor * one}),
        "sharpness": (layers.RandomSharpness(0.5, **pixels), {"factor": factor / 2 * one[:, 0]}),
        "translate_x": (
            layers.RandomTranslation(0.5, 0.5, "constant", "nearest", fill_value=float(FILL[0])),
            {"translations": np.tile(np.float32([moved, 0]), (len(images), 1))},
        ),
    }[operation]
    return keras.ops.convert_to_numpy(layer.transform_images(images, transformation))


@pytest.mark.parametrize("negative", [0, 1])
@pytest.mark.parametrize(
    "operation, channels, rounding",
    [
        ("posterize", 3, 0),
        ("solarize", 3, 0),
        ("translate_x", 1, 0),
        ("autocontrast", 3, 1),
        # PIL also rounds what it blends the image with, by up to 0.9 of 0.5.
        ("color", 3, 1.45),
        ("contrast", 1, 1.45),  # Of colours, Keras takes the mean of each channel, PIL of the grey.
        ("sharpness", 3, 1.45),
    ],
)
def test_an_operation_is_kerass_but_for_pils_rounding(operation, channels, rounding, negative):
    images = images_of(channels)
    rows = np.full(len(images), negative, np.int32)
    number = tf.fill([len(images)], rand_augment.OPERATIONS.index(operation))
    got = rand_augment.apply(tf.constant(images), number, rows, 8, FILL[:channels]).numpy()
    expected = by_keras(images.astype(np.float32), operation, negative, 8)
    if operation == "sharpness":  # PIL leaves the border as it is.
        got, expected = got[:, 1:-1, 1:-1], expected[:, 1:-1, 1:-1]
    assert abs(got - expected).max() <= rounding


def test_images_of_two_pixels_pass_every_operation():
    images = np.arange(6, dtype=np.uint8).reshape(1, 2, 1, 3)
    for number in range(len(rand_augment.OPERATIONS)):
        got = rand_augment.apply(
            tf.constant(images), tf.constant([number]), tf.zeros([1], tf.int32), 5, FILL
        )
        assert got.shape == images.shape


def test_operations_and_signs_are_drawn_for_each_image_and_layer(monkeypatch):
    seen = []

    def spied(images, operations, negative, magnitude, fill):
        seen.append(operations.numpy() * 2 + negative.numpy())
        return images

    monkeypatch.setattr(rand_augment, "apply", spied)
    seeds = np.stack([np.full(8400, 4), np.arange(8400)], -1)
    rand_augment.draw(tf.zeros([8400, 1, 1, 1], tf.uint8), seeds, 2, 5.0, FILL[:1])
    first, second = seen
    for drawn in seen:
        counts = np.bincount(drawn, minlength=28)
        assert len(counts) == 28 and abs(counts - 300).max() < 5 * np.sqrt(300)
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(8400)


def test_one_image_is_what_it_is_among_others():
    images = tf.constant(images_of(3, count=40))
    seeds = np.stack([np.full(40, 4), np.arange(40)], -1)
    whole = rand_augment.draw(images, seeds, 2, 7.0, FILL).numpy()
    for row in range(0, 40, 7):
        one = rand_augment.draw(images[row : row + 1], seeds[row : row + 1], 2, 7.0, FILL)
        np.testing.assert_array_equal(one[0], whole[row])
