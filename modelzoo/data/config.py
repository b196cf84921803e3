"""What the configs of all sources have in common."""

import abc
import dataclasses
from typing import Any

from modelzoo.data import folds
from modelzoo.data.source import Source
from modelzoo.data.spec import ImageSpec, Targets
from modelzoo.data.splits import MissingSplitError
from modelzoo.fields.errors import UserError

ROLES = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data(abc.ABC):
    """Fields that every source takes.

    Attributes:
        train_split: what is trained on, such as "train" or "train[:90%]".
        validation_split: what is evaluated during training, such as "train[90%:]"; None for none.
        test_split: what is evaluated at the end; None for none.
        fold: (number from 1, how many, seed) of a fold of cross-validation, which `modelzoo train
            --folds` sets, with `test_split` the same as `train_split`: the test split is the fold's
            part of these rows, the training split the rest. See `modelzoo.data.folds`.
    """

    train_split: str = "train"
    validation_split: str | None = None
    test_split: str | None = "test"
    fold: tuple[int, int, int] | None = None

    def __post_init__(self):
        if self.fold is None:
            return
        folds.check(self.fold)
        if self.test_split != self.train_split:
            raise ValueError(
                f"test_split must be train_split, {self.train_split!r}, where fold says which part "
                f"of it is held out, got {self.test_split!r}"
            )

    def open(self, split: str, **how: Any) -> Source:
        """Opens a split: a role ("train", "validation", "test") or a split's text ("train[:9]").

        `how` is what the kind of data takes besides. With a `fold` the roles "train" and "test" are
        its parts. Raises UserError for what is missing or malformed.
        """
        text = getattr(self, f"{split}_split") if split in ROLES else split
        if text is None:
            raise UserError(
                f"config.data.{split}_split is None, so there is no {split} split; "
                f"name one, such as config.data.{split}_split='train[90%:]'"
            )
        try:
            source = self._open(text, **how)
        except MissingSplitError as error:
            if split not in ROLES:
                raise
            key = f"config.data.{split}_split"
            hint = f"set {key}" if split == "train" else f"set {key}=none to do without, or set it"
            raise UserError(f"{error}; {hint} to what is there") from None
        if self.fold is None or split not in ("train", "test"):
            return source
        trained, held_out = folds.parts_of(source, self.fold)
        return source.subset(trained if split == "train" else held_out)

    @abc.abstractmethod
    def _open(self, split: str, **how: Any) -> Source:
        """Opens a split by its text."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageData(Data):
    """Fields that every image source takes.

    `open(split, encoded=True)` leaves images that would be resized encoded where they are so on
    disk, for one who wants them whole, such as a random crop.

    Attributes:
        image_size: (height, width) of the images a model sees; None for the data's own, which must
            then be one.
        channels: 1 (grey), 3 (RGB), 2 or 4 (with alpha), to which all are converted; None for the
            data's own.
        resize: "crop" scales the shorter side to the size and takes the centre; "stretch" gives up
            the proportions.
    """

    image_size: tuple[int, int] | None = None
    channels: int | None = None
    resize: str = "crop"

    def __post_init__(self):
        super().__post_init__()
        size = self.image_size
        if size is not None and (len(size) != 2 or min(size) < 1):
            raise ValueError(f"image_size must be two positive integers (H, W), got {size!r}")
        if self.channels not in (None, 1, 2, 3, 4):
            raise ValueError(f"channels must be None, 1, 2, 3 or 4, got {self.channels!r}")
        if self.resize not in ("crop", "stretch"):
            raise ValueError(f"resize must be 'crop' or 'stretch', got {self.resize!r}")

    def _spec(
        self,
        where: str,
        shape: tuple[int, int, int],
        class_names: tuple[str, ...],
        targets: Targets = "class",
    ) -> ImageSpec:
        """The spec for the data of a place, of this own shape `(height, width, channels)`."""
        height, width = self.image_size or shape[:2]
        channels = self.channels or shape[2]
        try:
            return ImageSpec(height, width, channels, class_names, self.resize, targets)
        except ValueError as error:
            raise UserError(f"{where}: {error}") from None


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncodedImageData(ImageData):
    """Fields of the sources whose images are encoded files, which can be corrupt.

    Attributes:
        on_bad_image: what a corrupt image leads to: "error" names it, "skip" leaves it out and
            counts it.
    """

    on_bad_image: str = "error"

    def __post_init__(self):
        super().__post_init__()
        if self.on_bad_image not in ("error", "skip"):
            raise ValueError(f"on_bad_image must be 'error' or 'skip', got {self.on_bad_image!r}")
