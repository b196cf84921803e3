"""Prediction with a run's checkpoint, an exported model or a shipped model."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from modelzoo import config, zoo
from modelzoo.data.columns import BadExample
from modelzoo.data.requests import Place, RequestReader, place_name
from modelzoo.data.sources.files import printable
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

    `name` is the example's place, such as "a.png" or "a.csv, line 2", or its number from 0.
    `outputs` are the served tensors by name, without the batch dimension; `json` holds the values
    that `modelzoo predict` prints. The properties are parts of both, None if the task has no such
    part.

    `place` is a `modelzoo.data.requests.Place`, {} for a given text.
    """

    name: str
    json: dict[str, Any] = dataclasses.field(default_factory=dict)
    outputs: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    error: str | None = None
    place: Place = dataclasses.field(default_factory=dict)

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


class Predictor:
    """A trained model with its serving signatures.

    Attributes:
        experiment: the config of the run.
        task: the task on the data; `task.data` holds what the model learned from the data.
        requests: reads the files to predict.
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
        self.requests = RequestReader(experiment.data, task.data)
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
        arguments = task.serving_arguments()
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
        """Writes the model with `modelzoo.serving.saved_model.export`; returns the folder.

        Raises:
            UserError: the export would hide a run or another export, or cannot be written.
        """
        if self.model is None:
            raise UserError(f"{self.origin} is already an exported model: copy the folder")
        artifacts.check_export_dir(export_dir, self.experiment.data)
        experiment = config.to_dict(self.experiment)
        return saved_model.export(self.model, self.task, experiment, export_dir, version)

    def outputs(self, raw: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Computes served outputs of raw examples, such as `scores` `[n, classes]`; text is str.

        Args:
            raw: the raw tensors of one signature, such as `image` (uint8 `[n, height, width,
                channels]`), `encoded` (bytes `[n]`), `text` (bytes `[n]`) or `series` (`[n, length,
                features]`); those of named inputs as "NAME/text". Sampling draws by `number` (int64
                `[n]`), which by default is the row.
        """
        name, arguments = signature_for(self.task, raw)
        tensors = [tf.convert_to_tensor(raw[part], spec.dtype) for part, spec in arguments.values()]
        result = self.signatures[name](*tensors)
        return {name: as_text(value.numpy()) for name, value in result.items()}

    def predict_files(
        self, paths: Iterable[str | Path], batch_size: int = BATCH_SIZE
    ) -> Iterator[Prediction]:
        """Predicts the examples in files, in order, in batches of `batch_size`.

        Each row of a table is an example, see `predict_table`. Of other files each is an example,
        such as an image. A file of text is one only if the model learned from files; else each of
        its lines is. "-" is the standard input.

        An example that cannot be read yields a `Prediction` with `error`.
        """
        for tables, some in itertools.groupby(map(str, paths), self.requests.is_table):
            if not tables:
                yield from self._predict(self.requests.from_files(some), batch_size)
                continue
            for path in some:
                try:
                    yield from self.predict_table(path, batch_size)
                except UserError as error:
                    yield Prediction(printable(path), error=str(error).removeprefix(f"{path} "))

    def predict_texts(
        self, texts: Iterable[str | bytes], batch_size: int = BATCH_SIZE
    ) -> Iterator[Prediction]:
        """Predicts texts in order, in batches of `batch_size`; texts need not be UTF-8.

        Raises:
            UserError: the model's input is not a text.
        """
        if not self.requests.takes_texts:
            raise UserError(f"{self.origin} needs {self.task.data.describe_inputs()}, not texts")
        # A lone surrogate in a str becomes bytes that are not UTF-8.
        encoded = (t.encode("utf-8", "surrogatepass") if isinstance(t, str) else t for t in texts)
        return self._predict((({}, text) for text in encoded), batch_size)

    def predict_table(self, path: str | Path, batch_size: int = BATCH_SIZE) -> Iterator[Prediction]:
        """Predicts the rows of a table, in order; its columns are those of the training data.

        If the model learned from a `Table`, its `header` and `columns` hold for this one too, its
        `delimiter` if both have one suffix, and its `group` if the model reads windows of rows.

        A model of series alone predicts the last window of the table or of each group: what comes
        `horizon` rows later. With other inputs, each window is predicted.

        Rows that cannot be read yield a `Prediction` with `error`, after all other rows.

        Raises:
            UserError: the table cannot be read or lacks a column.
        """
        split, places, bad = self.requests.from_table(str(path))
        signatures = self.task.serving_arguments().values()
        parts = {part for arguments in signatures for part, _ in arguments.values()}
        for first in range(0, len(places), batch_size):
            assert split is not None  # It has places.
            index = np.arange(first, min(first + batch_size, len(places)))
            raw = {name: value for name, value in split.gather(index).items() if name in parts}
            outputs = self.outputs(raw)
            for k, place in enumerate(places[first : first + batch_size]):
                row = {name: value[k] for name, value in outputs.items()}
                answer = self.task.serving.to_json(row)
                yield Prediction(place_name(place), answer, row, place=place)
        for one in bad:
            yield Prediction(one.place, error=one.reason)

    def _predict(self, named: Iterable[tuple[Place, Any]], batch_size: int) -> Iterator[Prediction]:
        """Yields predictions for raw values with their places; a BadExample becomes an error."""
        ((name, bound),) = self.task.data.inputs.items()
        part = f"{name}/{bound.file_part}" if name else str(bound.file_part)
        numbered, numbers = enumerate(named), itertools.count()
        while batch := list(itertools.islice(numbered, batch_size)):
            good = [value for _, (_, value) in batch if not isinstance(value, BadExample)]
            # As evaluation numbers the rows that it can read.
            results = iter(self._predict_batch(part, [(next(numbers), value) for value in good]))
            for number, (place, value) in batch:
                label = place_name(place) if place else str(number)
                if isinstance(value, BadExample):
                    yield Prediction(label, error=str(value), place=place)
                else:
                    yield dataclasses.replace(next(results), name=label, place=place)

    def _predict_batch(self, part: str, examples: Sequence[tuple[int, Any]]) -> list[Prediction]:
        """Predicts numbered examples; halves a failing batch until each bad example is alone."""
        if not examples:
            return []
        try:
            numbers, values = zip(*examples, strict=True)
            outputs = self.outputs({part: list(values), "number": list(numbers)})
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
