"""What all tasks have in common: each is a head, what is learned, on inputs, what it is told from.

A bound task is a class of both, `class ImageTaggingTask(TaggingHead, ImageTask)`, and its config of
the fields of both, `class ImageTagging(TagTargets, ImageInputs)`.
"""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from modelzoo.data.spec import Spec, Targets
from modelzoo.fields import compat
from modelzoo.fields.errors import UserError
from modelzoo.tasks.task import Tensors

_CONFIGS = {
    "class": "{}Classification",
    "tags": "{}Tagging",
    "values": "{}Regression",
    "labels": "SequenceLabelling",
    "text": "TextToText",
}
_KINDS = ("image", "text", "series")
"""What a model takes whose config does not say so."""


@dataclasses.dataclass(frozen=True)
class TaskConfig:
    """A task's config: its fields are those of the head and of the inputs that it is made of."""

    bound: ClassVar[type["BoundTask"]]
    """The task that `bind` makes."""

    def __post_init__(self):
        """Raises ValueError, beginning with a field's name, for a value that cannot be."""

    @property
    def arguments(self) -> str:
        """What `modelzoo predict` takes, in a word for its command line."""
        return self.bound.arguments

    def bind(self, spec: Spec) -> "BoundTask":
        """The task on given data.

        Raises UserError where a field does not fit the data's sizes, classes or targets.
        """
        return self.bound(self, spec)

    def check_lengths(self, wanted: int, things: str, *keys: str) -> None:
        """Raises UserError where a field has not one number for each of the data's things."""
        for key in keys:
            value = getattr(self, key)
            if value is not None and len(value) != wanted:
                raise UserError(
                    f"config.task.{key} must have one number for each of the data's {wanted} "
                    f"{things}, got {len(value)}"
                )


