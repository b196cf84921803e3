"""RandAugment (Cubuk et al. 2020): a few of 14 operations on each image, drawn at random.

The results are bit for bit those of PIL. One magnitude M from 0 to 10 scales the ranges of
AutoAugment: factors of color, contrast, brightness and sharpness 1 +- 0.9 M/10; rotations of +-30
M/10 degrees; shears of +-0.3 M/10 about the upper left; translations of +-150/331 M/10 of the size;
posterize to 8 - 4 M/10 bits; solarize from 256 (1 - M/10) on. Signs are random. Geometric
operations take the nearest pixel and fill what comes from outside the image.
"""

import functools
import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from modelzoo.data.augment import enhance
from modelzoo.fields import hashing
from modelzoo.fields.hashing import random_integers

OPERATIONS = (
    "identity",
    "autocontrast",
    "equalize",
    "posterize",
    "solarize",
    "color",
    "contrast",
    "brightness",
    "sharpness",
    "rotate",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
)
_FIRST_AFFINE = OPERATIONS.index("rotate")
# PIL transforms images in fixed point: 16 bits before the point and 16 after it.
_ONE = 2**16


def draw(
    images: tf.Tensor, seeds: tf.Tensor, count: int, magnitude: float, fill: np.ndarray
) -> tf.Tensor:
    """Applies `count` operations to each image (uint8 `[n, height, width, 1 or 3]`) by its seed.

    All 14 have the same probability each time. `fill` is uint8 `[channels]`.
    """
    for layer in range(count):
        stream = hashing.RAND_AUGMENT + 2 * layer
        operations = random_integers(seeds, stream, len(OPERATIONS))
        negative = random_integers(seeds, stream + 1, 2)
        images = apply(images, operations, negative, magnitude, fill)
    return images


