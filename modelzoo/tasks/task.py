"""Base classes of tasks: objective, serving and config."""

import abc
import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
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
    """The config of a model: a dataclass that builds the model for named inputs.

    Its class variable `input_kinds` lists the kinds of inputs that it supports.
    """

    def build(self, inputs: Inputs, num_outputs: int) -> keras.Model:
        """Builds the model; tasks with outputs per token also pass `per_token=True`."""


class Objective(abc.ABC):
    """Base of objectives: the outputs of a model, their loss and metrics.

    Losses and metrics are sums with their weights, so that they do not depend on how a batch is
    divided.

    Attributes:
        headline: names of the metrics in a progress line.
        lower_is_better: names of the metrics whose lowest value is the best, such as losses.
        num_outputs: number of outputs per example or token.
        per_token: whether the model has outputs for each token or step of its input.
        numbered: whether the outputs depend on the numbers of the examples, as in sampling.
    """

    headline: tuple[str, ...]
    lower_is_better: tuple[str, ...] = ("loss",)
    num_outputs: int
    per_token: bool = False
    numbered: bool = False

    def __init__(self, data: BoundData):
        self.data = data
        self.input_names = tuple(data.model_specs())

    def run(self, model: keras.Model, batch: Tensors, training: bool = False) -> tf.Tensor:
        """Returns the model's output: float64 under a float64 policy, else float32."""
        output = model({name: batch[name] for name in self.input_names}, training=training)
        return output if output.dtype == tf.float64 else tf.cast(output, tf.float32)

    def outputs(self, model: keras.Model, batch: Tensors, training: bool = False) -> Tensors:
        """Returns `logits` `[n, ...]`, in evaluation the mean over all views."""
        views = [(1.0, batch)] if training else self.data.views(batch)
        logits = [self.run(model, view, training) for _, view in views]
        shares = [share for share, _ in views]
        return {"logits": logits[0] if len(logits) == 1 else self.mean_of_views(shares, logits)}

    def blank_outputs(self, batch: Tensors) -> Tensors:
        """Returns outputs of a model that knows nothing, of the same names as `outputs`.

        They show before training which metrics the labels of a batch define; `batch` has no inputs.
        """
        return {"logits": tf.zeros([batch["weight"].shape[0], self.num_outputs])}

    def mean_of_views(self, shares: list[float], logits: list[tf.Tensor]) -> tf.Tensor:
        """Returns the mean `[n, ...]` of the outputs of several views, weighted by `shares`."""
        return tf.add_n([share * one for share, one in zip(shares, logits, strict=True)])

    @abc.abstractmethod
    def loss(self, outputs: Tensors, batch: Tensors) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the weighted sum of the losses and the sum of the weights, scalars."""

    @abc.abstractmethod
    def metric_sums(self, outputs: Tensors, batch: Tensors, training: bool = False) -> Tensors:
        """Returns additive weighted counts; in training only those of the progress line."""

    def per_example(self, outputs: Tensors, batch: Tensors) -> Tensors:
        """Returns per-example tensors `[n, ...]` for metrics that are not sums.

        The evaluator gathers them from all replicas, without padding, in the order of the examples.
        """
        return {}

    @abc.abstractmethod
    def metrics(
        self, metric_sums: Mapping[str, np.ndarray], per_example: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Computes metrics by name; a metric that the labels do not define is None.

        Args:
            metric_sums: summed counts.
            per_example: per-example arrays, and `reference` if the data has reference texts; None
                in training.

        Raises:
            UserError: no example has a positive weight.
        """

    def predictions(self, outputs: Tensors) -> Tensors:
        """Returns the outputs that serving needs, with equal shapes on all replicas."""
        return outputs

    def check_metrics(self, references: Sequence[tuple[str, ...]] | None) -> list[str]:
        """Returns remarks about metrics that do not fit the references of a split.

        Raises:
            UserError: a metric needs a package that is not installed.
        """
        return []

    def check_model(self, model: keras.Model) -> None:
        """Raises UserError if a built model does not support the task."""
        return None


class Serving(abc.ABC):
    """Base of the serving of a task: the outputs of a served model, and their JSON form."""

    @abc.abstractmethod
    def to_serving(self, outputs: Tensors) -> Tensors:
        """Returns the served outputs, such as `classes` and `scores`; runs in a graph."""

    @abc.abstractmethod
    def from_serving(self, served: Tensors) -> Tensors:
        """Returns those of `Objective.outputs` that follow from served ones; runs in a graph."""

    @abc.abstractmethod
    def to_json(self, served: Mapping[str, np.ndarray], top: int | None = None) -> dict[str, Any]:
        """Converts the served outputs of one example to JSON values, with the `top` best.

        Raises:
            UserError: see `check_top`.
        """

    def check_top(self, top: int, exported: bool = False) -> None:
        """Raises UserError if `to_json` does not support that many.

        Args:
            top: number of best classes, tags or texts.
            exported: whether the model is an exported graph, which the message considers.
        """
        return None

    def texts(self, per_example: Mapping[str, Any]) -> list[str]:
        """Returns the generated texts of per-example arrays; empty if the task generates none."""
        return []


