"""Random resized crops, taken from the original image, which still has its detail."""

import tensorflow as tf

from modelzoo.data.augment.boxes import Range, random_boxes
from modelzoo.data.inputs.resize import Shape, convert_channels, resize
from modelzoo.fields import hashing


def crop(image: tf.Tensor, seed: tf.Tensor, shape: Shape, area: Range, aspect: Range) -> tf.Tensor:
    """Crops a random part of one image and resizes it (Szegedy et al. 2015, section 6).

    The part is a box of `random_boxes`. If none of ten draws fits, it is the largest box at the
    centre whose aspect is in the range, as in torchvision's RandomResizedCrop. Resizing is that of
    evaluation. `image` is uint8 `[any, any, any]`, `seed` int64 `[2]`, the result uint8 `shape`.
    """
    height, width = tf.unstack(tf.shape(image)[:2])
    boxes, found = random_boxes(seed[None], hashing.RESIZED_CROP, height, width, area, aspect)
    box = tf.where(found, boxes, _centre(height, width, aspect)[None])[0]
    top, left, rows, columns = tf.unstack(box)
    part = image[top : top + rows, left : left + columns]
    return resize(convert_channels(part, shape[2]), shape, "stretch")


def _centre(height: tf.Tensor, width: tf.Tensor, aspect: Range) -> tf.Tensor:
    """The largest box at the centre whose aspect is in the range: int32 `[4]`."""

    def limited(size: tf.Tensor, other: tf.Tensor, ratio: float) -> tf.Tensor:
        most = tf.round(tf.cast(other, tf.float32) * ratio)
        return tf.clip_by_value(tf.cast(most, tf.int32), 1, size)

    columns = limited(width, height, aspect[1])
    rows = limited(height, width, 1 / aspect[0])
    return tf.stack([(height - rows) // 2, (width - columns) // 2, rows, columns])
