"""Random crops and flips as a pure function of (image, seed)."""

import dataclasses

import tensorflow as tf

from modelzoo.data.augment.hashing import random_integers


@dataclasses.dataclass(frozen=True)
class Augment:
    """Augmentation of training images.

    Attributes:
        crop_padding: black pixels added on each side before a random crop back to the size.
        flip: mirror every second image, drawn at random, left to right.
    """

    crop_padding: int = 0
    flip: bool = False

    def __post_init__(self):
        if self.crop_padding < 0:
            raise ValueError(f"crop_padding must be at least 0, got {self.crop_padding}")

    def __call__(self, images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Augments images (uint8 `[n, height, width, channels]`) by seeds (int64 `[n, 2]`).

        What an image becomes depends on its own pixels and seed only, not on its neighbours.
        """
        pad = self.crop_padding
        if not pad and not self.flip:
            return images
        height, width, channels = images.shape[1:]
        count = tf.shape(images)[0]
        rows, columns = tf.range(height)[None], tf.range(width)[None]
        if self.flip:
            mirrored = random_integers(seeds, 0, 2)[:, None]
            columns = columns + mirrored * (width - 1 - 2 * columns)
        if pad:
            images = tf.pad(images, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
            rows = rows + random_integers(seeds, 1, 2 * pad + 1)[:, None]
            columns = columns + random_integers(seeds, 2, 2 * pad + 1)[:, None]
        full_height, full_width = height + 2 * pad, width + 2 * pad
        rows = rows + full_height * tf.range(count)[:, None]
        # One gather of pixels from the flattened batch: crop and flip together.
        pixels = rows[:, :, None] * full_width + columns[:, None, :]
        result = tf.gather(tf.reshape(images, [-1, channels]), pixels)
        return tf.ensure_shape(result, [None, height, width, channels])
