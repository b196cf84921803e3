"""Brightness, contrast, saturation, sharpness and hue of images, bit for bit as PIL changes them.

Images are uint8 `[n, height, width, 1 or 3]`, factors float32 `[n]`; a factor of 1 changes nothing.
"""

import tensorflow as tf

from modelzoo.data.inputs.resize import grey


def blend(degenerate: tf.Tensor, images: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """`degenerate + factor * (image - degenerate)`, clipped and truncated as by `Image.blend`."""
    base = tf.cast(degenerate, tf.float32)
    factors = tf.reshape(factors, [-1, 1, 1, 1])
    result = base + factors * (tf.cast(images, tf.float32) - base)
    return tf.cast(tf.clip_by_value(result, 0.0, 255.0), tf.uint8)


def brightness(images: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Between black (0) and the image, or beyond it, as `ImageEnhance.Brightness`."""
    return blend(tf.zeros([], tf.uint8), images, factors)


def contrast(images: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Between its mean grey (0) and the image, or beyond it, as `ImageEnhance.Contrast`."""
    luma = tf.cast(grey(images), tf.int32)
    count = tf.reduce_prod(tf.shape(luma, tf.int64)[1:])
    # Twice the sum of a large bright image has more than 31 bits.
    rows = tf.cast(tf.reduce_sum(luma, axis=[2, 3], keepdims=True), tf.int64)
    total = tf.reduce_sum(rows, axis=1, keepdims=True)
    return blend((2 * total + count) // (2 * count), images, factors)


def saturation(images: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Between its grey (0) and the image, or beyond it, as `ImageEnhance.Color`."""
    return images if images.shape[-1] == 1 else blend(grey(images), images, factors)


def sharpness(images: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Between the smoothed (0) and the image, or beyond it, as `ImageEnhance.Sharpness`."""
    if min(images.shape[1:3]) < 3:
        return images
    wide = tf.cast(images, tf.int32)
    # The kernel is 5 at its centre and 1 around it; pixels of the border stay as they are.
    rows = wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]
    total = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:] + 4 * wide[:, 1:-1, 1:-1]
    smooth = (2 * total + 13) // 26
    smooth = tf.concat([wide[:, 1:-1, :1], smooth, wide[:, 1:-1, -1:]], axis=2)
    smooth = tf.concat([wide[:, :1], smooth, wide[:, -1:]], axis=1)
    return blend(smooth, images, factors)


def hue(images: tf.Tensor, turns: tf.Tensor) -> tf.Tensor:
    """Turns the hue (HSV) by shares of the circle (float32 `[n]`), rounded."""
    hsv = tf.image.rgb_to_hsv(tf.cast(images, tf.float32) / 255.0)
    turned = tf.math.floormod(hsv[..., :1] + tf.reshape(turns, [-1, 1, 1, 1]), 1.0)
    rgb = tf.image.hsv_to_rgb(tf.concat([turned, hsv[..., 1:]], axis=-1))
    return tf.cast(tf.round(tf.clip_by_value(rgb * 255.0, 0.0, 255.0)), tf.uint8)