class BoundTask:
    """The shared part of a `modelzoo.tasks.task.Task`.

    Of the head: `targets`, what is learned, as in the spec; `things`, what the names of these are
    in words; `headline`; `per_step`, whether the model gives outputs for each step of its input.
    Of the inputs: `kind`, as in the spec; `feed`, the part of a batch that the model takes;
    `arguments`, what these are on a command line; `more_scores`, whether there is time and memory
    for scores of which a million examples by a thousand classes take much, as ROC curves.

    Raises UserError where the data is of another kind or has other targets.
    """

    targets: Targets
    things: str
    per_step = False
    lower_is_better = ("loss",)
    kind: str
    feed: str
    arguments: str
    more_scores = True

    def __init__(self, config: TaskConfig, spec: Spec):
        fits = spec.kind == self.kind
        if not fits or spec.targets != self.targets:
            lacks = (
                f"learns targets {self.targets!r}, but those of the data are {spec.targets!r}"
                if fits
                else f"takes data of kind {self.kind!r}, but config.data is of kind {spec.kind!r}"
            )
            better = _CONFIGS[spec.targets].format(spec.kind.capitalize())
            raise UserError(
                f"config.task is {type(config).__name__}, which {lacks}: choose {better} or other "
                "data in the config file"
            )
        self.config = config
        self.spec = spec

    def describe(self) -> str:
        """Such as `10 classes, images 8x8x1`."""
        return f"{self.spec.num_classes} {self.things}, {self.input_words()}"

    def input_words(self) -> str:
        """What an example is, such as `images 8x8x1`."""
        raise NotImplementedError

    @property
    def num_outputs(self) -> int:
        """Outputs of the model, for an example or a step of it."""
        return self.spec.num_classes

    def model_inputs(self) -> Any:
        """What a model's `build` is told of the part of a batch that it takes."""
        raise NotImplementedError

    def build_model(self, model_config: Any) -> keras.Model:
        """Builds `model_config` for the data's shapes and targets.

        Every build of one config gives the same variable paths. Raises UserError for a model of
        another kind of data, as `takes` of its config says, and one without `per_step` outputs.
        """
        name = type(model_config).__name__
        takes = getattr(model_config, "takes", _KINDS)
        if self.kind not in takes:
            raise UserError(
                f"config.model is {name}, which takes data of kind "
                f"{' or '.join(map(repr, takes))}, but config.data is of kind {self.kind!r}: "
                "choose another model in the config file"
            )
        if self.per_step and "per_step" not in inspect.signature(model_config.build).parameters:
            raise UserError(
                f"config.model is {name}, which has outputs for an example, not for each step of "
                f"it as {type(self.config).__name__} needs: choose another model in the config file"
            )
        options = {"per_step": True} if self.per_step else {}
        with compat.fresh_layer_names():
            return model_config.build(self.model_inputs(), self.num_outputs, **options)

    def logits(self, model: keras.Model, fed: tf.Tensor, training: bool = False) -> tf.Tensor:
        """What the model gives: float64 under a float64 policy and else float32."""
        output = model(fed, training=training)
        return output if output.dtype == tf.float64 else tf.cast(output, tf.float32)

    def outputs(self, model: keras.Model, batch: Tensors, training: bool = False) -> Tensors:
        """`logits` `[n, outputs]` (of a head that is `per_step`: `[n, length, outputs]`)."""
        return {"logits": self.logits(model, batch[self.feed], training)}

    def collected(self, outputs: Tensors, batch: Tensors) -> Tensors:
        """Nothing: all scores come from sums."""
        return {}

    def texts(self, collected: dict[str, Any]) -> list[str]:
        """Nothing: examples have no texts made of them."""
        return []

    def check_metrics(self) -> None:
        """Nothing to check: all scores can be counted."""

    def align(self, spec: Spec) -> Callable[[Tensors], Tensors]:
        """A function of raw batches of other data that brings labels into this task's order.

        It goes by the names. Raises UserError where the data has other targets, or a name that is
        none of this task's.
        """
        if spec.targets != self.targets:
            raise UserError(
                f"the model learned targets {self.targets!r}, but those of the data are "
                f"{spec.targets!r}"
            )
        known = self.spec.class_names
        unknown = [name for name in spec.class_names if name not in set(known)]
        if unknown:
            raise UserError(
                f"the data has {len(unknown)} of its {self.things} that the model does not know, "
                f"the first {unknown[0]!r}: it knows {', '.join(known[:10])}"
                f"{', ...' if known[10:] else ''}"
            )
        return lambda raw: {**raw, "label": self._aligned(raw["label"], spec.class_names)}

    def _aligned(self, labels: tf.Tensor, given: tuple[str, ...]) -> tf.Tensor:
        """Labels of columns of these names, of which one that is missing is 0, in this order."""
        order = [given.index(n) if n in given else len(given) for n in self.spec.class_names]
        return tf.gather(tf.pad(labels, [[0, 0], [0, 1]]), order, axis=1)

    def serves(self) -> dict[str, tuple[str, tf.TensorSpec]]:
        """By the part of a raw example that it takes: a signature's name and its one tensor."""
        raise NotImplementedError

    def check_top(self, top: int, exported: bool = False) -> None:
        """Any number will do: an answer has no more than there are."""

    def signatures(self, model: keras.Model) -> dict[str, Callable]:
        """The functions of `serves` by signature name; all give what the head's `served` does."""

        def answer(raw: Tensors) -> Tensors:
            batch = self.features(raw, training=False)
            fed = batch[self.feed]
            n = tf.shape(fed)[0]
            # oneDNN's fused convolution fails on an empty batch: there a blank example runs along.
            # (Not by tf.pad: that is fused into the convolution, which drops the batch's part.)
            shape = tf.concat([[tf.maximum(1 - n, 0)], tf.shape(fed)[1:]], axis=0)
            fed = tf.concat([fed, tf.zeros(shape, fed.dtype)], axis=0)
            outputs = self.outputs(model, {self.feed: fed})
            return self.served({name: value[:n] for name, value in outputs.items()})

        def signature(part: str, tensor: tf.TensorSpec) -> Callable:
            return tf.function(
                lambda given: answer({part: given}), input_signature=[tensor], autograph=False
            )

        return {name: signature(part, tensor) for part, (name, tensor) in self.serves().items()}


def numbers_of(values: tuple[float, ...] | None, otherwise: float, count: int) -> np.ndarray:
    """The values of a config's field, or `otherwise` so many times where it is None."""
    return np.full(count, otherwise) if values is None else np.array(values)
