"""Prediction with a run's checkpoint, an exported model or a shipped model."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from modelzoo import config, zoo
from modelzoo.data.columns import BadExample
from modelzoo.data.sources.source import Source
from modelzoo.data.sources.table import Table
from modelzoo.data.sources.tabular import is_json
from modelzoo.fields.errors import UserError, format_error
from modelzoo.inference import artifacts
from modelzoo.inference.artifacts import Pairs
from modelzoo.inference.signature_runner import SignatureRunner, signature_for
from modelzoo.serving import saved_model
from modelzoo.tasks.task import Task
from modelzoo.training import averaging
from modelzoo.training import checkpoint as checkpoints
from modelzoo.training.evaluation import ModelRunner, Runner
from modelzoo.training.precision import dtype_policy, inference_precision

BATCH_SIZE = 64


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The prediction for one example, or the `error` that prevented it.

    `name` is the example's file, or its number from 0. `outputs` are the served tensors by name,
    without the batch dimension; `json` holds the values that `modelzoo predict` prints. The
    properties are parts of both, None if the task has no such part.
    """

    name: str
    json: dict[str, Any] = dataclasses.field(default_factory=dict)
    outputs: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    error: str | None = None

    @property
    def class_name(self) -> str | None:
        """The best class."""
        return self.json.get("class")

    @property
    def probability(self) -> float | None:
        """The probability of the best class."""
        return self.json.get("probability")

    @property
    def tags(self) -> dict[str, float] | None:
        """The predicted tags and their probabilities, the best first."""
        return self.json.get("tags")

    @property
    def values(self) -> dict[str, float] | None:
        """The predicted numbers by name."""
        return self.json.get("values")

    @property
    def text(self) -> str | None:
        """The best generated text."""
        return self.json.get("text")

    @property
    def scores(self) -> np.ndarray | None:
        """Probabilities of the classes, float32 `[classes]`, or scores of the generated texts."""
        return self.outputs.get("scores")


@dataclasses.dataclass(frozen=True)
class _OrderedTable(Table):
    ordered = "stored"


def _table_like(source: Source, path: str, windowed: bool) -> Table:
    """Returns the table at `path`, read as the training table is.

    Only windows need the groups: no window may hold rows of two.
    """
    kept: dict[str, Any] = {}
    if isinstance(source, Table):
        if not is_json(path) and not is_json(source.path):
            kept = {name: getattr(source, name) for name in ("columns", "header", "delimiter")}
        if windowed:
            kept["group"] = source.group
    return _OrderedTable(path, **kept)


