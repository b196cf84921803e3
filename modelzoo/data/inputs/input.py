"""The bases of all inputs: the config, what it learned from the data, and an opened split."""

import abc
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import tensorflow as tf

from modelzoo.data.columns import Bad, Form, PerRow, Rows, Tensors, View, Wanted
from modelzoo.data.text_files import read_content
from modelzoo.fields.errors import format_error
from modelzoo.fields.input_specs import InputSpec

if TYPE_CHECKING:
    from modelzoo.data.targets.target import Target


@dataclasses.dataclass(frozen=True, kw_only=True)
class Field(abc.ABC):
    """What inputs and targets have in common: the columns that they read.

    Attributes:
        columns: names of the columns; () for the source's default.
    """

    columns: tuple[str, ...] = ()

    forms: ClassVar[tuple[Form, ...]]
    """Accepted forms of a cell, the preferred one first."""
    default_column: ClassVar[str]
    """The column of a table if the config names none."""
    noun: ClassVar[str]
    """What an example is, in the plural, for messages."""
    suffixes: ClassVar[tuple[str, ...]] = ()
    """Suffixes of the files that a folder source lists."""
    many: ClassVar[bool] = False
    """Whether several columns are accepted."""

    def wanted(self, key: str) -> Wanted:
        """What this field asks of a source; `key` is its place in the config."""
        default, many = self.default_column, self.many
        return Wanted(key, self.columns, default, self.forms, self.suffixes, self.noun, many)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Input(Field):
    """What a model sees of an example; a subclass is the config of one kind."""

    kind: ClassVar[str]
    """Kind of the arrays that it makes, as in `InputSpec.kind`."""
    file_argument: ClassVar[str]
    """What `modelzoo predict` takes, such as "IMAGE_OR_FOLDER"."""
    adjustable: ClassVar[tuple[str, ...]] = ()
    """Fields that evaluation, prediction and export may change after training."""

    @property
    def split_key(self) -> Literal["value", "id", "time"]:
        """What a hash slice hashes: the parsed value or the row's id; "time" slices by position."""
        return "id"

    @property
    def pairs_examples(self) -> bool:
        """Whether training mixes pairs of examples, so that a batch must be even."""
        return False

    def parse(self, rows: Rows, key: str) -> PerRow | None:
        """One value per row, or a BadExample; None if cells are read later, such as images."""
        return None

    def view(self, rows: Rows, part: np.ndarray, key: str) -> View:
        """The examples in the rows `part` (int64 `[n]`, ascending for windows)."""
        return View(rows, part, part, part, part)

    @abc.abstractmethod
    def fit(self, train: View, key: str, target: "Target | None") -> "BoundInput":
        """Learns what the training examples tell, such as a vocabulary, a scale or a size."""

    def inherit(
        self, trained: "BoundInput | None", train: View, key: str, target: "Target | None"
    ) -> tuple["BoundInput", str | None]:
        """Learns as `fit` does, but keeps what initial weights, trained on `trained`, expect.

        Returns the bound input and a remark on what it keeps, or on what differs; None for neither.
        """
        return self.fit(train, key, target), None

    @abc.abstractmethod
    def load(self, learned: Mapping[str, Any], folder: Path) -> "BoundInput":
        """Rebuilds what `BoundInput.save` wrote to the folder and returned."""


class Change(NamedTuple):
    """What training did to the examples of a batch, so that targets follow.

    mix_share: share of the row's weight that belongs to its own target, float32 `[n]`; the rest
    belongs to the target of its partner, row ^ 1 (MixUp, CutMix). weight: the new weights.
    """

    mix_share: tf.Tensor
    weight: tf.Tensor


class Store(abc.ABC):
    """An opened field of one view; immutable.

    Attributes:
        lengths: tokens of each example before bucketing, int64 `[n]`; None if it has none.
        cut: whether each example is truncated, bool `[n]`; None if none can be.
        reasons: by example, why it cannot be used.
        lazy: whether `read` needs what `Rows.read` gives.
        remarks: what a person should know about the examples.
    """

    lengths: np.ndarray | None = None
    cut: np.ndarray | None = None
    reasons: Mapping[int, str] = {}
    lazy: bool = False
    remarks: tuple[str, ...] = ()

    @abc.abstractmethod
    def read(self, examples: tf.Tensor, raw: Tensors, width: tf.Tensor | int | None) -> Tensors:
        """Raw tensors of examples (int64 `[n]`), in a graph as well.

        `raw` holds the lazy columns of their rows; `width` is the length to pad to, None for the
        longest.
        """

    def examine(self, example: int) -> None:  # noqa: B027 (most stores read from memory)
        """Raises BadExample if the example cannot be read; called after a batch failed."""


