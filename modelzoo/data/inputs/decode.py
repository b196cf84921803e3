"""Encoded images to pixels: the one decoder of training, evaluation and serving."""

import struct
from typing import Literal

import tensorflow as tf

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp")
"""Suffixes of image files, in any case."""

Shape = tuple[int, int, int]
"""Height, width and channels."""

Resize = Literal["crop", "stretch"]
"""How an image is brought to a size.

"crop": its shorter side is scaled to the size and its centre taken. "stretch": both sides are
scaled, which changes the proportions.
"""

PALETTE = "is a BMP with a colour palette"
"""The reason for refusing such an image."""

_GREYS = bytes(value for grey in range(256) for value in (grey, grey, grey, 0))

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


def decode(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes one PNG, JPEG, GIF (its first frame) or BMP to uint8 `[height, width, channels]`.

    Raises:
        tf.errors.InvalidArgumentError: it is no such image, or truncated.
    """
    bmp = tf.strings.substr(encoded, 0, 2) == b"BM"
    right = tf.cond(bmp, lambda: _has_no_palette(encoded), lambda: True)
    with tf.control_dependencies([tf.debugging.Assert(right, [PALETTE])]):
        image = tf.io.decode_image(encoded, channels=0, expand_animations=False)
    return tf.ensure_shape(image, [None, None, None])


def _has_no_palette(bmp: tf.Tensor) -> tf.Tensor:
    """Whether a BMP has no colour palette, of which TensorFlow would return the indices."""
    header_size = tf.io.decode_raw(tf.strings.substr(bmp, 14, 4), tf.int32)[0]
    palette = tf.strings.substr(bmp, 14 + header_size, len(_GREYS))
    return (tf.strings.substr(bmp, 28, 2) != b"\x08\x00") | (palette == _GREYS)


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
    return resize(convert_channels(image, shape[2]), shape, how)


def decode_batch(encoded: tf.Tensor, shape: Shape, how: Resize) -> tf.Tensor:
    """Decodes strings `[n]`, n >= 0, to uint8 `[n, height, width, channels]`; see `decode`."""
    return tf.map_fn(
        lambda one: to_shape(decode(one), shape, how),
        encoded,
        fn_output_signature=tf.TensorSpec(shape, tf.uint8),
    )


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


def read_header(data: bytes) -> Shape:
    """The shape that `decode` would return, from the first bytes of a file.

    Raises:
        ValueError: the bytes are no PNG, JPEG, GIF or BMP, or end within the header.
    """
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            width, height, _, color = struct.unpack_from(">IIBB", data, 16)
            # Transparency adds a channel to a palette only.
            before, found, _ = data.partition(b"IDAT")
            if color == 3 and not found:
                raise IndexError
            transparent = color == 3 and b"tRNS" in before
            return height, width, 4 if transparent else {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}[color]
        if data[:6] in (b"GIF87a", b"GIF89a"):
            width, height = struct.unpack_from("<HH", data, 6)
            return height, width, 3
        if data.startswith(b"BM"):
            size, width, height, _, bits = struct.unpack_from("<iiiHH", data, 14)
            if bits == 8 and data[14 + size :][: len(_GREYS)] != _GREYS:
                raise ValueError(PALETTE)
            return abs(height), width, bits // 8
        if data.startswith(b"\xff\xd8"):
            return _jpeg_header(data)
    except (struct.error, KeyError, IndexError):
        raise ValueError("ends within its header") from None
    raise ValueError("is no PNG, JPEG, GIF or BMP" if data else "is empty")


def _jpeg_header(data: bytes) -> Shape:
    position = 2
    while True:
        marker, length = struct.unpack_from(">HH", data, position)
        # A start of frame of any coding; c4, c8 and cc are tables.
        if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
            height, width, channels = struct.unpack_from(">HHB", data, position + 5)
            return height, width, min(channels, 3)
        # Any number of fill bytes may come before a marker.
        position += 1 if marker == 0xFFFF else 2 + length