class Predictor:
    """A trained model with its serving signatures.

    Attributes:
        experiment: the config of the run.
        task: the task on the data; `task.data` holds what the model learned from the data.
        signatures: functions of tensors by name, such as `serving_default`, that return the served
            outputs, such as `classes` and `scores`.
        origin: a description of where the model is from.
        model: the Keras model; None for an exported graph.
    """

    def __init__(
        self,
        experiment: config.Experiment,
        task: Task,
        signatures: Mapping[str, Callable],
        origin: str,
        model: keras.Model | None = None,
    ):
        self.experiment = experiment
        self.task = task
        self.signatures = dict(signatures)
        self.origin = origin
        self.model = model

    @classmethod
    def from_workdir(
        cls,
        workdir: str | Path,
        checkpoint: str | int | None = None,
        weights: str | None = None,
        overrides: Pairs = (),
    ) -> "Predictor":
        """Loads a run's checkpoint, in float32 (float64 if trained in float64).

        Args:
            workdir: the run's folder.
            checkpoint: "last", "best", "mean:N" (of the last N checkpoints) or a step; None is the
                checkpoint that the run evaluates at its end.
            weights: "ema" or "raw"; None is the set that the run evaluates.
            overrides: dotted keys and values, such as `("task.decoding.beams", "5")`.

        Raises:
            UserError: the checkpoint or the weights do not exist, or an override is not possible
                after training.
        """
        experiment, bound = artifacts.read_run(workdir, overrides)
        if checkpoint is None:
            paths = averaging.find_final(workdir, experiment.eval)
        else:
            paths = averaging.find(workdir, checkpoint)
        chosen = weights or experiment.eval.weights
        # The moving average covers all weights, so the predictor reads only one set.
        arrays = averaging.read(paths, "ema/") if chosen == "ema" else {}
        if not arrays:
            if weights == "ema":
                raise UserError(
                    f"the checkpoint {paths[-1]} has no moving average of the weights: train with "
                    "config.train.ema_decay, or use --weights=raw"
                )
            chosen, arrays = "raw", averaging.read(paths, "model/")
        origin = f"{averaging.describe(paths)} of {workdir}, {chosen} weights"
        return cls._from_arrays(experiment, experiment.task.bind(bound), arrays, chosen, origin)

    @classmethod
    def from_zoo(cls, name_or_folder: str | Path, overrides: Pairs = ()) -> "Predictor":
        """Loads a shipped model, in float32 (float64 if trained in float64).

        Raises:
            UserError: the model does not exist, or an override is not possible after training.
        """
        folder = zoo.find(name_or_folder)
        experiment, bound = artifacts.read_run(folder, overrides)
        task, origin = experiment.task.bind(bound), f"shipped model {folder.name}"
        return cls._from_arrays(experiment, task, checkpoints.read(folder), "raw", origin)

    @classmethod
    def _from_arrays(
        cls,
        experiment: config.Experiment,
        task: Task,
        arrays: Mapping[str, np.ndarray],
        weights: str,
        origin: str,
    ) -> "Predictor":
        with dtype_policy(inference_precision(experiment.train.precision)):
            model = task.build_model(experiment.model)
        checkpoints.restore_model(model, arrays, weights)
        return cls(experiment, task, task.signatures(model), origin, model)

    @classmethod
    def from_export(cls, folder: str | Path, overrides: Pairs = ()) -> "Predictor":
        """Loads an exported model: a version, or the newest in a folder of versions.

        Raises:
            UserError: the model does not exist, or an override would change the graph.
        """
        experiment, bound = artifacts.read_export(folder, overrides)
        version = artifacts.find_graph(folder)
        try:
            loaded = tf.saved_model.load(str(version))
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise UserError(
                f"cannot load the SavedModel {version}: {format_error(error)}"
            ) from None
        task = experiment.task.bind(bound)
        arguments = task.data.serving()
        signatures = {
            name: _Signature(loaded, name, tuple(arguments[name])) for name in loaded.signatures
        }
        return cls(experiment, task, signatures, str(version))

    @property
    def runner(self) -> Runner:
        """The runner of the model for an `Evaluator`."""
        if self.model is None:
            return SignatureRunner(self.task, self.signatures)
        return ModelRunner(self.task, self.model)

    def export(self, export_dir: str | Path, version: int | None = None) -> Path:
        """Writes the model with `modelzoo.serving.saved_model.export`; returns the folder."""
        if self.model is None:
            raise UserError(f"{self.origin} is already an exported model: copy the folder")
        experiment = config.to_dict(self.experiment)
        return saved_model.export(self.model, self.task, experiment, export_dir, version)

    def outputs(self, raw: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Computes served outputs of raw examples, such as `scores` `[n, classes]`; text is str.

        Args:
            raw: the raw tensors of one signature, such as `image` (uint8 `[n, height, width,
                channels]`), `encoded` (bytes `[n]`), `text` (bytes `[n]`) or `series` (`[n, length,
                features]`); those of named inputs as "NAME/text".
        """
        name, arguments = signature_for(self.task, raw)
        tensors = [tf.convert_to_tensor(raw[part], spec.dtype) for part, spec in arguments.values()]
        result = self.signatures[name](*tensors)
        return {name: as_text(value.numpy()) for name, value in result.items()}

    def predict_files(
        self, paths: Iterable[str | Path], batch_size: int = BATCH_SIZE
    ) -> Iterator[Prediction]:
        """Predicts the examples in files, in order, in batches of `batch_size`.

        The input defines the content of a file: an image, lines of text, rows of a table. An
        example that cannot be read yields a `Prediction` with `error`.

        Raises:
            UserError: the model has several inputs; use `predict_table` instead.
        """
        part, bound = self._only_input()
        return self._predict(part, bound.from_files(paths), batch_size)

    def predict_texts(
        self, texts: Iterable[str | bytes], batch_size: int = BATCH_SIZE
    ) -> Iterator[Prediction]:
        """Predicts texts in order, in batches of `batch_size`; texts need not be UTF-8.

        Raises:
            UserError: the model's input is not a text.
        """
        part, bound = self._only_input()
        if bound.file_part != "text":
            raise UserError(f"{self.origin} needs {bound.describe()}, not texts")
        # A lone surrogate in a str becomes bytes that are not UTF-8.
        encoded = (t.encode("utf-8", "surrogatepass") if isinstance(t, str) else t for t in texts)
        named = ((str(number), text) for number, text in enumerate(encoded))
        return self._predict(part, named, batch_size)

    def predict_table(self, path: str | Path, batch_size: int = BATCH_SIZE) -> Iterator[Prediction]:
        """Predicts the rows of a table, in order; its columns are those of the training data.

        If the model learned from a `Table`, its `header`, `columns` and `delimiter` hold for this
        one too, and its `group` if the model reads windows of rows.

        Rows that cannot be read yield a `Prediction` with `error`, after all other rows.

        Raises:
            UserError: the table cannot be read or lacks a column.
        """
        trained = self.experiment.data
        data = dataclasses.replace(
            trained,
            source=_table_like(trained.source, str(path), bool(trained.windowed_inputs)),
            target=None,
            train_split="train",
            validation_split=None,
            test_split=None,
            split_by=(),
            fold=None,
            on_bad="skip",
        )
        split = data.open(dataclasses.replace(self.task.data, target=None)).split("train[:]")
        parts = {part for args in self.task.data.serving().values() for part, _ in args.values()}
        for first in range(0, split.num_examples, batch_size):
            index = np.arange(first, min(first + batch_size, split.num_examples))
            raw = {name: value for name, value in split.gather(index).items() if name in parts}
            outputs = self.outputs(raw)
            for k, example in enumerate(index):
                row = {name: value[k] for name, value in outputs.items()}
                yield Prediction(str(split.ids[example]), self.task.serving.to_json(row), row)
        for bad in split.skipped:
            yield Prediction(bad.place, error=bad.reason)

    def _only_input(self) -> tuple[str, Any]:
        """Returns the only input, after the name of the raw tensor that it reads from files."""
        inputs = self.task.data.inputs
        if len(inputs) > 1:
            raise UserError(
                f"{self.origin} has the inputs {', '.join(inputs)}: predict the rows of a table"
            )
        ((name, bound),) = inputs.items()
        return f"{name}/{bound.file_part}" if name else bound.file_part, bound

    def _predict(
        self, part: str, named: Iterable[tuple[str, Any]], batch_size: int
    ) -> Iterator[Prediction]:
        """Yields predictions for named raw values; a BadExample becomes an error."""
        named = iter(named)
        while batch := list(islice(named, batch_size)):
            good = [value for _, value in batch if not isinstance(value, BadExample)]
            results = iter(self._predict_batch(part, good))
            for label, value in batch:
                if isinstance(value, BadExample):
                    yield Prediction(label, error=str(value))
                else:
                    yield dataclasses.replace(next(results), name=label)

    def _predict_batch(self, part: str, examples: Sequence[Any]) -> list[Prediction]:
        """Predicts a batch; halves a failing batch until each bad example is alone."""
        if not examples:
            return []
        try:
            outputs = self.outputs({part: examples})
        except tf.errors.InvalidArgumentError as error:
            if len(examples) == 1:
                (bound,) = self.task.data.inputs.values()
                return [Prediction("", error=bound.explain(error))]
            middle = len(examples) // 2
            first, second = examples[:middle], examples[middle:]
            return self._predict_batch(part, first) + self._predict_batch(part, second)
        rows = [{name: value[i] for name, value in outputs.items()} for i in range(len(examples))]
        return [Prediction("", self.task.serving.to_json(row), row) for row in rows]


def load(name_or_folder: str | Path) -> Predictor:
    """Loads the predictor of a run, an exported folder or a shipped model.

    A local folder of that name takes precedence over a shipped model.

    Raises:
        UserError: neither exists.
    """
    folder = zoo.find(name_or_folder)
    if zoo.is_trained(folder):
        return Predictor.from_zoo(folder)
    if artifacts.is_export(folder):
        return Predictor.from_export(folder)
    return Predictor.from_workdir(folder)


def open_model(
    workdir: str | None,
    model: str | None,
    checkpoint: str | None = None,
    weights: str | None = None,
    overrides: Pairs = (),
) -> Predictor:
    """Loads the predictor that the flags of a command select.

    Args:
        workdir: folder of a run, or an exported folder.
        model: exported folder, or name of a shipped model.
        checkpoint: see `Predictor.from_workdir`.
        weights: see `Predictor.from_workdir`.
        overrides: see `Predictor.from_workdir`.

    Raises:
        UserError: the flags cannot be combined, or the model does not exist.
    """
    folder = artifacts.find_model(workdir, model)
    if not artifacts.is_export(folder) and not zoo.is_trained(folder):
        return Predictor.from_workdir(folder, checkpoint, weights, overrides)
    if checkpoint is not None or weights is not None:
        raise UserError(
            "--checkpoint and --weights need a run's folder; exported and shipped models have one "
            "set of weights"
        )
    if artifacts.is_export(folder):
        return Predictor.from_export(folder, overrides)
    return Predictor.from_zoo(folder, overrides)


class _Signature:
    """A positional function of an exported graph, which keeps the graph's weights alive."""

    def __init__(self, loaded: Any, name: str, arguments: tuple[str, ...]):
        self._loaded = loaded
        self._function = loaded.signatures[name]
        self._arguments = arguments

    def __call__(self, *tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._function(**dict(zip(self._arguments, tensors, strict=True)))


def as_text(array: np.ndarray) -> np.ndarray:
    """Decodes an array of byte strings; other arrays are unchanged."""
    if array.dtype != object:
        return array
    texts = [text.decode() for text in array.ravel()]
    return np.array(texts, dtype=str).reshape(array.shape)
