"""BoundData: inputs and target with what they learned from the training data."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from modelzoo.data.buckets import Buckets
from modelzoo.data.columns import Tensors
from modelzoo.data.inputs.input import BoundInput, Change
from modelzoo.data.targets.target import BoundTarget
from modelzoo.fields.errors import FieldError, UserError
from modelzoo.fields.input_specs import InputSpec

if TYPE_CHECKING:
    from modelzoo.data.dataset import Dataset

FILE = "data.json"
INPUT, TARGET = "inputs", "target"
_OWN = ("weight", "index", "number")
"""Tensors of the examples themselves, in a raw batch and in one of features."""
RESERVED = (INPUT, TARGET, "decoder", *_OWN, "label", "mix")
"""What no input may be called, for the tensors of a batch have these names."""


def input_key(name: str) -> str:
    """The key of an input behind `config.data.`; the only input of a data set has no name."""
    return f"{INPUT}.{name}" if name else INPUT


def _prefix(name: str) -> str:
    return f"{name}/" if name else ""


def tensor_prefix(key: str) -> str:
    """What the raw tensors of an input or the target begin with, by its key."""
    return _prefix(key.removeprefix(INPUT).removeprefix("."))


@dataclasses.dataclass(frozen=True)
class BoundData:
    """All that a model, a task and an exported graph need to know about the data; immutable.

    Tensors of an input carry its name, as in "review/tokens"; those of the only input do not.

    Attributes:
        inputs: the inputs by name; "" is the name of the only one.
        target: the target; None if the data has none.
    """

    inputs: Mapping[str, BoundInput]
    target: BoundTarget | None

    def get_target(self) -> BoundTarget:
        """The target of data that has one, as the data of every task has."""
        if self.target is None:
            raise ValueError("the data has no target")
        return self.target

    @functools.cached_property
    def buckets(self) -> Buckets:
        """The table of the lengths that sequences are padded to."""
        widths = {input_key(name): bound.widths for name, bound in self.inputs.items()}
        if self.target is not None:
            widths[TARGET] = self.target.widths
        return Buckets.of(widths)

    def model_specs(self) -> dict[str, InputSpec]:
        """The named inputs of the model."""
        specs = {
            _prefix(name) + part: spec.prefixed(_prefix(name))
            for name, bound in self.inputs.items()
            for part, spec in bound.model_specs().items()
        }
        return specs if self.target is None else specs | self.target.model_specs()

    @property
    def pairs_examples(self) -> bool:
        """Whether training mixes pairs of examples, so that a batch must be even."""
        return any(bound.config.pairs_examples for bound in self.inputs.values())

    @property
    def words(self) -> Sequence[str] | None:
        """The vocabulary of the only input that has one; None if none or several have."""
        found = [bound.words for bound in self.inputs.values() if bound.words is not None]
        return found[0] if len(found) == 1 else None

    def features(self, raw: Tensors, training: bool, seeds: tf.Tensor | None = None) -> Tensors:
        """Raw examples to a batch: the one function of training, evaluation and serving.

        Args:
            raw: tensors `[n, ...]` of `Split.gather` or of a request; `weight` (float32 `[n]`),
                `index` and `number` (int64 `[n]`) and the target are optional.
            training: whether examples are augmented.
            seeds: int64 `[n, 2]`, epoch-dependent seed and row; needed in training.
        """
        weight = raw.get("weight")
        batch: Tensors = {name: raw[name] for name in _OWN if name in raw}
        change: Change | None = None
        for name, bound in self.inputs.items():
            tensors, new = bound.features(_select(raw, name), training, seeds, weight)
            batch |= {_prefix(name) + part: value for part, value in tensors.items()}
            if new is not None:
                change, weight = new, new.weight
        if change is not None:
            batch |= {"weight": change.weight, "mix": change.mix_share}
        return batch | self._targets(raw, change)

    def labels(self, raw: Tensors) -> Tensors:
        """Weights, numbers and labels of raw examples, without the inputs."""
        batch = {name: raw[name] for name in _OWN if name in raw}
        return batch | self._targets(raw, None)

    def _targets(self, raw: Tensors, change: Change | None) -> Tensors:
        own = _select(raw, TARGET)
        return self.target.features(own, change) if self.target is not None and own else {}

    def by_example(self, names: Sequence[str], training: bool) -> bool:
        """Whether raw tensors of these names need `example` before they are batched."""
        return any(
            bound.by_example(list(_select(dict.fromkeys(names), name)), training)
            for name, bound in self.inputs.items()
        )

    def example(self, raw: Tensors, training: bool, seed: tf.Tensor | None = None) -> Tensors:
        """Prepares one example, without the batch dimension, such as decoding its image."""
        rest = dict(raw)
        found: Tensors = {}
        for name, bound in self.inputs.items():
            own = _select(raw, name)
            for part in own:
                del rest[_prefix(name) + part]
            prepared = bound.example(own, training, seed)
            found |= {_prefix(name) + part: value for part, value in prepared.items()}
        return {**found, **rest}

    def views(self, batch: Tensors) -> list[tuple[float, Tensors]]:
        """Shares and views of a batch whose outputs are averaged at inference."""
        views: list[tuple[float, Tensors]] = [(1.0, batch)]
        for name, bound in self.inputs.items():
            own = _select(batch, name)
            views = [
                (share * other, {**seen, **{_prefix(name) + k: v for k, v in tensors.items()}})
                for share, seen in views
                for other, tensors in bound.views(own)
            ]
        return views

    def serving(self) -> dict[str, dict[str, tuple[str, tf.TensorSpec]]]:
        """By signature name and argument, the raw tensor that a request gives and its spec.

        With several inputs, each signature of one takes the first signature of those without it.
        """
        offers = {name: bound.serving() for name, bound in self.inputs.items()}
        signatures = dict.fromkeys(sig for offer in offers.values() for sig in offer)
        found = {}
        for signature in signatures:
            arguments = {}
            for name, offer in offers.items():
                part, spec = offer.get(signature, next(iter(offer.values())))
                argument = name or spec.name
                spec = tf.TensorSpec(spec.shape, spec.dtype, name=argument)
                arguments[argument] = (_prefix(name) + part, spec)
            found[signature] = arguments
        return found

    def describe(self) -> str:
        """Such as "10 classes, images 8x8x1"."""
        target = [self.target.describe()] if self.target else []
        return ", ".join([*target, self.describe_inputs()])

    def describe_inputs(self) -> str:
        """Such as "images 8x8x1"."""
        return ", ".join(
            f"{name}: {bound.describe()}" if name else bound.describe()
            for name, bound in self.inputs.items()
        )

    @property
    def graph_modules(self) -> list[str]:
        """The Python modules to import before an exported graph is loaded."""
        modules = (bound.graph_module for bound in self.inputs.values())
        return list(dict.fromkeys(module for module in modules if module is not None))

    def fingerprint(self) -> bytes:
        """Distinguishes data of other names, vocabularies or scales."""
        parts = [bound.fingerprint() for bound in self.inputs.values()]
        if self.target is not None:
            parts += ["\0".join(self.target.names).encode(), self.target.fingerprint()]
        return hashlib.sha256(b"\0".join(parts)).digest()

    def save(self, folder: Path) -> None:
        """Writes what was learned: `data.json` and the files beside it, such as vocabularies."""
        folder.mkdir(parents=True, exist_ok=True)
        inputs = {name: one.save(folder / (name or INPUT)) for name, one in self.inputs.items()}
        target = None if self.target is None else self.target.save(folder / TARGET)
        text = json.dumps({INPUT: inputs, TARGET: target}, indent=2, ensure_ascii=False)
        (folder / FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, data: "Dataset", folder: Path) -> "BoundData":
        """What `save` wrote, for the config of the data.

        Raises:
            OSError, ValueError, KeyError, TypeError: the folder does not hold it.
            UserError: a field of an input does not fit what was learned.
        """
        learned = json.loads((folder / FILE).read_text(encoding="utf-8"))
        inputs = {}
        for name, config in data.named_inputs.items():
            try:
                inputs[name] = config.load(learned[INPUT][name], folder / (name or INPUT))
            except FieldError as error:
                raise UserError(f"config.data.{input_key(name)}.{error}") from None
        target = None
        if data.target is not None and learned[TARGET] is not None:
            keyed = {input_key(name): bound for name, bound in inputs.items()}
            target = data.target.load(learned[TARGET], folder / TARGET, keyed)
        return cls(inputs, target)


def _select(tensors: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The tensors of an input, or of the target, without its name."""
    if name:
        prefix = _prefix(name)
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    return {k: v for k, v in tensors.items() if k not in _OWN and not k.startswith(f"{TARGET}/")}
