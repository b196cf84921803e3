"""What the data knows and a model, a task and an exported graph need to know."""

import dataclasses
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

if TYPE_CHECKING:
    from modelzoo.data.tokenizers import Tokenizer

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
class TextSpec(Spec):
    """How texts become tokens of few lengths.

    `lengths`, ascending, are the static lengths that texts are padded to, with token 0; of a text
    longer than the last, `keep` says what stays: its "start", its "end", or half from both "ends".
    """

    kind = "text"

    class_names: tuple[str, ...]
    targets: Targets = "class"
    lengths: tuple[int, ...]
    keep: Literal["start", "end", "ends"] = "start"
    tokenizer: "Tokenizer"

    def save_assets(self, folder: str | Path) -> None:
        """Writes the tokenizer."""
        self.tokenizer.save(Path(folder) / "tokenizer")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairSpec(Spec):
    """How pairs of a source text and a target text become tokens of few lengths.

    Every source ends with the token `source_end`, every target with `target_end`, which also stands
    before its first token where a decoder reads it. Both count in the lengths: `lengths[k]` and
    `target_lengths[k]`, ascending, are what the sides of a pair are padded to, with token 0. A text
    longer than the last is cut at its end. `target_tokenizer` is `tokenizer` itself where both
    sides share one vocabulary.
    """

    kind = "pair"

    class_names: tuple[str, ...] = ()
    targets: Targets = "text"
    lengths: tuple[int, ...]
    target_lengths: tuple[int, ...]
    tokenizer: "Tokenizer"
    target_tokenizer: "Tokenizer"

    @property
    def shared(self) -> bool:
        """Whether both sides share one vocabulary."""
        return self.target_tokenizer is self.tokenizer

    @property
    def source_end(self) -> int:
        """The id after the last of the source's vocabulary."""
        return self.tokenizer.vocab_size

    @property
    def target_end(self) -> int:
        """The id after the last of the target's vocabulary."""
        return self.target_tokenizer.vocab_size

    def to_dict(self) -> dict[str, Any]:
        """The kind, the fields but the tokenizers, and `shared`."""
        return {**super().to_dict(), "shared": self.shared}

    def save_assets(self, folder: str | Path) -> None:
        """Writes the tokenizer, or both."""
        self.tokenizer.save(Path(folder) / "tokenizer")
        if not self.shared:
            self.target_tokenizer.save(Path(folder) / "target_tokenizer")


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
    kinds = {cls.kind: cls for cls in (ImageSpec, TextSpec, PairSpec, SeriesSpec)}
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k != "kind"}
    cls = kinds[values.get("kind", "image")]
    if cls in (TextSpec, PairSpec):
        from modelzoo.data import tokenizers

        fields["tokenizer"] = tokenizers.load(Path(folder) / "tokenizer")
    if cls is PairSpec:
        other = None if fields.pop("shared") else tokenizers.load(Path(folder) / "target_tokenizer")
        fields["target_tokenizer"] = other or fields["tokenizer"]
    return cls(**fields)
