"""Random boxes of an image, by area and aspect."""

import math

import tensorflow as tf

from modelzoo.fields.errors import FieldError
from modelzoo.fields.hashing import as_integers, as_uniform, random_words

TRIES = 10
STREAMS = 2 * TRIES + 2
"""Number of random streams that `random_boxes` uses."""

Range = tuple[float, float]


def check_ranges(**fields: tuple[Range | None, float]) -> None:
    """Raises ValueError for the first (range or None, bound) not `0 < low <= high <= bound`."""
    for name, (value, bound) in fields.items():
        if value is not None and not 0 < value[0] <= value[1] <= bound:
            most = "" if bound == math.inf else f" <= {bound:g}"
            raise FieldError(name, f"must be (low, high) with 0 < low <= high{most}, got {value}")


def random_boxes(
    seeds: tf.Tensor, stream: int, height: tf.Tensor, width: tf.Tensor, area: Range, aspect: Range
) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws a box inside the image for each seed, by the first of ten draws that fits.

    A box's share of the image's area is uniform in `area`, the logarithm of its width over height
    uniform in the range of `aspect`, its place uniform. Seeds are int64 `[n, 2]`; `stream` is the
    first of the `STREAMS` random streams that are used.

    Returns:
        (top, left, height, width), int32 `[n, 4]`, and whether any draw fits, bool `[n]`; the box
        is arbitrary if none does.
    """
    words = random_words(seeds, list(range(stream, stream + STREAMS)))
    draws = as_uniform(words[:, : 2 * TRIES])
    size = tf.cast(height * width, tf.float32)
    areas = size * (area[0] + (area[1] - area[0]) * draws[:, :TRIES])
    low, high = math.log(aspect[0]), math.log(aspect[1])
    aspects = tf.exp(low + (high - low) * draws[:, TRIES:])
    widths = tf.cast(tf.round(tf.sqrt(areas * aspects)), tf.int32)
    heights = tf.cast(tf.round(tf.sqrt(areas / aspects)), tf.int32)
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    first = tf.argmax(fits, axis=1)
    box_height = tf.minimum(tf.gather(heights, first, batch_dims=1), height)
    box_width = tf.minimum(tf.gather(widths, first, batch_dims=1), width)
    top = as_integers(words[:, 2 * TRIES], height - box_height + 1)
    left = as_integers(words[:, 2 * TRIES + 1], width - box_width + 1)
    return tf.stack([top, left, box_height, box_width], axis=1), tf.reduce_any(fits, axis=1)


def inside(boxes: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """The pixels inside boxes (top, left, height, width; int32 `[n, 4]`): bool `[n, H, W]`."""
    rows, columns = tf.range(height)[None], tf.range(width)[None]
    # Not `boxes[:, k, None]`: graph optimisation loses the None of a stack.
    top, left, box_height, box_width = (edge[:, None] for edge in tf.unstack(boxes, axis=1))
    in_rows = (rows >= top) & (rows < top + box_height)
    in_columns = (columns >= left) & (columns < left + box_width)
    return in_rows[:, :, None] & in_columns[:, None, :]
