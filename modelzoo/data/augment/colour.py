"""Random brightness, contrast, saturation and hue."""

import tensorflow as tf

from modelzoo.data.augment import enhance
from modelzoo.fields import hashing
from modelzoo.fields.hashing import random_uniform


def jitter(
    images: tf.Tensor,
    seeds: tf.Tensor,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: float,
) -> tf.Tensor:
    """Changes brightness, contrast, saturation and hue of images, in this order.

    The factor of each of the first three is uniform in `[max(0, 1 - strength), 1 + strength]`; 0
    means black, the mean grey and grey. The hue turns by a share of the circle that is uniform in
    `[-hue, hue]`. Images are uint8 `[n, height, width, 1 or 3]`, after each change too.
    """
    draws = random_uniform(seeds, hashing.COLOUR, 4)
    strengths = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
    for number, (name, strength) in enumerate(strengths.items()):
        if strength:
            low, high = max(0.0, 1 - strength), 1 + strength
            factors = low + (high - low) * draws[:, number]
            images = getattr(enhance, name)(images, factors)
    if hue:
        images = enhance.hue(images, hue * (2 * draws[:, 3] - 1))
    return images
