"""Images as inputs: decoded, resized, augmented and normalised."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from modelzoo.data.augment import Augment
from modelzoo.data.columns import Tensors, View
from modelzoo.data.inputs.decode import MAX_PIXELS, SUFFIXES, decode, decode_batch
from modelzoo.data.inputs.image_headers import explain
from modelzoo.data.inputs.image_store import open_images, stored_bit_depth, stored_shape
from modelzoo.data.inputs.input import BoundInput, Change, Input, Store
from modelzoo.data.inputs.resize import Resize, Shape, fit_batch, to_shape
from modelzoo.data.targets.target import Target
from modelzoo.fields.errors import FieldError, UserError
from modelzoo.fields.input_specs import ArraySpec, InputSpec

Views = Literal["one", "flip", "flip_shift"]
"""The views of an image whose outputs are averaged at inference.

"one": the image. "flip": it and its mirror image. "flip_shift": these, and both shifted by one
pixel up and left, and down and right, with reflected borders. As in airbench (Jordan 2024), the
shifted views have half of the weight.
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Image(Input):
    """PNG, JPEG, GIF, BMP and still WebP images, or arrays of pixels.

    The bytes of an image decide its format, and its EXIF data how it is turned. PNGs with 16 bits
    per channel are scaled to 8 by the bit depth of the training images: the fewest bits, at least
    8, that hold the values of up to 256 of them.

    Attributes:
        columns: the column of the images; () for the source's default, "path" in a table.
        size: (height, width) of what a model sees; None for the data's own size, which must then
            be the same for all images.
        channels: 1 (grey), 2 (grey with alpha), 3 (RGB) or 4 (RGBA), to which all images are
            converted; None for the data's own.
        resize: "crop" scales the shorter side to the size and takes the centre; "stretch" changes
            the proportions.
        augment: random changes of training images.
        mean, std: one number per channel, for pixels in [0, 1]; the model sees
            (pixel - mean) / std. None is 0.5, which gives [-1, 1].
        test_views: the views of each image whose outputs are averaged in evaluation, prediction
            and export, never in training; see `Views`.
        max_pixels: height x width above which an image is refused before it is decoded.

    Example:
        >>> from modelzoo.data.augment import Augment
        >>> from modelzoo.data.inputs.image import Image
        >>> Image(size=(224, 224), channels=3, augment=Augment(flip=True)).kind
        'image'
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    resize: Resize = "crop"
    augment: Augment = dataclasses.field(default_factory=Augment)
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    test_views: Views = "one"
    max_pixels: int = MAX_PIXELS

    kind = "image"
    forms = ("array", "bytes", "file")
    default_column = "path"
    noun = "images"
    suffixes = SUFFIXES
    file_argument = "IMAGE_OR_FOLDER"
    adjustable = ("test_views", "max_pixels")

    def __post_init__(self):
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise FieldError("size", f"must be two positive integers (H, W), got {self.size!r}")
        if self.channels not in (None, 1, 2, 3, 4):
            raise FieldError("channels", f"must be None, 1, 2, 3 or 4, got {self.channels!r}")
        if self.resize not in ("crop", "stretch"):
            raise FieldError("resize", f"must be 'crop' or 'stretch', got {self.resize!r}")
        if self.std is not None and not min(self.std, default=0) > 0:
            raise FieldError("std", f"must be numbers > 0, got {self.std}")
        if self.max_pixels < 1:
            raise FieldError("max_pixels", f"must be at least 1, got {self.max_pixels}")

    @property
    def pairs_examples(self) -> bool:
        return self.augment.mixes

    @property
    def wants_whole(self) -> bool:
        return self.augment.crop_area is not None

    def fit(self, train: View, key: str, target: Target | None) -> "BoundImage":
        """Learns the size and the channels that the config leaves open."""
        shape: Shape = (*(self.size or (0, 0)), self.channels or 0)
        if 0 in shape:
            height, width, channels = stored_shape(train, key, self.max_pixels)
            shape = (*(self.size or (height, width)), self.channels or channels)
        try:
            return BoundImage(self, shape, stored_bit_depth(train, key, self.max_pixels))
        except FieldError as error:
            raise UserError(f"config.data.{key}.{error}") from None

    def inherit(
        self, trained: BoundInput | None, train: View, key: str, target: Target | None
    ) -> tuple["BoundImage", str | None]:
        """Keeps the mean and the standard deviation, unless the config has its own."""
        bound = self.fit(train, key, target)
        if not isinstance(trained, BoundImage):
            return bound, None
        mean, std = trained.config.mean, trained.config.std
        if (self.mean, self.std) == (mean, std):
            return bound, None
        theirs = f"those of the initial weights, {_in_words(mean)} and {_in_words(std)}"
        if (self.mean, self.std) == (None, None) and bound.shape[2] == trained.shape[2]:
            config = dataclasses.replace(self, mean=mean, std=std)
            bound = dataclasses.replace(bound, config=config)
            return bound, f"mean and std of config.data.{key} are {theirs}"
        return bound, f"mean and std of config.data.{key} are not {theirs}"

    def load(self, learned: Mapping[str, Any], folder: Path) -> "BoundImage":
        shape = (learned["height"], learned["width"], learned["channels"])
        mean, std = (None if learned[k] is None else tuple(learned[k]) for k in ("mean", "std"))
        config = dataclasses.replace(self, mean=mean, std=std)
        return BoundImage(config, shape, learned.get("bit_depth"))


@dataclasses.dataclass(frozen=True)
class BoundImage(BoundInput):
    """`Image` on given data.

    Raw tensors: `image` (uint8 `[n, height, width, channels]`, of one size) or `encoded` (string
    `[n]`, images of any size). The model's: `image`, float32 `[n, height, width, channels]`.

    Attributes:
        shape: height, width and channels of what the model sees.
        bit_depth: that of training images with 16 bits per channel; None if it has seen none.

    Raises:
        FieldError: a field does not fit the shape.
    """

    config: Image
    shape: Shape
    bit_depth: int | None = None

    file_part = "encoded"

    def __post_init__(self):
        config, (height, width, channels) = self.config, self.shape
        for name in ("mean", "std"):
            value = getattr(config, name)
            if value is not None and len(value) != channels:
                raise FieldError(
                    name,
                    f"must have one number for each of the {channels} channels, got {len(value)}",
                )
        try:
            config.augment.check_channels(channels)
        except FieldError as error:
            raise FieldError(f"augment.{error.field}", error.message) from None
        if config.test_views == "flip_shift" and min(height, width) < 2:
            raise FieldError(
                "test_views", f"flip_shift needs images of at least 2x2, got {height}x{width}"
            )

    @functools.cached_property
    def _normalisation(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Scale and offset of pixels, float32, and the mean pixel, uint8: `[channels]` each."""
        mean, std = (
            np.full(self.shape[2], 0.5) if values is None else np.array(values)
            for values in (self.config.mean, self.config.std)
        )
        scale = (1.0 / (255.0 * std)).astype(np.float32)
        offset = (-mean / std).astype(np.float32)
        return scale, offset, np.clip(np.round(255 * mean), 0, 255).astype(np.uint8)

    def model_specs(self) -> dict[str, InputSpec]:
        return {"image": ArraySpec("image", self.shape)}

    def open(self, view: View, key: str, on_bad: str, whole: bool = False) -> Store:
        return open_images(view, key, self, on_bad, whole and self.config.wants_whole)

    def features(
        self,
        raw: Tensors,
        training: bool,
        seeds: tf.Tensor | None = None,
        weight: tf.Tensor | None = None,
    ) -> tuple[Tensors, Change | None]:
        config = self.config
        if "image" in raw:
            # Whole images, for training to crop, may have another size.
            image = fit_batch(raw["image"], self.shape, config.resize)
        else:
            image = decode_batch(
                raw["encoded"], self.shape, config.resize, config.max_pixels, self.bit_depth or 16
            )
        scale, offset, fill = self._normalisation
        if training:
            image = config.augment(image, seeds, fill)
        image = tf.cast(image, tf.float32) * scale + offset
        if not (training and config.augment.mixes):
            return {"image": image}, None
        image, weight, share = config.augment.mix(image, weight, seeds)
        return {"image": image}, Change(mix_share=share, weight=weight)

    def decode(self, encoded: tf.Tensor) -> tf.Tensor:
        """Decodes one image in its own size, uint8 `[height, width, channels]`."""
        return decode(encoded, self.config.max_pixels, self.bit_depth or 16)

    def by_example(self, names: Sequence[str], training: bool) -> bool:
        return "encoded" in names or (training and self.config.wants_whole)

    def example(self, raw: Tensors, training: bool, seed: tf.Tensor | None = None) -> Tensors:
        """Decodes one image; in training crops it, if the config says so."""
        image = self.decode(raw["encoded"]) if "encoded" in raw else raw["image"]
        if training and self.config.wants_whole:
            return {"image": self.config.augment.crop(image, seed, self.shape)}
        return {"image": to_shape(image, self.shape, self.config.resize)}

    def views(self, tensors: Tensors) -> list[tuple[float, Tensors]]:
        return [
            (share, {**tensors, "image": image})
            for share, image in views_of(tensors["image"], self.config.test_views)
        ]

    def serving(self) -> dict[str, tuple[str, tf.TensorSpec]]:
        """`serving_default` takes `images`, uint8; `image_bytes` takes `encoded`, of any size.

        An image that cannot be decoded fails a request as an invalid argument.
        """
        images = tf.TensorSpec([None, *self.shape], tf.uint8, name="images")
        encoded = tf.TensorSpec([None], tf.string, name="encoded")
        return {"serving_default": ("image", images), "image_bytes": ("encoded", encoded)}

    def explain(self, error: Exception) -> str:
        return explain(error)

    def describe(self) -> str:
        depth = "" if self.bit_depth is None else f" ({self.bit_depth} of 16 bits, scaled to 8)"
        return f"images {'x'.join(map(str, self.shape))}{depth}"

    def save(self, folder: Path) -> dict[str, Any]:
        shape = dict(zip(("height", "width", "channels"), self.shape, strict=True))
        learned = {**shape, "mean": self.config.mean, "std": self.config.std}
        return learned if self.bit_depth is None else {**learned, "bit_depth": self.bit_depth}


def _in_words(values: tuple[float, ...] | None) -> str:
    return "0.5" if values is None else ", ".join(f"{value:g}" for value in values)


def views_of(images: tf.Tensor, views: Views) -> list[tuple[float, tf.Tensor]]:
    """Shares, which add up to 1, and views of images `[n, height, width, channels]`."""
    if views == "one":
        return [(1.0, images)]
    groups = [(1.0, [images])]
    if views == "flip_shift":
        # Not by tf.pad, which refuses an empty batch.
        padded = tf.concat([images[:, 1:2], images, images[:, -2:-1]], axis=1)
        padded = tf.concat([padded[:, :, 1:2], padded, padded[:, :, -2:-1]], axis=2)
        groups = [(0.5, [images]), (0.5, [padded[:, :-2, :-2], padded[:, 2:, 2:]])]
    return [
        (share / (2 * len(shown)), view)
        for share, shown in groups
        for image in shown
        for view in (image, image[:, :, ::-1])
    ]
