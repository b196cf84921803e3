"""Channels and sizes of decoded images."""

from typing import Literal

import tensorflow as tf

Shape = tuple[int, int, int]
"""Height, width and channels."""

Resize = Literal["crop", "stretch"]
"""How an image is brought to a size.

"crop": its shorter side is scaled to the size and its centre taken. "stretch": both sides are
scaled, which changes the proportions.
"""

# ITU-R 601 luma in 16-bit fixed point, as PIL's "L": exact for grey input.
_LUMA = (19595, 38470, 7471)


def grey(image: tf.Tensor) -> tf.Tensor:
    """The luma of an RGB image, as PIL's mode "L"; a grey one is unchanged. Uint8 `[..., 1]`."""
    if image.shape[-1] == 1:
        return image
    weighted = tf.reduce_sum(tf.cast(image, tf.int32) * _LUMA, -1, keepdims=True)
    return tf.cast((weighted + 2**15) // 2**16, tf.uint8)


def convert_channels(image: tf.Tensor, channels: int) -> tf.Tensor:
    """Converts between grey, grey with alpha, RGB and RGBA: uint8 `[..., 1 to 4]`.

    Alpha is dropped, not composited; alpha that is added is opaque.
    """
    count = tf.shape(image)[-1]

    def converted() -> tf.Tensor:
        last = tf.where(count < 3, 0, 2)
        color = tf.gather(image, tf.minimum([0, 1, 2], last), axis=-1)
        if channels in (1, 2):
            color = grey(color)
        if channels in (2, 4):
            alpha = tf.where(count % 2 == 0, image[..., -1:], tf.constant(255, tf.uint8))
            color = tf.concat([color, alpha], -1)
        return color

    result = tf.cond(count == channels, lambda: image, converted)
    return tf.ensure_shape(result, [None] * (len(image.shape) - 1) + [channels])


def resize(image: tf.Tensor, shape: Shape, how: Resize) -> tf.Tensor:
    """Resizes uint8 `[any, any, channels]` to a shape, in uint8.

    Bilinear with antialiasing, rounded; an image of that size is unchanged.
    """
    height, width, _ = shape
    size = tf.shape(image)[:2]
    target = tf.constant([height, width])

    def resized() -> tf.Tensor:
        if how == "stretch":
            scaled_size = target
        else:
            scale = tf.reduce_max(tf.cast(target, tf.float64) / tf.cast(size, tf.float64))
            scaled = tf.cast(tf.round(tf.cast(size, tf.float64) * scale), tf.int32)
            scaled_size = tf.maximum(scaled, target)
        scaled = tf.image.resize(image, scaled_size, method="bilinear", antialias=True)
        top, left = tf.unstack((scaled_size - target) // 2)
        scaled = scaled[top : top + height, left : left + width]
        return tf.cast(tf.round(tf.clip_by_value(scaled, 0.0, 255.0)), tf.uint8)

    image = tf.cond(tf.reduce_all(size == target), lambda: image, resized)
    return tf.ensure_shape(image, shape)


def to_shape(image: tf.Tensor, shape: Shape, how: Resize) -> tf.Tensor:
    """Converts and resizes uint8 `[any, any, any]` to a shape."""
    image = tf.cond(
        tf.reduce_all(tf.shape(image) == shape),
        lambda: tf.identity(image),
        lambda: resize(convert_channels(image, shape[2]), shape, how),
    )
    return tf.ensure_shape(image, shape)


def fit_batch(images: tf.Tensor, shape: Shape, how: Resize) -> tf.Tensor:
    """Brings uint8 `[n, height, width]` or `[n, height, width, channels]` to a shape."""
    if len(images.shape) == 3:
        images = images[..., None]
    if tuple(images.shape[1:]) == shape:
        return images
    return tf.map_fn(
        lambda image: to_shape(image, shape, how),
        images,
        fn_output_signature=tf.TensorSpec(shape, tf.uint8),
    )
