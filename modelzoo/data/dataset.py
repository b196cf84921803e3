"""Dataset: the config of the data, source x inputs x target, and its opened splits."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Literal

import numpy as np

from modelzoo.data import folds
from modelzoo.data.bound import RESERVED, TARGET, BoundData, input_key
from modelzoo.data.columns import Bad, BadExample, Form, PerRow, Rows, View, Wanted
from modelzoo.data.inputs.input import Input, Store
from modelzoo.data.slices import part_by_hash, split_parts, split_slice
from modelzoo.data.sources.source import ROLES, MissingSplitError, Source
from modelzoo.data.split import Split, bad_example, example_names
from modelzoo.data.targets.target import Target
from modelzoo.fields.errors import FieldError, UserError

_SPLIT_BY = "split_by"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """Examples to train and evaluate on: a source, what a model sees, and what it learns.

    Splits are named as TFDS names them: "train", "train[:90%]", "test[-500:]", "train+test[:9]".

    Attributes:
        source: where the rows come from.
        inputs: what a model sees: one input, or several by name.
        target: what is learned; None if the data is only predicted on.
        train_split: the examples to train on; "auto" is the source's "train".
        validation_split: the examples to evaluate on during training; "auto" is the source's
            "validation", "val", "valid" or "dev" if it has one of them; None for none.
        test_split: the examples to evaluate on at the end; "auto" is the source's "test" if it has
            one; None for none.
        split_by: columns that a slice hashes, so that examples with equal values stay together. ()
            hashes the source's groups, or the first input if it has none.
        fold: (number from 1, count, seed) of a fold of cross-validation, which `modelzoo train
            --folds` sets. `test_split` must equal `train_split`: the fold's part of its examples
            is the test split, and the rest the training split. See `modelzoo.data.folds`.
        on_bad: what a bad example causes, such as a corrupt image, a malformed line or an empty
            text: "error" names it, "skip" leaves it out and counts it.
        on_long: what a sequence longer than the longest of its lengths causes in the training
            split: "cut" truncates it, "skip" leaves the example out and counts it. Other splits are
            always truncated; references for metrics never are.
    """

    source: Source
    inputs: Input | dict[str, Input]
    target: Target | None = None
    train_split: str = "auto"
    validation_split: str | None = "auto"
    test_split: str | None = "auto"
    split_by: tuple[str, ...] = ()
    fold: tuple[int, int, int] | None = None
    on_bad: Literal["error", "skip"] = "error"
    on_long: Literal["cut", "skip"] = "cut"

    def __post_init__(self):
        self.check()

    def check(self) -> None:
        """Raises ValueError for a field that does not fit the others."""
        named, target = self.named_inputs, self.target
        wrong = [name for name in named if name in RESERVED or (name and not name.isidentifier())]
        if not named or wrong:
            raise FieldError(
                "inputs",
                "must be an input, or inputs by names that are identifiers and none of "
                f"{', '.join(RESERVED)}, got {', '.join(wrong) or 'none'}",
            )
        mixing = [input_key(name) for name, one in named.items() if one.pairs_examples]
        if len(mixing) > 1:
            raise FieldError(
                "inputs",
                f"may have one input whose examples are mixed in pairs, got "
                f"{' and '.join(mixing)}: set augment.mixup and augment.cutmix of the others to 0",
            )
        if target is not None:
            kinds, got = target.input_kinds, [one.kind for one in named.values()]
            if kinds is not None and not set(kinds) & set(got):
                raise FieldError(
                    "target",
                    f"{type(target).__name__} needs an input of kind {' or '.join(kinds)}, got "
                    f"{', '.join(got)}",
                )
            target.check(named)
            if mixing and not target.can_mix:
                raise FieldError(
                    f"{mixing[0]}.augment.mixup",
                    f"and cutmix must be 0 with the target {type(target).__name__}, whose labels "
                    "cannot be mixed",
                )
        windowed = [input_key(name) for name, _ in self.windowed_inputs]
        if len(windowed) > 1:
            raise FieldError(
                "inputs",
                f"may have one input whose rows follow each other in time, got "
                f"{' and '.join(windowed)}: read their columns by one input",
            )
        if self.split_by and (self.source.sliced == "stored" or windowed):
            ordered = type(self.source).__name__ if self.source.sliced == "stored" else windowed[0]
            raise FieldError(
                "split_by",
                f"must be () with {ordered}, whose slices are of stored positions, got "
                f"{self.split_by}",
            )
        if self.fold is None:
            return
        folds.check(self.fold)
        if self.test_split != self.train_split:
            raise FieldError(
                "test_split",
                f"must be train_split, {self.train_split!r}, with a fold, which holds "
                f"out a part of it, got {self.test_split!r}",
            )
        if self.on_long == "skip":
            raise FieldError(
                "on_long",
                f"must be 'cut' with a fold, got {self.on_long!r}: every example is held out once",
            )
        if windowed and getattr(self.source, "group", None) is None:
            raise FieldError(
                "source.group",
                f"must name the column of the series that folds are made of where "
                f"rows of {windowed[0]} follow each other in time, got None",
            )

    @property
    def named_inputs(self) -> dict[str, Input]:
        """The inputs by name; "" is the name of the only one."""
        return self.inputs if isinstance(self.inputs, dict) else {"": self.inputs}

    @property
    def windowed_inputs(self) -> list[tuple[str, Input]]:
        """Names and inputs whose examples are windows of rows in time; at most one."""
        return [item for item in self.named_inputs.items() if item[1].split_key == "time"]

    def open(self, bound: BoundData | None = None, trained: BoundData | None = None) -> "OpenData":
        """Opens the source; splits are read when they are asked for.

        `bound` is what was learned from other data, such as a run's; None learns from the training
        split, except what initial weights expect, which were trained on `trained`. Raises UserError
        if something is missing or malformed.
        """
        return OpenData(self, bound, trained)


class OpenData:
    """Opened data: reads each base split once for all roles.

    Attributes:
        inherited: remarks on what `bound` keeps of the data of initial weights, or does not.
    """

    def __init__(
        self, data: Dataset, bound: BoundData | None = None, trained: BoundData | None = None
    ):
        self.data = data
        self.inherited: list[str] = []
        self._given, self._trained = bound, trained
        self._source = data.source.open()
        self._rows: dict[str, Rows] = {}
        # Base splits in use by any role, which class names are collected from; a missing one is
        # reported when it is opened.
        texts = (self._find_text(role) for role in ROLES)
        names = {name for text in texts if text for name, _ in split_parts(text)}
        self._used = names & set(self._source.split_names)

    @functools.cached_property
    def bound(self) -> BoundData:
        """What the data knows; learned from the training split unless given."""
        if self._given is not None:
            return self._given
        train = self.view("train")
        trained = self._trained or BoundData({}, None)
        inputs, target = {}, None
        for name, config in self.data.named_inputs.items():
            key, theirs = input_key(name), trained.inputs.get(name)
            inputs[name], remark = config.inherit(theirs, train, key, self.data.target)
            self.inherited += filter(None, [remark])
        if self.data.target is not None:
            used = self._bases(sorted(self._used))
            keyed = {input_key(name): bound for name, bound in inputs.items()}
            target, remark = self.data.target.inherit(trained.target, train, used, TARGET, keyed)
            self.inherited += filter(None, [remark])
        return BoundData(inputs, target)

    def has(self, role: str) -> bool:
        """Whether there is a split for a role: "train", "validation" or "test"."""
        return self._find_text(role) is not None

    def split(self, name: str) -> Split:
        """Opens a split by its role ("train", "validation", "test") or its text ("train[:9]").

        With a fold the roles "train" and "test" are its parts. Raises UserError if the split is
        missing, empty or has a bad example.
        """
        return self.open_view(self.view(name), name)

    def open_view(self, view: View, name: str) -> Split:
        """Opens examples, which `name` stands for in messages; see `split`."""
        bound, data, rows = self.bound, self.data, view.rows
        stores: dict[str, Store] = {}
        for input_name, one in bound.inputs.items():
            key = input_key(input_name)
            stores[key] = one.open(view, key, data.on_bad, whole=name == "train")
        if bound.target is not None and TARGET in rows.columns:
            lazy = any(store.lazy for store in stores.values())
            stores[TARGET] = bound.target.open(view, TARGET, stores, lazy)
        reasons: dict[int, str] = {}
        for store in stores.values():
            for example, reason in sorted(store.reasons.items()):
                reasons.setdefault(example, reason)
        if reasons and data.on_bad == "error":
            example, reason = next(iter(reasons.items()))
            raise UserError(bad_example(rows.place(int(view.last[example])), reason))
        remarks = [*rows.remarks, *(one for store in stores.values() for one in store.remarks)]
        cuts = [store.cut for store in stores.values() if store.cut is not None]
        long = np.logical_or.reduce([np.zeros(len(view), bool), *cuts])
        long[list(reasons)] = False
        longest = bound.buckets.label(-1)
        if data.on_long == "skip" and name == "train":
            examples = np.flatnonzero(long).tolist()
            reasons |= dict.fromkeys(examples, f"has more than {longest} tokens")
        elif long.any():
            count = len(view) - len(reasons)
            remarks.append(
                f"{long.sum():,} of {count:,} examples are truncated to {longest} tokens"
            )
        found = [
            Bad(rows.split, rows.place(int(view.last[example])), reason)
            for example, reason in reasons.items()
        ]
        skipped = [*rows.bad, *found]
        if len(reasons) == len(view):
            raise UserError(
                f"{rows.where}: none of the {len(view):,} examples of {name!r} can be used, the "
                f"first: {skipped[0].place}: {skipped[0].reason}"
            )
        kept = np.delete(np.arange(len(view)), list(reasons))
        if rows.weights is not None and not rows.weights[view.last[kept]].any():
            role = "training" if name == "train" else name
            raise UserError(
                f"{rows.where}: no example of the {role} split has a positive weight: correct the "
                "weights, or leave them out"
            )
        return Split(bound, view, stores, kept, skipped, remarks)

    # From a split's name to its examples.

    def _find_text(self, name: str) -> str | None:
        """The text of a split, such as "train[:90%]"; None for a role without a split."""
        if name not in ROLES:
            return name
        if name == "test" and self.data.fold is not None:
            name = "train"  # Of which the fold holds out a part.
        text = getattr(self.data, f"{name}_split")
        if text == "auto":
            there = self._source.split_names
            text = next((split for split in ROLES[name] if split in there), None)
            if text is None and name == "train":
                raise UserError(
                    f"{self._source.missing('train')}; set config.data.train_split to one of them"
                )
        return text

    def _text(self, name: str) -> str:
        """The text of a split; an error for a role without a split."""
        text = self._find_text(name)
        if text is None:
            raise UserError(
                f"there is no {name} split: name one, such as "
                f"config.data.{name}_split='train[90%:]'"
            )
        return text

    def view(self, name: str) -> View:
        """The examples of a split by its role or text, before inputs and target are opened."""
        # Both parts of a fold are of the training split.
        fold = self.data.fold if name in ("train", "test") else None
        parts = split_parts(text := self._text("train" if fold else name))
        for base, _ in parts:
            if base not in self._source.split_names:
                error, key = self._source.missing(base), f"config.data.{name}_split"
                if name not in ROLES:
                    raise error
                none = "" if name == "train" else "=none to do without, or set it"
                raise MissingSplitError(f"{error}; set {key}{none} to a split that exists")
        names = list(dict.fromkeys(base for base, _ in parts))
        bases = self._bases(names)
        starts = np.cumsum([0, *map(len, bases)])
        numbered = [(names.index(base), slice_text) for base, slice_text in parts]
        part = [starts[k] + self._part(bases[k], slice_text) for k, slice_text in numbered]
        first = next(iter(self.data.named_inputs.items()))
        key, one = next(iter(self.data.windowed_inputs), first)
        rows = Rows.concat(bases)
        view = one.view(rows, np.concatenate(part), input_key(key))
        if not len(view):
            raise UserError(f"{rows.where}: the split {text!r} has no {one.noun}")
        if fold is None:
            return view
        trained, held_out = self._fold_parts(view, fold)
        return view.take(trained if name == "train" else held_out)

    def rows(self, split: str) -> Rows:
        """All rows of a base split, with what inputs and target made of them."""
        return self._bases([split])[0]

    def _bases(self, names: Sequence[str]) -> list[Rows]:
        """Base splits, parsed; each is read once."""
        if not set(names) <= set(self._rows):
            splits = sorted({*names, *self._used} - set(self._rows))
            for split, rows in self._source.read(self._wanted, splits).items():
                self._rows[split] = self._parsed(rows)
        return [self._rows[name] for name in names]

    @functools.cached_property
    def _wanted(self) -> tuple[Wanted, ...]:
        """What inputs and target ask of the source, with the columns resolved."""
        wanted = [one.wanted(input_key(name)) for name, one in self.data.named_inputs.items()]
        if self.data.target is not None:
            wanted.append(self.data.target.wanted(TARGET))
        for number, one in enumerate(wanted):
            columns = one.columns or self._source.default_columns(one)
            if len(columns) > 1 and not one.many:
                raise UserError(f"{one.field} must name one column, got {', '.join(columns)}")
            wanted[number] = dataclasses.replace(one, columns=columns)
        if self.data.split_by:
            forms: tuple[Form, ...] = ("text", "number", "class")
            wanted.append(Wanted(_SPLIT_BY, self.data.split_by, "", forms, many=True))
        return tuple(wanted)

    def _parsed(self, rows: Rows) -> Rows:
        """The rows with what inputs and target made of their cells; bad ones are reported."""
        inputs = {input_key(name): one for name, one in self.data.named_inputs.items()}
        parsed: dict[str, PerRow | None] = {k: one.parse(rows, k) for k, one in inputs.items()}
        rows = dataclasses.replace(rows, parsed=parsed)
        if self.data.target is not None and TARGET in rows.columns:
            parsed = {**parsed, TARGET: self.data.target.parse(rows, TARGET, inputs)}
            rows = dataclasses.replace(rows, parsed=parsed)
        bad = list(rows.bad)
        for row in np.flatnonzero(~rows.usable).tolist():
            reason = next(
                str(values[row])
                for values in rows.parsed.values()
                if values is not None and isinstance(values[row], BadExample)
            )
            bad.append(Bad(rows.split, rows.place(row), reason))
        if bad and self.data.on_bad == "error":
            raise UserError(bad_example(bad[0].place, bad[0].reason))
        return dataclasses.replace(rows, bad=tuple(bad))

    def _part(self, rows: Rows, text: str) -> np.ndarray:
        """The usable rows of a slice: by hash or by stored position, int64 `[n]`."""
        source, usable = self.data.source, rows.usable
        if source.sliced == "stored":
            part = np.arange(len(rows))[split_slice(text, len(rows))]
            return part[usable[part]]
        good = np.flatnonzero(usable)
        if not len(good):
            bad = f": {rows.bad[0].place}: {rows.bad[0].reason}" if rows.bad else ""
            raise MissingSplitError(f"{rows.where} has no good example in {rows.split!r}{bad}")
        if self.data.windowed_inputs:
            return good[split_slice(text, len(good))]
        name, first = next(iter(self.data.named_inputs.items()))
        part = good[part_by_hash(text, self._split_keys(rows, input_key(name), first, good))]
        return np.sort(part) if source.ordered == "stored" else part

    def _split_keys(self, rows: Rows, key: str, first: Input, good: np.ndarray) -> Sequence[str]:
        """What a hash slice hashes, of each good row."""
        if self.data.split_by:
            columns = [rows.values(column, good) for column in rows.columns[_SPLIT_BY]]
            return ["\0".join(map(str, cells)) for cells in zip(*columns, strict=True)]
        if rows.groups is not None:
            return [rows.groups[row] for row in good]
        parsed, names = rows.parsed[key], example_names(rows)
        if first.split_key == "id" or parsed is None:
            return [names[row] for row in good]
        return [value if isinstance(value := parsed[row], str) else repr(value) for row in good]

    def _fold_parts(self, view: View, fold: folds.Fold) -> tuple[np.ndarray, np.ndarray]:
        """The examples that the fold trains on, and those that it holds out."""
        found = None
        if self.data.target is not None:
            used = self._bases(sorted(self._used))
            found = self.data.target.stratify(view, used, TARGET)
        classes, names = found if found is not None else (None, ())
        groups = view.rows.groups
        if groups is not None:
            groups = [groups[row] for row in view.last]
        return folds.parts(fold, len(view), classes, names, groups)
