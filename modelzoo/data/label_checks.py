"""What is said about the labels of a run's splits before training, and what is refused."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from modelzoo.data.split import Split
from modelzoo.fields.errors import UserError

_SHOWN = 5
_MANY = 10
"""Up to this number of classes, few examples of each do not show that labels are ids."""


def check_labels(splits: Mapping[str, Split]) -> Iterator[str]:
    """Yields remarks on the labels of splits, by role; only "train" is required.

    Raises:
        UserError: the labels of the training split leave nothing to learn.
    """
    train = splits["train"]
    target = train.bound.target
    if target is None or not target.names:
        return
    names, noun, counted = target.names, target.noun, train.label_counts
    if counted is None:
        if target.exclusive and len(names) == 1:
            raise _same_labels(names)
        return
    counts, total = counted
    if not total:
        return
    if np.isin(counts, (0, total)).all():
        raise _same_labels([names[k] for k in np.flatnonzero(counts).tolist()])
    present = counts > 0
    if target.exclusive and present.sum() > max(_MANY, total / 2):
        yield (
            f"train split: {present.sum():,} {noun} of {total:,} labels: if they are ids or "
            "numbers, name another column or choose the target Values"
        )
        return
    if alike := list(_alike(names)):
        shown = "; ".join(map(_quoted, alike[:_SHOWN])) + "; ..." * (len(alike) > _SHOWN)
        yield f"{noun} that differ by case, space or notation only: {shown}"
    if not present.all():
        yield f"no training example of {_some(names, ~present, noun)}: the model cannot learn them"
    for role, split in splits.items():
        if role != "train" and split.label_counts is not None:
            missing = present & (split.label_counts[0] == 0)
            if missing.any():
                yield (
                    f"{role} split: no example of {_some(names, missing, noun)}: their metrics are "
                    "undefined"
                )


def describe_names(split: Split, most: int = 10) -> str:
    """The names of a split's target with their counts, such as `cat: 600, dog: 400`."""
    target, counted = split.bound.get_target(), split.label_counts
    shown = []
    for number, name in enumerate(target.names[:most]):
        details = target.describe_name(number, None if counted is None else counted[0][number])
        shown.append(f"{_short(name)}: {details}" if details else _short(name))
    if (more := len(target.names) - most) > 0:
        shown.append(f"{more:,} more")
    return ", ".join(shown)


def _same_labels(names: Sequence[str]) -> UserError:
    return UserError(
        f"all labels of the training split are {_quoted(names) or 'empty'}: there is nothing to "
        "learn; add examples with others, or check config.data.train_split and config.data.target"
    )


def _alike(names: Sequence[str]) -> Iterator[list[str]]:
    """Names that are equal as numbers, or apart from case and space."""
    groups: dict[float | str, list[str]] = {}
    for name in names:
        key: float | str = "".join(name.casefold().split())
        with contextlib.suppress(ValueError):
            key = float(key)
        groups.setdefault(key, []).append(name)
    yield from (group for group in groups.values() if len(group) > 1)


def _some(names: Sequence[str], chosen: np.ndarray, noun: str) -> str:
    """Such as `2 of 4 classes ('1.0', '0.0')`."""
    found = [names[k] for k in np.flatnonzero(chosen).tolist()]
    return f"{len(found):,} of {len(names):,} {noun} ({_quoted(found)})"


def _quoted(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _SHOWN else ""
    return ", ".join(repr(_short(name)) for name in names[:_SHOWN]) + more


def _short(name: str, most: int = 30) -> str:
    """A name in one line, truncated."""
    shown = "".join(c if c.isprintable() else " " for c in name)
    return shown if len(shown) <= most else shown[: most - 1] + "…"
