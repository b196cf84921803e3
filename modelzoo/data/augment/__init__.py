"""Augmentation of training images: pure functions of an image and its seed.

MixUp and CutMix also read the image's partner. The result depends neither on how a batch is split
nor on the number of replicas.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import tensorflow as tf

from modelzoo.data.augment import colour, erasing, mixing, rand_augment, resized_crop
from modelzoo.data.augment.boxes import Range, check_ranges
from modelzoo.data.inputs.resize import Shape
from modelzoo.fields import hashing
from modelzoo.fields.errors import FieldError
from modelzoo.fields.hashing import random_integers


@dataclasses.dataclass(frozen=True)
class Augment:
    """Augmentation of training images.

    The order is: resized crop, padded crop and flip, colours, RandAugment, erasing, mixing.

    Attributes:
        crop_padding: black pixels added on each side before a random crop back to the size.
        flip: mirror a random half of the images, left to right.
        crop_area: (least, most) share of the original image's area that a random resized crop
            takes, such as (0.08, 1); None for the whole image.
        crop_aspect: (least, most) width over height of that crop.
        brightness, contrast, saturation: the largest distance from 1 of a random factor on each.
        hue: the largest random turn of the hue either way, up to 0.5, as a share of the circle.
        rand_augment: number of RandAugment's operations on each image.
        rand_augment_magnitude: their strength, from 0 to 10.
        erasing: probability of erasing a random box of the image.
        erasing_area: (least, most) share of the image's area that the box takes.
        erasing_aspect: (least, most) width over height of the box.
        erasing_fill: what replaces the box: the input's "mean", or "noise", random values.
        mixup: alpha of MixUp, which draws shares from Beta(alpha, alpha); 0 for none.
        cutmix: alpha of CutMix; 0 for none.
        cutmix_share: with both MixUp and CutMix, the share of the examples that CutMix changes.

    Example:
        >>> from modelzoo.data.augment import Augment
        >>> Augment(crop_padding=4, flip=True, mixup=0.2).mixes
        True
    """

    crop_padding: int = 0
    flip: bool = False
    crop_area: Range | None = None
    crop_aspect: Range = (3 / 4, 4 / 3)
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    rand_augment: int = 0
    rand_augment_magnitude: float = 9.0
    erasing: float = 0.0
    erasing_area: Range = (0.02, 1 / 3)
    erasing_aspect: Range = (0.3, 10 / 3)
    erasing_fill: Literal["mean", "noise"] = "mean"
    mixup: float = 0.0
    cutmix: float = 0.0
    cutmix_share: float = 0.5

    def __post_init__(self):
        unbounded = ("crop_padding", "brightness", "contrast", "saturation", "mixup", "cutmix")
        bounds = dict.fromkeys(unbounded, math.inf)
        bounds |= {"hue": 0.5, "rand_augment": 100, "rand_augment_magnitude": 10}
        bounds |= {"erasing": 1, "cutmix_share": 1}
        for name, most in bounds.items():
            value = getattr(self, name)
            if not 0 <= value <= most:
                wanted = "at least 0" if most == math.inf else f"from 0 to {most}"
                raise FieldError(name, f"must be {wanted}, got {value}")
        check_ranges(
            crop_area=(self.crop_area, 1),
            crop_aspect=(self.crop_aspect, math.inf),
            erasing_area=(self.erasing_area, 1),
            erasing_aspect=(self.erasing_aspect, math.inf),
        )

    @property
    def mixes(self) -> bool:
        """Whether each image is mixed with its partner."""
        return self.mixup > 0 or self.cutmix > 0

    def check_channels(self, channels: int) -> None:
        """Raises ValueError, beginning with a field's name, for images of so many channels."""
        needs: dict[str, tuple[int, ...]] = {"saturation": (3,), "hue": (3,)}
        needs |= dict.fromkeys(("contrast", "brightness", "rand_augment"), (1, 3))
        for name, possible in needs.items():
            if getattr(self, name) and channels not in possible:
                words = " or ".join(map(str, possible))
                raise FieldError(name, f"needs images of {words} channels, got {channels}")

    def crop(self, image: tf.Tensor, seed: tf.Tensor, shape: Shape) -> tf.Tensor:
        """Crops one original image; see `resized_crop.crop`."""
        assert self.crop_area is not None  # See `BoundInput.wants_whole`.
        return resized_crop.crop(image, seed, shape, self.crop_area, self.crop_aspect)

    def __call__(
        self, images: tf.Tensor, seeds: tf.Tensor, fill: np.ndarray | Sequence[int] | int = 0
    ) -> tf.Tensor:
        """Applies everything but `crop` and `mix` to images, uint8 `[n, height, width, channels]`.

        `seeds` are int64 `[n, 2]`; a result depends on the image and its own seed only. `fill` is
        one value, or one per channel, of erased boxes and of pixels from outside the image.
        """
        pixel = np.broadcast_to(np.asarray(fill, np.uint8), images.shape[-1:])
        images = self._crop_and_flip(images, seeds)
        strengths = (self.brightness, self.contrast, self.saturation, self.hue)
        images = colour.jitter(images, seeds, *strengths)
        if self.rand_augment:
            magnitude = self.rand_augment_magnitude
            images = rand_augment.draw(images, seeds, self.rand_augment, magnitude, pixel)
        if self.erasing:
            box = None if self.erasing_fill == "noise" else pixel
            area, aspect = self.erasing_area, self.erasing_aspect
            images = erasing.erase(images, seeds, self.erasing, area, aspect, box)
        return images

    def mix(
        self, images: tf.Tensor, weight: tf.Tensor, seeds: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Mixes the rows of a batch with their partners; see `mixing.mix_rows`."""
        return mixing.mix_rows(images, weight, seeds, self.mixup, self.cutmix, self.cutmix_share)

    def _crop_and_flip(self, images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        pad = self.crop_padding
        if not pad and not self.flip:
            return images
        height, width, channels = images.shape[1:]
        count = tf.shape(images)[0]
        rows, columns = tf.range(height)[None], tf.range(width)[None]
        if self.flip:
            mirrored = random_integers(seeds, hashing.FLIP, 2)[:, None]
            columns = columns + mirrored * (width - 1 - 2 * columns)
        if pad:
            images = tf.pad(images, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
            rows = rows + random_integers(seeds, hashing.CROP_ROWS, 2 * pad + 1)[:, None]
            columns = columns + random_integers(seeds, hashing.CROP_COLUMNS, 2 * pad + 1)[:, None]
        full_height, full_width = height + 2 * pad, width + 2 * pad
        rows = rows + full_height * tf.range(count)[:, None]
        # One gather of pixels from the flattened batch does both.
        pixels = rows[:, :, None] * full_width + columns[:, None, :]
        result = tf.gather(tf.reshape(images, [-1, channels]), pixels)
        return tf.ensure_shape(result, [None, height, width, channels])
