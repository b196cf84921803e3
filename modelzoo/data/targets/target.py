"""The bases of all targets: the config, what it learned from the data, and an opened split."""

import abc
import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from modelzoo.data.columns import PerRow, Rows, Tensors, View
from modelzoo.data.inputs.input import BoundInput, Change, Field, Input, Store
from modelzoo.fields.errors import UserError
from modelzoo.fields.input_specs import InputSpec

BoundInputs = Mapping[str, BoundInput]
"""By key, what the inputs learned."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target(Field):
    """What is learned about an example; a subclass is the config of one kind."""

    kind: ClassVar[str]
    """Name of the kind in messages, such as "a class"."""
    input_kinds: ClassVar[tuple[str, ...] | None] = None
    """Kinds of inputs that it points into; None for any."""
    can_mix: ClassVar[bool] = False
    """Whether `BoundTarget.features` follows the mixing of pairs of examples."""
    ends_texts: ClassVar[bool] = False
    """Whether texts that a model reads end with an end token, unless their input decides."""

    def check(self, inputs: Mapping[str, Input]) -> None:
        """Raises FieldError or ValueError if the target does not fit the inputs."""

    @property
    def shares_vocabulary(self) -> bool:
        """Whether it has the vocabulary of the input."""
        return False

    @abc.abstractmethod
    def parse(self, rows: Rows, key: str, inputs: Mapping[str, Input]) -> PerRow | None:
        """One value per row, or a BadExample; None if cells are read later.

        `rows.parsed` has what the inputs, by key, made of their cells.
        """

    def shared_texts(self, train: View) -> dict[str, Sequence[str]]:
        """By the target's key, its training texts if it shares the vocabulary of the input."""
        return {}

    def stratify(
        self, view: View, used: Sequence[Rows], key: str
    ) -> tuple[np.ndarray, tuple[str, ...]] | None:
        """Class of each example, int64 `[n]`, and class names, for stratified folds; else None."""
        return None

    @abc.abstractmethod
    def fit(
        self, train: View, used: Sequence[Rows], key: str, inputs: BoundInputs
    ) -> "BoundTarget":
        """Learns names from all base splits in use, and the rest from the training examples."""

    def inherit(
        self,
        trained: "BoundTarget | None",
        train: View,
        used: Sequence[Rows],
        key: str,
        inputs: BoundInputs,
    ) -> tuple["BoundTarget", str | None]:
        """Learns as `fit` does; see `Input.inherit`."""
        bound = self.fit(train, used, key, inputs)
        theirs = () if trained is None else trained.names
        if len(bound.names) != len(theirs) or bound.names == theirs:
            return bound, None
        own, other = next(
            pair for pair in zip(bound.names, theirs, strict=True) if len({*pair}) > 1
        )
        return bound, (
            f"the {bound.noun} of config.data.{key} are not those of the initial weights, such as "
            f"{own} in place of {other}: skip the output layer by config.train.init_skip=logits"
        )

    @abc.abstractmethod
    def load(self, learned: Mapping[str, Any], folder: Path, inputs: BoundInputs) -> "BoundTarget":
        """Rebuilds what `BoundTarget.save` wrote to the folder and returned."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class NamedTarget(Target):
    """A target of which only the names of its labels are learned."""

    @abc.abstractmethod
    def find_names(self, train: Rows, used: Sequence[Rows], key: str) -> Sequence[str]:
        """The names, in the order of the labels."""

    @abc.abstractmethod
    def bind(self, names: tuple[str, ...], inputs: BoundInputs) -> "BoundTarget":
        """The bound target with these names."""

    def fit(
        self, train: View, used: Sequence[Rows], key: str, inputs: BoundInputs
    ) -> "BoundTarget":
        rows, names = train.rows, tuple(self.find_names(train.rows, used, key))
        if not names:
            columns = ", ".join(column.name for column in rows.columns[key])
            raise UserError(f"{rows.where} has no {self.noun} in the column {columns}")
        # Metrics and files of classes go by the names.
        name, times = Counter(names).most_common(1)[0]
        if times > 1:
            raise UserError(f"{rows.where}: names must differ from each other, got {name!r} twice")
        return self.bind(names, inputs)

    def load(self, learned: Mapping[str, Any], folder: Path, inputs: BoundInputs) -> "BoundTarget":
        return self.bind(tuple(learned["names"]), inputs)


class BoundTarget(abc.ABC):
    """A target with what it learned from the training data; immutable.

    Attributes:
        config: the target's config.
        names: names of the classes, tags or values; () if it has none.
    """

    config: Target
    names: tuple[str, ...] = ()
    exclusive: ClassVar[bool] = False
    """Whether a label is one of the names."""
    layer: ClassVar[str | None] = "logits/"
    """As in `BoundInput`."""

    @property
    def noun(self) -> str:
        """What the names are, in the plural."""
        return self.config.noun

    @abc.abstractmethod
    def open(self, view: View, key: str, inputs: Mapping[str, Store], lazy: bool) -> Store:
        """Opens a view; with `lazy`, labels may stay in records that are read for the inputs."""

    def model_specs(self) -> dict[str, InputSpec]:
        """Named inputs of the model that come from the target, such as what a decoder reads."""
        return {}

    @abc.abstractmethod
    def features(self, raw: Tensors, change: Change | None) -> Tensors:
        """Raw tensors to the batch's, such as `label`."""

    @abc.abstractmethod
    def label_to_json(self, label: Any) -> Any:
        """The label of one example as a JSON value, such as the name of its class."""

    def references(self, view: View, key: str) -> Sequence[tuple[str, ...]] | None:
        """The target texts of each example, whole, for metrics; None without texts."""
        return None

    def count_labels(self, batch: Tensors) -> tuple[np.ndarray, int] | None:
        """How many labels of positive weight in a batch each name has, and how many there are.

        The counts are int64 `[names]`; None for a target whose names are no labels.
        """
        return None

    def describe_name(self, number: int, count: int | None) -> str:
        """What to know about a name at the start of a training: its count, if it is known."""
        return "" if count is None else f"{count:,}"

    @property
    def widths(self) -> tuple[int, ...] | None:
        """The lengths that a sequence is padded to; None if it has no length."""
        return None

    def describe(self) -> str:
        """Such as "10 classes"."""
        return f"{len(self.names)} {self.noun}"

    def save(self, folder: Path) -> dict[str, Any]:
        """What was learned, as JSON values; writes what is no JSON to the folder."""
        return {"names": list(self.names)}

    def fingerprint(self) -> bytes:
        """Distinguishes targets that learned something else, beyond their JSON values."""
        return b""
