"""The bases of all tasks: what is learned, and what a served model takes and gives."""

import abc
import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

import keras
import numpy as np
import tensorflow as tf

from modelzoo.data.bound import BoundData
from modelzoo.data.targets.target import Target
from modelzoo.fields.compat import fresh_layer_names
from modelzoo.fields.errors import FieldError, UserError
from modelzoo.fields.input_specs import Inputs, UnsupportedInputsError

Tensors = dict[str, tf.Tensor]


@runtime_checkable
class ModelConfig(Protocol):
    """The config of a model: a dataclass that builds it for named inputs.

    Its class variable `input_kinds` lists the kinds of inputs that it takes.
    """

    def build(self, inputs: Inputs, num_outputs: int) -> keras.Model:
        """Builds the model; called with `per_token=True` too for outputs per token."""


class Objective(abc.ABC):
    """What is learned: the outputs of a model, their loss and metrics.

    Everything is a sum and a weight, so that results do not depend on how a batch is divided.

    Attributes:
        headline: names of the metrics that a progress line shows.
        lower_is_better: names of the metrics that improve by falling, such as losses and errors.
        num_outputs: outputs of the model for an example, or for a token.
        per_token: whether the model gives outputs for each token or step of its input.
    """

    headline: tuple[str, ...]
    lower_is_better: tuple[str, ...] = ("loss",)
    num_outputs: int
    per_token: bool = False

    def __init__(self, data: BoundData):
        self.data = data
        self.input_names = tuple(data.model_specs())

    def run(self, model: keras.Model, batch: Tensors, training: bool = False) -> tf.Tensor:
        """The model's output for its named inputs: float64 under a float64 policy, else float32."""
        output = model({name: batch[name] for name in self.input_names}, training=training)
        return output if output.dtype == tf.float64 else tf.cast(output, tf.float32)

    def outputs(self, model: keras.Model, batch: Tensors, training: bool = False) -> Tensors:
        """Runs the model: `logits` `[n, ...]`, outside of training the mean over all views."""
        views = [(1.0, batch)] if training else self.data.views(batch)
        logits = [self.run(model, view, training) for _, view in views]
        shares = [share for share, _ in views]
        return {"logits": logits[0] if len(logits) == 1 else self.mean_of_views(shares, logits)}

    def mean_of_views(self, shares: list[float], logits: list[tf.Tensor]) -> tf.Tensor:
        """One output for several views of the examples, each `[n, ...]`, by their shares."""
        return tf.add_n([share * one for share, one in zip(shares, logits, strict=True)])

    @abc.abstractmethod
    def loss(self, outputs: Tensors, batch: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        """Weighted sum of the losses and sum of the weights, scalars; nothing is divided."""

    @abc.abstractmethod
    def metric_sums(self, outputs: Tensors, batch: Tensors, training: bool = False) -> Tensors:
        """Additive weighted counts; in training only those that the progress line needs."""

    def per_example(self, outputs: Tensors, batch: Tensors) -> Tensors:
        """Per-example tensors `[n, ...]` for metrics that are not sums; often empty.

        The evaluator gathers them from all replicas, without padding, in the order of the examples.
        """
        return {}

    @abc.abstractmethod
    def metrics(
        self, metric_sums: Mapping[str, np.ndarray], per_example: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Named metrics from summed counts and per-example arrays; in training from the sums alone.

        If the data has reference texts, `per_example` holds them as `reference`. Raises UserError
        if no example has a positive weight.
        """

    def predictions(self, outputs: Tensors) -> Tensors:
        """The outputs that determine what is served, of equal shapes on all replicas."""
        return outputs

    def check_metrics(self) -> None:  # noqa: B027 (most need nothing)
        """Raises UserError if a metric needs a package that is not installed."""

    def check_model(self, model: keras.Model) -> None:  # noqa: B027 (most can)
        """Raises UserError if a built model cannot do what the task asks."""


class Serving(abc.ABC):
    """What a served model gives, and how people read it."""

    @abc.abstractmethod
    def to_serving(self, outputs: Tensors) -> Tensors:
        """The outputs of a served model, such as `classes` and `scores`; runs in the graph."""

    @abc.abstractmethod
    def from_serving(self, served: Tensors) -> Tensors:
        """What `Objective.outputs` returned, as far as served outputs determine it; in a graph."""

    @abc.abstractmethod
    def to_json(self, served: Mapping[str, np.ndarray], top: int | None = None) -> dict[str, Any]:
        """Served outputs of one example as JSON values, with the `top` best if asked for."""

    def check_top(self, top: int, exported: bool = False) -> None:  # noqa: B027 (most give any)
        """Raises UserError if `to_json` cannot give that many of the best.

        An exported model cannot be changed to give more.
        """

    def texts(self, per_example: Mapping[str, Any]) -> list[str]:
        """The texts that were generated, from per-example arrays; empty if the task makes none."""
        return []


@dataclasses.dataclass(frozen=True)
class TaskConfig(abc.ABC):
    """The base of all tasks: a config that `bind` joins with the data.

    A subclass defines `targets`, `objective` and `serving`.
    """

    targets: ClassVar[tuple[type[Target], ...]]
    """The targets that it learns."""
    adjustable: ClassVar[tuple[str, ...]] = ()
    """Fields that evaluation, prediction and export may change after training."""
    outside_graph: ClassVar[tuple[str, ...]] = ()
    """Fields that may change even for an exported graph."""

    @abc.abstractmethod
    def objective(self, data: BoundData) -> Objective:
        """What is learned from the data."""

    @abc.abstractmethod
    def serving(self, data: BoundData) -> Serving:
        """What a model for the data serves."""

    def bind(self, data: BoundData) -> "Task":
        """The task on the data; UserError if the target is another, or a field does not fit."""
        target = data.target
        if target is None or not isinstance(target.config, self.targets):
            wanted = " or ".join(cls.__name__ for cls in self.targets)
            got = "none" if target is None else type(target.config).__name__
            raise UserError(
                f"config.task is {type(self).__name__}, which learns {wanted}, but "
                f"config.data.target is {got}: choose a task or a target that fits"
            )
        return Task(self, data)

    def check_count(self, data: BoundData, *fields: str) -> None:
        """Raises UserError if a field does not have one number for each name of the target."""
        for field in fields:
            value, names = getattr(self, field), data.target.names
            if value is not None and len(value) != len(names):
                raise UserError(
                    f"config.task.{field} must have one number for each of the data's "
                    f"{len(names)} {data.target.noun}, got {len(value)}"
                )


class Task:
    """A task on given data: an objective and what a served model takes and gives."""

    def __init__(self, config: TaskConfig, data: BoundData):
        self.config, self.data = config, data
        self.objective = config.objective(data)
        self.serving = config.serving(data)

    def describe(self) -> str:
        """The data in a few words, such as "10 classes, images 8x8x1"."""
        return self.data.describe()

    def build_model(self, model_config: ModelConfig) -> keras.Model:
        """Builds a model for the data, under the current dtype policy and strategy.

        Every build of one config gives the same variable paths: checkpoints are keyed by them.
        Raises UserError if the model does not fit the data or the task.
        """
        name, task = type(model_config).__name__, type(self.config).__name__
        specs = self.data.model_specs()
        kinds = {spec.kind for spec in specs.values()} - {"mask"}
        supported = getattr(model_config, "input_kinds", None)
        if supported is None:
            raise UserError(
                f"config.model is {name}, which has no input_kinds: list the kinds of inputs that "
                "it takes in a class variable"
            )
        unknown = sorted(kinds - set(supported))
        if unknown:
            raise UserError(
                f"config.model is {name}, which takes {' or '.join(supported)}, but config.data "
                f"has {' and '.join(unknown)}: choose another model or other data"
            )
        options = {}
        if self.objective.per_token:
            if "per_token" not in inspect.signature(model_config.build).parameters:
                raise UserError(
                    f"config.model is {name}, which has outputs for an example, but {task} needs "
                    "outputs for each token: choose another model"
                )
            options["per_token"] = True
        try:
            with fresh_layer_names():
                model = model_config.build(specs, self.objective.num_outputs, **options)
        except FieldError as error:
            raise UserError(f"config.model.{error}") from None
        except UnsupportedInputsError as error:
            raise UserError(f"config.model is {name}: {error}") from None
        self.objective.check_model(model)
        return model

    def signatures(self, model: keras.Model) -> dict[str, Callable]:
        """The functions of a served model by signature name, each with an `input_signature`."""

        def answer(raw: Tensors) -> Tensors:
            batch = self.data.features(raw, training=False)
            n = tf.shape(next(iter(batch.values())))[0]
            outputs = self.objective.outputs(model, {k: _not_empty(v) for k, v in batch.items()})
            return self.serving.to_serving({name: value[:n] for name, value in outputs.items()})

        def signature(arguments: Mapping[str, tuple[str, tf.TensorSpec]]) -> Callable:
            parts = [part for part, _ in arguments.values()]
            return tf.function(
                lambda *tensors: answer(dict(zip(parts, tensors, strict=True))),
                input_signature=[spec for _, spec in arguments.values()],
                autograph=False,
            )

        return {name: signature(arguments) for name, arguments in self.data.serving().items()}


def check_weight(weight: Any, unit: str = "example") -> float:
    """The sum of weights; UserError if none is positive."""
    if not weight > 0:
        raise UserError(
            f"no {unit} with a positive weight was evaluated: there is nothing to measure"
        )
    return float(weight)


def _not_empty(tensor: tf.Tensor) -> tf.Tensor:
    """The tensor, or a blank example if it has none.

    oneDNN's fused convolution fails on an empty batch. (tf.pad does not help: it is fused into the
    convolution, which drops the batch dimension's part.)
    """
    shape = tf.shape(tensor)
    missing = tf.concat([tf.maximum(1 - shape[:1], 0), shape[1:]], axis=0)
    return tf.concat([tensor, tf.zeros(missing, tensor.dtype)], axis=0)