@dataclasses.dataclass(frozen=True)
class TaskConfig(abc.ABC):
    """Base of all tasks: a config that `bind` combines with the data.

    A subclass defines `targets`, `objective` and `serving`.
    """

    targets: ClassVar[tuple[type[Target], ...]]
    """The supported targets."""
    adjustable: ClassVar[tuple[str, ...]] = ()
    """Fields that evaluation, prediction and export may override."""
    outside_graph: ClassVar[tuple[str, ...]] = ()
    """Fields that may be overridden even for an exported graph."""

    @abc.abstractmethod
    def objective(self, data: BoundData) -> Objective:
        """Returns the objective for the data."""

    @abc.abstractmethod
    def serving(self, data: BoundData) -> Serving:
        """Returns the serving for the data."""

    def bind(self, data: BoundData) -> "Task":
        """Returns the task on the data.

        Raises:
            UserError: the task does not support the target, or a field does not fit the data.
        """
        target = data.target
        if target is None or not isinstance(target.config, self.targets):
            wanted = " or ".join(cls.__name__ for cls in self.targets)
            got = "none" if target is None else type(target.config).__name__
            raise UserError(
                f"config.task is {type(self).__name__}, which needs a target {wanted}, but "
                f"config.data.target is {got}: choose another task or target"
            )
        return Task(self, data)

    def check_count(self, data: BoundData, *fields: str) -> None:
        """Raises UserError unless the fields have one number for each name of the target."""
        target = data.get_target()
        for field in fields:
            value, names = getattr(self, field), target.names
            if value is not None and len(value) != len(names):
                raise UserError(
                    f"config.task.{field} must have one number for each of the data's "
                    f"{len(names)} {target.noun}, got {len(value)}"
                )


class Task:
    """A task on given data: its objective and its serving."""

    def __init__(self, config: TaskConfig, data: BoundData):
        self.config, self.data = config, data
        self.objective = config.objective(data)
        self.serving = config.serving(data)

    def describe(self) -> str:
        """Returns the data in a few words, such as "10 classes, images 8x8x1"."""
        return self.data.describe()

    def build_model(self, model_config: ModelConfig) -> keras.Model:
        """Builds a model for the data, under the current dtype policy and strategy.

        Each build of a config has the same variable paths, which are the keys of checkpoints.

        Raises:
            UserError: the model does not support the inputs or outputs per token, or one of its
                fields does not fit the data.
        """
        name, task = type(model_config).__name__, type(self.config).__name__
        specs = self.data.model_specs()
        kinds = {spec.kind for spec in specs.values()} - {"mask"}
        supported = getattr(model_config, "input_kinds", None)
        if supported is None:
            raise UserError(
                f"config.model is {name}, which lacks the class variable input_kinds: list the "
                "kinds of inputs that it supports"
            )
        unknown = sorted(kinds - set(supported))
        if unknown:
            raise UserError(
                f"config.model is {name}, which supports {' or '.join(supported)}, but config.data "
                f"has {' and '.join(unknown)}: choose another model or other data"
            )
        options = {}
        if self.objective.per_token:
            if "per_token" not in inspect.signature(model_config.build).parameters:
                raise UserError(
                    f"config.model is {name}, which has one output per example, but {task} needs "
                    "one per token: choose another model"
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

    def serving_arguments(self) -> dict[str, dict[str, tuple[str, tf.TensorSpec]]]:
        """Returns the arguments of each signature, see `BoundData.serving`.

        If outputs depend on the numbers of the examples, the first signatures, NAME_numbered, take
        them as `number` (int64 `[n]`); in the others, an example's number is its row.
        """
        found = self.data.serving()
        if not self.objective.numbered:
            return found
        number = ("number", tf.TensorSpec([None], tf.int64, name="number"))
        numbered = {f"{name}_numbered": {**args, "number": number} for name, args in found.items()}
        return {**numbered, **found}

    def signatures(self, model: keras.Model) -> dict[str, Callable]:
        """Returns the signatures of a served model by name, each with an `input_signature`."""

        def serve(raw: Tensors) -> Tensors:
            batch = self.data.features(raw, training=False)
            n = tf.shape(next(iter(batch.values())))[0]
            outputs = self.objective.outputs(model, {k: _pad_empty(v) for k, v in batch.items()})
            return self.serving.to_serving({name: value[:n] for name, value in outputs.items()})

        def signature(arguments: Mapping[str, tuple[str, tf.TensorSpec]]) -> Callable:
            parts = [part for part, _ in arguments.values()]
            return tf.function(
                lambda *tensors: serve(dict(zip(parts, tensors, strict=True))),
                input_signature=[spec for _, spec in arguments.values()],
                autograph=False,
            )

        return {name: signature(arguments) for name, arguments in self.serving_arguments().items()}


def scalar_metrics(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """Returns the metrics that are one number, None for an undefined one."""
    return {k: v for k, v in metrics.items() if v is None or isinstance(v, float)}


def check_finite(metrics: Mapping[str, Any], where: str, advice: str) -> None:
    """Raises UserError with the place and the advice if a metric is not finite."""
    for name, value in scalar_metrics(metrics).items():
        if value is not None and not math.isfinite(value):
            raise UserError(f"the {name} on the {where} is not finite: {advice}")


def check_weight(weight: Any, unit: str = "example") -> float:
    """Returns a sum of weights as a float; raises UserError if it is not positive."""
    if not weight > 0:
        raise UserError(
            f"no {unit} with a positive weight was evaluated: there is nothing to measure"
        )
    return float(weight)


def _pad_empty(tensor: tf.Tensor) -> tf.Tensor:
    """Returns the tensor, or one example of zeros if the batch is empty.

    oneDNN's fused convolution fails on an empty batch. `tf.pad` does not help: oneDNN fuses it with
    the convolution and ignores its padding of the batch.
    """
    shape = tf.shape(tensor)
    missing = tf.concat([tf.maximum(1 - shape[:1], 0), shape[1:]], axis=0)
    return tf.concat([tensor, tf.zeros(missing, tensor.dtype)], axis=0)