class BoundInput(abc.ABC):
    """An input with what it learned from the training data; immutable.

    `config` is the input's config.
    """

    config: Input
    file_part: ClassVar[str | None] = None
    """The raw tensor that holds a file, or a line of a text; None if only tables are read."""
    layer: ClassVar[str | None] = None
    """What the names of layers hold whose weights are for what was learned; None for no layer."""

    @property
    def graph_module(self) -> str | None:
        """The Python module that has operations of an exported graph; None for TensorFlow's own."""
        return None

    @abc.abstractmethod
    def model_specs(self) -> dict[str, InputSpec]:
        """The model's named inputs that `features` makes."""

    @abc.abstractmethod
    def open(self, view: View, key: str, on_bad: str, whole: bool = False) -> Store:
        """Opens a view.

        Args:
            view: the examples.
            key: the input's key behind `config.data.`.
            on_bad: "skip" searches for unusable examples.
            whole: whether examples that training takes random parts of stay as they are stored.
        """

    @abc.abstractmethod
    def features(
        self, raw: Tensors, training: bool, seeds: tf.Tensor | None, weight: tf.Tensor | None
    ) -> tuple[Tensors, Change | None]:
        """Raw tensors to the model's: the one function of training, evaluation and serving.

        `seeds` (int64 `[n, 2]`: epoch-dependent seed and row) drive augmentation in training.
        """

    def by_example(self, names: Sequence[str], training: bool) -> bool:
        """Whether raw tensors of these names need `example` before they are batched."""
        return False

    def example(self, raw: Tensors, training: bool, seed: tf.Tensor | None) -> Tensors:
        """Prepares one example, without the batch dimension, so that cores share a batch."""
        return raw

    def views(self, tensors: Tensors) -> list[tuple[float, Tensors]]:
        """Shares, which add up to 1, and the views whose outputs are averaged at inference."""
        return [(1.0, tensors)]

    @abc.abstractmethod
    def serving(self) -> dict[str, tuple[str, tf.TensorSpec]]:
        """By signature name, the raw tensor that a request gives and its spec, named."""

    def from_files(self, paths: Iterable[str | Path]) -> Iterator[tuple[str, Any]]:
        """Names and raw values of files that are an example each, or a BadExample for a value."""
        return ((path, read_content(path)) for path in map(str, paths))

    def for_table(self) -> Self:
        """The input that reads examples in a table to predict, as it read them in training."""
        return self

    def requests(self, rows: Rows, key: str, alone: bool) -> tuple[View, Sequence[Bad]]:
        """The examples to predict in the rows of a table, and what is bad in it.

        `alone` says whether the model has no other inputs.
        """
        if not len(rows) and not rows.bad:
            return View(rows, *[np.zeros(0, np.int64)] * 3), [Bad(None, rows.where, "has no rows")]
        return self.config.view(rows, np.flatnonzero(rows.usable), key), rows.bad

    def explain(self, error: Exception) -> str:
        """Why an example of a request cannot be used, from the error of TensorFlow."""
        return format_error(error)

    @abc.abstractmethod
    def describe(self) -> str:
        """Such as "images 8x8x1"."""

    def save(self, folder: Path) -> dict[str, Any]:
        """What was learned, as JSON values; writes what is no JSON to the folder."""
        return {}

    def fingerprint(self) -> bytes:
        """Distinguishes inputs that learned something else, beyond their JSON values."""
        return b""

    @property
    def widths(self) -> tuple[int, ...] | None:
        """The lengths that a sequence is padded to, ascending; None if it has no length."""
        return None

    @property
    def words(self) -> Sequence[str] | None:
        """The vocabulary, whose entries have a row of an embedding each; None without one."""
        return None
