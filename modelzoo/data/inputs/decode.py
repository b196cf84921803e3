"""Encoded images to pixels: the one decoder of training, evaluation and serving.

The bytes decide the format before a decoder of TensorFlow sees them, in the graph as well.
"""

import functools
from collections.abc import Callable

import tensorflow as tf

from modelzoo.data.inputs.image_headers import (
    READERS,
    Header,
    Reader,
    read_jpeg,
    read_orientation,
    read_png,
    recognize,
    refuse,
    require,
)
from modelzoo.data.inputs.resize import Resize, Shape, to_shape

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp")
"""Suffixes of image files, in any case; not .webp, which not every TensorFlow can decode."""

MAX_PIXELS = 2**26
"""Height x width of the largest image that is decoded, if a config sets no other."""


def decode(encoded: tf.Tensor, max_pixels: int = MAX_PIXELS, bit_depth: int = 16) -> tf.Tensor:
    """Decodes one PNG, JPEG, GIF (its first frame), BMP or still WebP, as viewers show it.

    The orientation in EXIF data turns the image. In a PNG with 16 bits per channel, 0 to
    2 ** bit_depth - 1 become 0 to 255, and larger values 255.

    Args:
        encoded: the content of a file, a scalar string.
        max_pixels: height x width above which an image is refused before it is decoded.
        bit_depth: how many of 16 bits are used, at least 8.

    Returns:
        Pixels, uint8 `[height, width, channels]`.

    Raises:
        tf.errors.InvalidArgumentError: the image has another format, is too large or is corrupt.
    """
    return _decode(encoded, max_pixels, bit_depth)


def decode_batch(
    encoded: tf.Tensor,
    shape: Shape,
    how: Resize,
    max_pixels: int = MAX_PIXELS,
    bit_depth: int = 16,
) -> tf.Tensor:
    """Decodes strings `[n]`, n >= 0, to uint8 `[n, height, width, channels]`; see `decode`."""
    return tf.map_fn(
        lambda one: to_shape(decode(one, max_pixels, bit_depth), shape, how),
        encoded,
        fn_output_signature=tf.TensorSpec(shape, tf.uint8),
    )


def _no_inline(function: Callable) -> Callable:
    """A function of its own in a graph, whose operations cost nothing while it is not called."""
    return tf.function(function, autograph=False, experimental_attributes={"_noinline": True})


def _pixels(
    header: Header, number: tf.Tensor, max_pixels: int, bit_depth: int | None = None
) -> tf.Tensor:
    """Decodes an image of an allowed size and turns it; see `decode`.

    `bit_depth` is that of a PNG with 16 bits per channel; None for other images.
    """
    pixels = tf.cast(header.height, tf.int64) * tf.cast(header.width, tf.int64)
    small = pixels <= max_pixels, f"has more pixels than max_pixels={max_pixels}"
    encoded = require(header.encoded, *header.checks, small)
    if bit_depth is None:
        image = tf.io.decode_image(encoded, expand_animations=False)
    else:
        top = 2**bit_depth - 1
        deep = tf.cast(tf.io.decode_png(encoded, dtype=tf.uint16), tf.int32)
        image = tf.cast(tf.minimum((deep * 255 + top // 2) // top, 255), tf.uint8)
    if not header.exif:
        return image
    # RE2 finds a literal much faster than anything else.
    before = tf.strings.regex_replace(encoded, rf"{header.exif}\C*", "", replace_global=False)
    has_exif = tf.strings.length(before) != tf.strings.length(encoded)
    return tf.cond(has_exif, lambda: _turn(image, encoded, number), lambda: tf.identity(image))


@_no_inline
def _turn(image: tf.Tensor, encoded: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """An image as its orientation says that it is seen."""
    orientation = read_orientation(encoded, number)
    image = tf.transpose(image, tf.where(orientation < 5, [0, 1, 2], [1, 0, 2]))
    upside_down = tf.reduce_any(orientation == [3, 4, 7, 8])
    mirrored = tf.reduce_any(orientation == [2, 3, 6, 7])
    return tf.raw_ops.Reverse(tensor=image, dims=tf.stack([upside_down, mirrored, False]))


@functools.partial(tf.function, autograph=False)
def _decode(encoded: tf.Tensor, max_pixels: int, bit_depth: int) -> tf.Tensor:
    def common(read: Reader) -> tf.Tensor:
        return _pixels(read(encoded, words), number, max_pixels)

    # Strings are on the host; the numbers about them stay there.
    with tf.device("CPU:0"):
        words, number = recognize(encoded)
        image = tf.switch_case(
            number - 1,  # Another number than that of one of the two is the default.
            [lambda: common(read_png), lambda: common(read_jpeg)],
            lambda: _decode_rare(encoded, words, number, max_pixels, bit_depth),
        )
    return tf.ensure_shape(image, [None, None, None])


@_no_inline
def _decode_rare(
    encoded: tf.Tensor, words: tf.Tensor, number: tf.Tensor, max_pixels: int, bit_depth: int
) -> tf.Tensor:
    """Decodes an image of another format than PNG of 8-bit channels and JPEG."""

    def rare(read: Reader, depth: int | None = None) -> tf.Tensor:
        return _pixels(read(encoded, words), number, max_pixels, depth)

    branches: list[Callable[[], tf.Tensor]]
    branches = [functools.partial(rare, read) for _, _, read in READERS[3:]]
    branches.append(lambda: refuse(encoded, tf.zeros([0, 0, 0], tf.uint8)))
    deep = functools.partial(rare, read_png, bit_depth)
    return tf.switch_case(tf.maximum(number - 2, 0), [deep, *branches])
