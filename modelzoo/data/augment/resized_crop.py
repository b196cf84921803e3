"""A random part of an image, resized: taken from the original, before it loses its detail."""

import dataclasses

import tensorflow as tf

from modelzoo.data.augment import hashing
from modelzoo.data.augment.boxes import Range, random_boxes
from modelzoo.data.images import convert_channels, resize
from modelzoo.data.spec import ImageSpec


def crop(
    image: tf.Tensor, seed: tf.Tensor, spec: ImageSpec, area: Range, aspect: Range
) -> tf.Tensor:
    """A random part of one image, brought to the spec's size (Szegedy et al. 2015, section 6).

    `image` is uint8 `[any, any, any]`, `seed` int64 `[2]`; the result uint8 `[height, width,
    channels]` of the spec. The part is that of `random_boxes`; where ten draws fit nowhere it is
    the largest at the centre whose aspect is in the range, as torchvision's RandomResizedCrop has
    it. It is resized as in evaluation: bilinear, antialiased, rounded.
    """
    height, width = tf.unstack(tf.shape(image)[:2])
    boxes, found = random_boxes(seed[None], hashing.RESIZED_CROP, height, width, area, aspect)
    box = tf.where(found, boxes, _centre(height, width, aspect)[None])[0]
    top, left, rows, columns = tf.unstack(box)
    part = image[top : top + rows, left : left + columns]
    return resize(
        convert_channels(part, spec.channels), dataclasses.replace(spec, resize="stretch")
    )


def _centre(height: tf.Tensor, width: tf.Tensor, aspect: Range) -> tf.Tensor:
    """The box at the centre that is as large as the aspect's range allows: int32 `[4]`."""

    def limited(size: tf.Tensor, other: tf.Tensor, ratio: float) -> tf.Tensor:
        most = tf.round(tf.cast(other, tf.float32) * ratio)
        return tf.clip_by_value(tf.cast(most, tf.int32), 1, size)

    columns = limited(width, height, aspect[1])
    rows = limited(height, width, 1 / aspect[0])
    return tf.stack([(height - rows) // 2, (width - columns) // 2, rows, columns])
