"""Augmentation of training images: pure functions of (image, seed), and of the partner in mixing.

What an image becomes does not depend on how a batch is split, nor on the number of replicas.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import tensorflow as tf

from modelzoo.data.augment import colour, erasing, hashing, mixing, rand_augment, resized_crop
from modelzoo.data.augment.boxes import Range, check_ranges
from modelzoo.data.augment.hashing import random_integers
from modelzoo.data.spec import ImageSpec


@dataclasses.dataclass(frozen=True)
class Augment:
    """Augmentation of training images: `crop_area` first, then the others in their order.

    Attributes:
        crop_area: (least, most) share of the original image's area that a random part of it takes,
            which is then resized, as (0.08, 1); None for the whole image.
        crop_aspect: (least, most) width over height of that part.
        crop_padding: black pixels added on each side before a random crop back to the size.
        flip: mirror every second image, drawn at random, left to right.
        brightness, contrast, saturation: the most by which a random factor on each differs from 1.
        hue: the most, up to 0.5, by which the hue turns either way, as a share of the circle.
        rand_augment: operations of RandAugment on each image.
        rand_augment_magnitude: their strength, from 0 to 10.
        erasing: probability with which a box of the image is erased.
        erasing_area: (least, most) share of the image's area that the box takes.
        erasing_aspect: (least, most) width over height of the box.
        erasing_fill: what takes its place: the task's "mean", or "noise", a value for each pixel.
        mixup: alpha of MixUp, which draws shares from Beta(alpha, alpha); 0 for none.
        cutmix: alpha of CutMix; 0 for none.
        cutmix_share: where there are both, the share of the examples that CutMix gets.
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
        bounds = {
            "crop_padding": math.inf,
            "brightness": math.inf,
            "contrast": math.inf,
            "saturation": math.inf,
            "hue": 0.5,
            "rand_augment": 100,
            "rand_augment_magnitude": 10,
            "erasing": 1,
            "mixup": math.inf,
            "cutmix": math.inf,
            "cutmix_share": 1,
        }
        for name, most in bounds.items():
            value = getattr(self, name)
            if not 0 <= value <= most:
                wanted = "at least 0" if most == math.inf else f"from 0 to {most}"
                raise ValueError(f"{name} must be {wanted}, got {value}")
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

    def refused(self, channels: int) -> str | None:
        """Why images of so many channels cannot be augmented so; begins with the field's name."""
        needs = {"saturation": (3,), "hue": (3,)}
        needs |= dict.fromkeys(("contrast", "brightness", "rand_augment"), (1, 3))
        for name, possible in needs.items():
            if getattr(self, name) and channels not in possible:
                words = " or ".join(map(str, possible))
                return f"{name} needs images of {words} channels, the data's have {channels}"
        return None

    def crop(self, image: tf.Tensor, seed: tf.Tensor, spec: ImageSpec) -> tf.Tensor:
        """A random part of one original image where `crop_area` is set: see `resized_crop`."""
        return resized_crop.crop(image, seed, spec, self.crop_area, self.crop_aspect)

    def __call__(
        self, images: tf.Tensor, seeds: tf.Tensor, fill: Sequence[int] | int = 0
    ) -> tf.Tensor:
        """Augments images (uint8 `[n, height, width, channels]`) by seeds (int64 `[n, 2]`).

        Everything but `crop` and `mix`. What an image becomes depends on its own pixels and seed
        only, not on its neighbours. `fill`, a value or one for each channel, is what is erased or
        moved in from outside the image by RandAugment.
        """
        fill = np.broadcast_to(np.asarray(fill, np.uint8), images.shape[-1:])
        images = self._crop_and_flip(images, seeds)
        strengths = (self.brightness, self.contrast, self.saturation, self.hue)
        images = colour.jitter(images, seeds, *strengths)
        if self.rand_augment:
            magnitude = self.rand_augment_magnitude
            images = rand_augment.draw(images, seeds, self.rand_augment, magnitude, fill)
        if self.erasing:
            fill = None if self.erasing_fill == "noise" else fill
            area, aspect = self.erasing_area, self.erasing_aspect
            images = erasing.erase(images, seeds, self.erasing, area, aspect, fill)
        return images

    def mix(self, batch: dict[str, tf.Tensor], seeds: tf.Tensor) -> dict[str, tf.Tensor]:
        """Mixes the rows of a batch with their partners: see `mixing.mix_rows`."""
        return mixing.mix_rows(batch, seeds, self.mixup, self.cutmix, self.cutmix_share)

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
        # One gather of pixels from the flattened batch: crop and flip together.
        pixels = rows[:, :, None] * full_width + columns[:, None, :]
        result = tf.gather(tf.reshape(images, [-1, channels]), pixels)
        return tf.ensure_shape(result, [None, height, width, channels])
