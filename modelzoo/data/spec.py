"""What the data knows and a model, a task and an exported graph need to know."""

import dataclasses
import itertools
from typing import Literal

import numpy as np

Targets = Literal["class", "tags", "values"]
"""What is learned of each image: one class, any number of tags, or numbers."""


@dataclasses.dataclass(frozen=True)
class ImageSpec:
    """Size of the images that a model sees, how others are brought to it, and the targets.

    `resize` is "crop" (shorter side to the size, then the centre) or "stretch". `targets` says what
    `label` holds: "class" (int64 `[n]`, a number of `class_names`), "tags" (float32
    `[n, classes]`, 1 for each of `class_names` that the image has, else 0) or "values" (float32
    `[n, classes]`, a number for each of `class_names`). Two classes of one name are a ValueError:
    scores and files of classes go by the names.
    """

    height: int
    width: int
    channels: int
    class_names: tuple[str, ...]
    resize: str = "crop"
    targets: Targets = "class"

    def __post_init__(self):
        names = sorted(self.class_names)
        twice = next((a for a, b in itertools.pairwise(names) if a == b), None)
        if twice is not None:
            raise ValueError(f"class_names must differ from each other, got {twice!r} twice")

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(height, width, channels)`."""
        return (self.height, self.width, self.channels)

    @property
    def num_classes(self) -> int:
        """Number of classes, tags or values."""
        return len(self.class_names)

    def empty_labels(self, count: int) -> np.ndarray:
        """Room for so many labels, in the type and shape of `targets`."""
        if self.targets == "class":
            return np.empty(count, np.int64)
        return np.empty((count, self.num_classes), np.float32)

    def to_dict(self) -> dict:
        """The fields as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "ImageSpec":
        """Rebuilds a spec from `to_dict`'s values."""
        return cls(**{**values, "class_names": tuple(values["class_names"])})