def apply(
    images: tf.Tensor,
    operations: tf.Tensor,
    negative: tf.Tensor,
    magnitude: float,
    fill: np.ndarray,
) -> tf.Tensor:
    """Applies one operation to each image, uint8 `[n, height, width, 1 or 3]`.

    `operations` are places in `OPERATIONS`, `negative` is 1 for a factor below 1, a turn to the
    right and so on, both int32 `[n]`. `fill` is uint8 `[channels]`.
    """
    share = magnitude / 10

    factors = tf.constant([1 + 0.9 * share, 1 - 0.9 * share], tf.float32)

    def enhanced(function, images, negative):
        return function(images, tf.gather(factors, negative))

    groups: list[Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = [
        lambda images, negative: images,
        lambda images, negative: _autocontrast(images),
        lambda images, negative: _equalize(images),
        lambda images, negative: images & (256 - 2 ** round(4 * share)),
        lambda images, negative: tf.where(
            tf.cast(images, tf.int32) >= round(256 * (1 - share)), 255 - images, images
        ),
        functools.partial(enhanced, enhance.saturation),
        functools.partial(enhanced, enhance.contrast),
        functools.partial(enhanced, enhance.brightness),
        functools.partial(enhanced, enhance.sharpness),
    ]
    # Group the rows by operation, so that each image is computed once.
    rows = tf.range(tf.shape(images)[0])
    chosen = tf.minimum(operations, _FIRST_AFFINE)
    parts = tf.dynamic_partition(rows, chosen, len(groups) + 1)
    results = [
        group(tf.gather(images, part), tf.gather(negative, part))
        for group, part in zip(groups, parts[:-1], strict=True)
    ]
    matrices = tf.gather(
        tf.constant(_matrices(*images.shape[1:3], share)),
        2 * (tf.gather(operations, parts[-1]) - _FIRST_AFFINE) + tf.gather(negative, parts[-1]),
    )
    results.append(_affine(tf.gather(images, parts[-1]), matrices, fill))
    return tf.ensure_shape(tf.dynamic_stitch(parts, results), images.shape)


def _autocontrast(images: tf.Tensor) -> tf.Tensor:
    """Stretches each channel to 0 and 255, as `ImageOps.autocontrast`."""
    low = tf.reduce_min(images, axis=[1, 2], keepdims=True)
    high = tf.reduce_max(images, axis=[1, 2], keepdims=True)
    wide_low = tf.cast(low, tf.float64)
    spread = tf.maximum(tf.cast(high, tf.float64) - wide_low, 1.0)
    scale = 255.0 / spread
    stretched = tf.cast(images, tf.float64) * scale - wide_low * scale
    stretched = tf.cast(tf.clip_by_value(stretched, 0.0, 255.0), tf.uint8)
    return tf.where(high > low, stretched, images)


def _equalize(images: tf.Tensor) -> tf.Tensor:
    """Spreads the values of each channel evenly, as `ImageOps.equalize`."""
    height, width, channels = images.shape[1:]
    values = tf.cast(tf.transpose(images, [0, 3, 1, 2]), tf.int32)
    values = tf.reshape(values, [-1, height * width])
    # One row of counts per channel of an image.
    counts = tf.math.bincount(values, minlength=256, maxlength=256, axis=-1)
    top = tf.reduce_max(values, axis=-1, keepdims=True)
    of_top = tf.gather(counts, top, batch_dims=1)
    step = (height * width - of_top) // 255
    before = tf.cumsum(counts, axis=-1, exclusive=True)
    table = (before + step // 2) // tf.maximum(step, 1)
    table = tf.where(step > 0, tf.minimum(table, 255), tf.range(256))
    rows = tf.range(tf.shape(values)[0])[:, None]
    result = tf.gather(tf.reshape(table, [-1]), 256 * rows + values)
    result = tf.reshape(result, [-1, channels, height, width])
    return tf.cast(tf.transpose(result, [0, 2, 3, 1]), tf.uint8)


@functools.cache
def _matrices(height: int, width: int, share: float) -> np.ndarray:
    """Matrices of the geometric operations with both signs, in PIL's fixed point: int64 `[10, 6]`.

    The pixel at x, y comes from the column (m0 * x + m1 * y + m2) >> 16, and the row likewise.
    """
    found = []
    for operation in OPERATIONS[_FIRST_AFFINE:]:
        for sign in (1, -1):
            amount = sign * share
            a, b, c, d, e, f = 1.0, 0.0, 0.0, 0.0, 1.0, 0.0
            if operation == "rotate":
                a, b = math.cos(math.radians(30 * amount)), -math.sin(math.radians(30 * amount))
                a, b, d, e = round(a, 15), round(b, 15), round(-b, 15), round(a, 15)
                x, y = width / 2, height / 2
                c, f = x - a * x - b * y, y - d * x - e * y
            elif operation == "shear_x":
                b = 0.3 * amount
            elif operation == "shear_y":
                d = 0.3 * amount
            elif operation == "translate_x":
                c = int(150 / 331 * amount * width)
            elif operation == "translate_y":
                f = int(150 / 331 * amount * height)
            # From the centre of a pixel.
            row = (a, b, c + (a + b) / 2, d, e, f + (d + e) / 2)
            found.append([math.floor(value * _ONE + 0.5) for value in row])
    return np.array(found, np.int64)


def _affine(images: tf.Tensor, matrices: tf.Tensor, fill: np.ndarray) -> tf.Tensor:
    """Transforms images by matrices (int64 `[n, 6]`), as `Image.transform` with AFFINE."""
    height, width, channels = images.shape[1:]
    x = tf.range(width, dtype=tf.int64)[None, None]
    y = tf.range(height, dtype=tf.int64)[None, :, None]
    m = [matrices[:, k, None, None] for k in range(6)]
    columns = tf.bitwise.right_shift(m[0] * x + m[1] * y + m[2], tf.constant(16, tf.int64))
    rows = tf.bitwise.right_shift(m[3] * x + m[4] * y + m[5], tf.constant(16, tf.int64))
    known = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    first = height * width * tf.range(tf.shape(images, tf.int64)[0])[:, None, None]
    pixels = tf.where(known, first + rows * width + columns, 0)
    moved = tf.gather(tf.reshape(images, [-1, channels]), pixels)
    return tf.where(known[..., None], moved, tf.constant(fill, tf.uint8))
