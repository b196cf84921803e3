"""Random erasing (Zhong et al. 2020); a square of one size is Cutout (DeVries and Taylor 2017)."""

import numpy as np
import tensorflow as tf

from modelzoo.data.augment.boxes import STREAMS, Range, inside, random_boxes
from modelzoo.fields import hashing
from modelzoo.fields.hashing import random_uniform, random_words


def erase(
    images: tf.Tensor,
    seeds: tf.Tensor,
    probability: float,
    area: Range,
    aspect: Range,
    fill: np.ndarray | None,
) -> tf.Tensor:
    """Erases a box of `random_boxes` in each image with a probability.

    An image stays as it is if none of ten draws fits. Images are uint8 `[n, height, width,
    channels]`; `fill` is uint8 `[channels]`, or None for a random value at each pixel and channel.
    """
    height, width, channels = images.shape[1:]
    boxes, found = random_boxes(
        seeds, hashing.ERASING, tf.constant(height), tf.constant(width), area, aspect
    )
    chosen = random_uniform(seeds, hashing.ERASING + STREAMS, 1)[:, 0] < probability
    mask = inside(boxes, height, width) & (found & chosen)[:, None, None]
    if fill is None:
        size = height * width * channels
        # Eight values per word; the streams lie beyond all others.
        words = random_words(seeds, 2**32 + np.arange(-(-size // 8), dtype=np.int64))
        values = tf.reshape(tf.bitcast(words, tf.uint8), [tf.shape(words)[0], -1])[:, :size]
        values = tf.reshape(values, tf.shape(images))
    else:
        values = tf.constant(fill, tf.uint8)
    return tf.where(mask[..., None], values, images)
