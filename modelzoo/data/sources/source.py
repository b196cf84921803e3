"""The base of all sources."""

import abc
import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar, Literal

from modelzoo.data.columns import Form, Rows, Wanted
from modelzoo.fields.errors import UserError

ROLES = {
    "train": ("train",),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test",),
}
"""Names of the base splits that "auto" looks for, by role, the preferred one first."""


class MissingSplitError(UserError):
    """The source has no split of that name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source(abc.ABC):
    """Where examples come from, rows and columns by name; a subclass is a config."""

    sliced: ClassVar[Literal["hash", "stored"]] = "hash"
    """Whether a slice is a range of hashes or of stored positions."""
    ordered: ClassVar[Literal["hash", "stored"]] = "hash"
    """Whether the examples of a split come in the order of their hashes or in stored order."""
    holds_files: ClassVar[bool] = False
    """Whether an example is a file, so that `modelzoo predict` takes a file of text as one text."""

    @property
    def folder_of_data(self) -> str | None:
        """The folder whose folders are read as data, such as classes; None without one."""
        return None

    @abc.abstractmethod
    def open(self) -> "OpenSource":
        """Opens the source; UserError if it cannot be read."""


class OpenSource(abc.ABC):
    """An opened source; immutable.

    Attributes:
        where: the source in messages, such as "table train.csv".
        split_names: names of the base splits.
    """

    where: str
    split_names: tuple[str, ...]

    def default_columns(self, wanted: Wanted) -> tuple[str, ...]:
        """The columns of an input or target whose config names none."""
        return (wanted.default,)

    @abc.abstractmethod
    def read(self, wanted: Sequence[Wanted], splits: Collection[str]) -> Mapping[str, Rows]:
        """Reads base splits, each once for all roles.

        Args:
            wanted: what inputs and targets ask for, with resolved columns.
            splits: names of the base splits in use, all in `split_names`.

        Raises:
            UserError: a column is missing, or has no form that is accepted.
        """

    def check_columns(self, wanted: Sequence[Wanted], stored: Mapping[str, Form]) -> None:
        """Raises UserError if a wanted column is not stored, or in a form that is not accepted."""
        for one in wanted:
            for name in one.columns:
                if name not in stored:
                    raise UserError(
                        f"{self.where} has no column {name!r} for {one.field}; its columns are "
                        f"{', '.join(stored)}"
                    )
                self.form_of(one, name, [stored[name]])

    def form_of(self, wanted: Wanted, column: str, stored: Sequence[Form]) -> Form:
        """The first accepted form of those that the source can supply; UserError if none is."""
        for form in wanted.forms:
            if form in stored:
                return form
        raise UserError(
            f"{wanted.field}: the column {column!r} of {self.where} holds {' or '.join(stored)}, "
            f"not {' or '.join(wanted.forms)}; name another column or choose another kind"
        )

    def missing(self, split: str) -> MissingSplitError:
        """The error for a base split that does not exist."""
        return MissingSplitError(
            f"{self.where} has no split {split!r}; it has "
            f"{', '.join(self.split_names) or 'none'}, and slices of them such as 'train[:80%]'"
        )
