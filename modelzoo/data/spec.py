"""What the data knows and a model, a task and an exported graph need to know."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

Targets = Literal["class", "tags", "values", "labels", "text"]
"""What is learned of each example: one class, tags, numbers, a class a token, or another text."""


class Spec:
    """What all kinds of data know, each a dataclass.

    `targets` says what `label` holds: "class" (int64 `[n]`, a number of `class_names`), "tags"
    (float32 `[n, classes]`, 1 for each of `class_names` that the example has, else 0), "values"
    (float32 `[n, classes]`, a number for each of `class_names`) or "labels" (int64 `[n, length]`, a
    number of `class_names` for each token, -1 where there is none), or "text", where there is no
    `label` but a target text. Two classes of one name are a
    ValueError: scores and files of classes go by the names.
    """

    kind: ClassVar[str]

    class_names: tuple[str, ...]
    targets: Targets

    def __post_init__(self):
        names = sorted(self.class_names)
        twice = next((a for a, b in itertools.pairwise(names) if a == b), None)
        if twice is not None:
            raise ValueError(f"class_names must differ from each other, got {twice!r} twice")

    @property
    def num_classes(self) -> int:
        """Number of classes, tags or values."""
        return len(self.class_names)

    def empty_labels(self, count: int) -> np.ndarray:
        """Room for so many labels, in the type and shape of `targets`."""
        if self.targets == "class":
            return np.empty(count, np.int64)
        return np.empty((count, self.num_classes), np.float32)

    def to_dict(self) -> dict[str, Any]:
        """The kind and the fields as JSON values."""
        fields = (f.name for f in dataclasses.fields(self) if "tokenizer" not in f.name)
        return {"kind": self.kind, **{name: getattr(self, name) for name in fields}}

    def save_assets(self, folder: str | Path) -> None:
        """Writes what is no JSON value into the folder of `to_dict`'s file: a tokenizer."""


@dataclasses.dataclass(frozen=True)
class ImageSpec(Spec):
    """Size of the images that a model sees, and how others are brought to it.

    `resize` is "crop" (shorter side to the size, then the centre) or "stretch".
    """

    kind = "image"

    height: int
    width: int
    channels: int
    class_names: tuple[str, ...]
    resize: str = "crop"
    targets: Targets = "class"

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(height, width, channels)`."""
        return (self.height, self.width, self.channels)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeriesSpec(Spec):
    """Steps of a numeric series that a model sees, and the scale of its features.

    `features` are their names; the model sees (value - mean) / std of each. Where a row of a table
    is an example, `columns` are those that it is read from; else the steps are rows.
    """

    kind = "series"

    class_names: tuple[str, ...]
    targets: Targets = "class"
    length: int
    features: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    columns: tuple[str, ...] = ()


def load(values: dict[str, Any], folder: str | Path) -> Spec:
    """Rebuilds a spec from `to_dict`'s values, which lay in `folder`; without a kind, an image's.

    Raises TypeError, KeyError or ValueError where they describe none.
    """
    if not isinstance(values, dict):
        raise TypeError(f"must be an object, got {values!r}")
    kinds = {cls.kind: cls for cls in (ImageSpec, SeriesSpec)}
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k != "kind"}
    return kinds[values.get("kind", "image")](**fields)
