"""Colour jitter against PIL's enhancers, and the hue against colorsys and Keras."""

import colorsys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance

from modelzoo.data.augment import colour, enhance
from modelzoo.fields import hashing
from modelzoo.fields.hashing import random_uniform

SEEDS = np.stack([np.full(40, 2), np.arange(40)], -1)
NAMES = {"brightness": "Brightness", "contrast": "Contrast", "saturation": "Color"}


def images_of(channels=3):
    return np.random.default_rng(1).integers(0, 256, (40, 6, 7, channels), np.uint8)


def jitter(images, seeds=SEEDS, **strengths):
    zero = dict.fromkeys(("brightness", "contrast", "saturation", "hue"), 0.0)
    return colour.jitter(tf.constant(images), seeds, **{**zero, **strengths}).numpy()


def draws():
    return random_uniform(SEEDS, hashing.COLOUR, 4).numpy()


def enhanced(images, strengths):
    """PIL's, one after the other, by the factors that the draws say."""
    result = []
    for pixels, row in zip(images, draws(), strict=True):
        image = Image.fromarray(pixels if pixels.shape[-1] == 3 else pixels[..., 0])
        for k, (name, enhancer) in enumerate(NAMES.items()):
            strength = strengths.get(name, 0)
            low, high = max(0, 1 - strength), 1 + strength
            factor = np.float32(low) + np.float32(high - low) * row[k]
            if strength:
                image = getattr(ImageEnhance, enhancer)(image).enhance(float(factor))
        result.append(np.asarray(image).reshape(pixels.shape))
    return np.stack(result)


@pytest.mark.parametrize(
    "strengths",
    [
        {"brightness": 0.4},
        {"contrast": 0.8},
        {"saturation": 1.5},
        {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4},
    ],
)
def test_jitter_is_pils_in_order(strengths):
    images = images_of()
    got = jitter(images, **strengths)
    np.testing.assert_array_equal(got, enhanced(images, strengths))
    assert (got != images).any(axis=(1, 2, 3)).mean() > 0.9


def test_grey_images_have_brightness_and_contrast():
    images = images_of(1)
    strengths = {"brightness": 0.5, "contrast": 0.5}
    np.testing.assert_array_equal(jitter(images, **strengths), enhanced(images, strengths))


def test_the_hue_turns_as_colorsys_has_it():
    images = images_of()
    got = jitter(images, hue=0.3)
    for pixels, result, draw in zip(images, got, draws()[:, 3], strict=True):
        for rgb, turned in zip(pixels.reshape(-1, 3), result.reshape(-1, 3), strict=True):
            h, s, v = colorsys.rgb_to_hsv(*(rgb / 255))
            expected = 255 * np.array(colorsys.hsv_to_rgb((h + 0.3 * (2 * draw - 1)) % 1, s, v))
            assert abs(turned - expected).max() < 0.51


def test_the_hue_turns_as_kerass_layer_turns_it():
    images = images_of()
    layer = keras.layers.RandomHue(0.5, value_range=(0, 255))
    turns = {"factor": 0.3 * (2 * draws()[:, 3] - 1)}
    expected = layer.transform_images(images.astype(np.float32), turns)
    assert abs(jitter(images, hue=0.3) - expected.numpy()).max() < 0.51


def test_one_image_is_what_it_is_among_others():
    images = images_of()
    strengths = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
    whole = jitter(images, **strengths)
    for row in (0, 17):
        alone = jitter(images[row : row + 1], SEEDS[row : row + 1], **strengths)
        np.testing.assert_array_equal(alone[0], whole[row])


@pytest.mark.parametrize("channels", [1, 3])
def test_the_contrast_of_a_large_bright_image_is_that_of_pil(channels):
    pixels = np.full((2080, 2080, channels), 255, np.uint8)  # Twice its sum has 32 bits.
    pixels[:100] = 100
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    expected = np.asarray(ImageEnhance.Contrast(image).enhance(0.5)).reshape(pixels.shape)
    found = enhance.contrast(tf.constant(pixels[None]), tf.constant([0.5]))[0]
    np.testing.assert_array_equal(found, expected)
