"""One interface to a trained model: a run's checkpoint, an exported folder, or one that ships."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from modelzoo import config, zoo
from modelzoo.data.series_file import read_series
from modelzoo.fields.errors import UserError
from modelzoo.inference import artifacts as stored
from modelzoo.serving import saved_model
from modelzoo.tasks.task import Task
from modelzoo.training import averaging
from modelzoo.training import checkpoint as checkpoints
from modelzoo.training.evaluation import Counts
from modelzoo.training.precision import dtype_policy, inference_precision

BATCH_SIZE = 64
TEXTUAL = ("text", "pair")
"""Kinds of data of which an example to predict is a text."""


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a model says about one example, or the `error` that kept it from saying anything.

    `file` is the example's file, of a text among others its number, counted from 0.
    `outputs` are what the signatures give for it, by name, without the batch's dimension; `answer`
    is the same as `modelzoo predict` prints it. The properties are parts of these, None where the
    task has no such part.
    """

    file: str
    answer: dict[str, Any] = dataclasses.field(default_factory=dict)
    outputs: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    error: str | None = None

    @property
    def class_name(self) -> str | None:
        """The best class."""
        return self.answer.get("class")

    @property
    def probability(self) -> float | None:
        """That of the best class."""
        return self.answer.get("probability")

    @property
    def tags(self) -> dict[str, float] | None:
        """The predicted tags and their probabilities, the best first."""
        return self.answer.get("tags")

    @property
    def values(self) -> dict[str, float] | None:
        """The predicted numbers by name."""
        return self.answer.get("values")

    @property
    def text(self) -> str | None:
        """The best of the texts that were made of the example."""
        return self.answer.get("text")

    @property
    def scores(self) -> np.ndarray | None:
        """Probabilities in the order of `Predictor.spec.class_names`: float32 `[classes]`.

        Of texts that were made, `outputs["texts"]`, their scores.
        """
        return self.outputs.get("scores")


class Predictor:
    """A trained model behind its serving signatures.

    `signatures` maps names, `serving_default` among them, to functions of one tensor that give what
    the task serves, such as `classes` and `scores`; `experiment` is the config of the run, `task`
    is bound to `spec`, the data's. `origin` says in words where the model is from. `model` is the
    Keras model, or None where it is an exported graph.
    """

    def __init__(
        self,
        experiment: config.Experiment,
        task: Task,
        signatures: dict[str, Callable],
        origin: str,
        model: keras.Model | None = None,
    ):
        self.experiment = experiment
        self.task = task
        self.spec = task.spec
        self.signatures = signatures
        self.origin = origin
        self.model = model

    @classmethod
    def from_workdir(
        cls,
        workdir: str | Path,
        checkpoint: str | int | None = None,
        weights: str | None = None,
        test_views: str | None = None,
        decoding: str | None = None,
    ) -> "Predictor":
        """The model of a run's checkpoint, always in float32 (float64 where trained in it).

        `checkpoint`: "last", "best", "mean:N" (of the last N checkpoints) or a step; None is what
        the run scores at its end (see `modelzoo.training.averaging.served`). `weights`: "ema" or
        "raw"; None is the set that the run's evaluation is of. `test_views` and `decoding`
        stand in for these fields of the run's task, the latter such as "beams=5,n_best=2" for some
        of its own. Raises UserError where there is no such checkpoint, no such set in it or no such
        field.
        """
        experiment, spec = stored.read_changed(workdir, test_views, decoding)
        if checkpoint is None:
            paths = averaging.served(workdir, experiment.eval)
        else:
            paths = averaging.find(workdir, checkpoint)
        chosen = weights or experiment.eval.weights
        # An average is one of all weights, so either set is enough; the optimizer's is not needed.
        arrays = averaging.read(paths, "ema/") if chosen == "ema" else {}
        if not arrays:
            if weights == "ema":
                raise UserError(
                    f"the checkpoint {paths[-1]} has no average of the weights, as of a run with "
                    "config.train.ema_decay=none: ask for the raw weights"
                )
            chosen, arrays = "raw", averaging.read(paths, "model/")
        task = experiment.task.bind(spec)
        with dtype_policy(inference_precision(experiment.train.precision)):
            model = task.build_model(experiment.model)
        checkpoints.restore_model(model, arrays, chosen)
        origin = f"{averaging.words(paths)} of {workdir}, {chosen} weights"
        return cls(experiment, task, task.signatures(model), origin, model)

    @classmethod
    def from_zoo(
        cls,
        name_or_folder: str | Path,
        test_views: str | None = None,
        decoding: str | None = None,
    ) -> "Predictor":
        """A trained model as they ship, in float32 (float64 where trained in it).

        `test_views` and `decoding` are as those of `from_workdir`. Raises UserError where there is
        none of that name and no folder.
        """
        folder = zoo.find(name_or_folder)
        experiment, spec = stored.read_changed(folder, test_views, decoding)
        task = experiment.task.bind(spec)
        with dtype_policy(inference_precision(experiment.train.precision)):
            model = task.build_model(experiment.model)
        checkpoints.restore_model(model, checkpoints.read(folder), "raw")
        return cls(experiment, task, task.signatures(model), f"trained model {folder.name}", model)

    @classmethod
    def from_export(cls, folder: str | Path) -> "Predictor":
        """The model of an exported folder: one version, or the newest of a folder of versions.

        Raises UserError where there is none.
        """
        experiment, spec = stored.read_export(folder)
        version = stored.exported(folder)
        try:
            loaded = tf.saved_model.load(str(version))
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise UserError(f"cannot load the SavedModel {version}: {one_line(error)}") from None
        signatures = {name: _Signature(loaded, name) for name in loaded.signatures}
        return cls(experiment, experiment.task.bind(spec), signatures, str(version))

    def export(self, export_dir: str | Path, version: int | None = None) -> Path:
        """Writes the model with `modelzoo.serving.saved_model.export`; returns the folder."""
        if self.model is None:
            raise UserError(f"{self.origin} is an exported model already: copy the folder")
        experiment = config.to_dict(self.experiment)
        return saved_model.export(self.model, self.task, experiment, export_dir, version)

    def outputs(self, raw: dict[str, Any]) -> dict[str, np.ndarray]:
        """What the signatures give for raw examples, such as `scores` `[n, classes]`; names as str.

        `raw` holds a part that the task serves: of images `image` (uint8 `[n, height, width,
        channels]`) or `encoded` (bytes `[n]`), `text` (bytes `[n]`) or `series` (`[n, length,
        features]`).
        """
        served = self.task.serves()
        part = next(part for part in served if part in raw)
        name, tensor = served[part]
        result = self.signatures[name](tf.convert_to_tensor(raw[part], tensor.dtype))
        return {name: _as_text(value.numpy()) for name, value in result.items()}

    def counts(self, batches: Iterable[dict[str, Any]]) -> Counts:
        """What the task counts and collects over raw batches, from what the signatures give."""
        counts = Counts()
        for raw in batches:
            outputs = self.task.outputs_of(self.outputs(raw))
            collected = self.task.collected(outputs, raw)
            counts.add(self.task.sums(outputs, raw), collected, raw.get("index"))
        return counts

    def predict_files(
        self, paths: Iterable[str | Path], batch_size: int = BATCH_SIZE
    ) -> Iterator[Prediction]:
        """Predicts what files hold, in order, `batch_size` examples in memory at a time.

        Those are encoded images, or CSV files of series, see `read_series`. One that cannot be read
        or decoded gives a `Prediction` with `error`; the others go on. Raises UserError where the
        model takes neither.
        """
        if self.spec.kind in TEXTUAL:
            raise UserError(f"{self.origin} takes texts, which are no files: use predict_texts")
        series = self.spec.kind == "series"

        def contents() -> Iterator[tuple[str, Any]]:
            for file in map(str, paths):
                try:
                    if not series:
                        yield file, Path(file).read_bytes()
                        continue
                    for name, found in read_series(Path(file), self.spec):
                        bad = isinstance(found, UserError)
                        yield name, Prediction(name, error=str(found)) if bad else found
                except OSError as error:
                    yield file, Prediction(file, error=error.strerror)
                except UserError as error:
                    yield file, Prediction(file, error=str(error))

        return self._predict("series" if series else "encoded", contents(), batch_size)

    def predict_texts(
        self, texts: Iterable[str | bytes], batch_size: int = BATCH_SIZE
    ) -> Iterator[Prediction]:
        """Predicts texts in order, `batch_size` of them at a time; bytes that are no UTF-8 too.

        Raises UserError where the model takes no texts.
        """
        if self.spec.kind not in TEXTUAL:
            raise UserError(f"{self.origin} takes no texts, its inputs are {self.spec.kind} data")
        # Half a surrogate pair, which str may hold, becomes bytes that are no UTF-8.
        encoded = (t.encode("utf-8", "surrogatepass") if isinstance(t, str) else t for t in texts)
        return self._predict("text", ((str(k), t) for k, t in enumerate(encoded)), batch_size)

    def _predict(
        self, part: str, named: Iterable[tuple[str, Any]], batch_size: int
    ) -> Iterator[Prediction]:
        """The predictions of named examples; one that is a Prediction already stays as it is."""
        named = iter(named)
        while batch := list(islice(named, batch_size)):
            given = [x for _, x in batch if not isinstance(x, Prediction)]
            results = iter(self._scored(part, given))
            for name, x in batch:
                known = isinstance(x, Prediction)
                yield x if known else dataclasses.replace(next(results), file=name)

    def _scored(self, part: str, examples: list[Any]) -> list[Prediction]:
        """Predictions without names; halves a batch until the broken examples stand alone."""
        if not examples:
            return []
        try:
            outputs = self.outputs({part: examples})
        except tf.errors.InvalidArgumentError as error:
            if len(examples) == 1:
                return [Prediction("", error=one_line(error))]
            middle = len(examples) // 2
            return self._scored(part, examples[:middle]) + self._scored(part, examples[middle:])
        rows = [{name: value[i] for name, value in outputs.items()} for i in range(len(examples))]
        return [Prediction("", self.task.answer(row), row) for row in rows]


def load(name_or_folder: str | Path) -> Predictor:
    """The predictor over a run's folder, an exported one, or a trained model that ships, by name.

    A folder of that path is taken before a model of that name. Raises UserError where there is
    neither.
    """
    folder = zoo.find(name_or_folder)
    if zoo.is_trained(folder):
        return Predictor.from_zoo(folder)
    of_export = stored.is_export(folder)
    return Predictor.from_export(folder) if of_export else Predictor.from_workdir(folder)


def open_model(
    workdir: str | None,
    model: str | None,
    checkpoint: str | None,
    weights: str | None,
    test_views: str | None = None,
    decoding: str | None = None,
) -> Predictor:
    """The predictor that a command's flags of these names ask for; UserError where they clash.

    `workdir` may be an exported folder as well.
    """
    folder = stored.find_model(workdir, model)
    if not stored.is_export(folder) and not zoo.is_trained(folder):
        return Predictor.from_workdir(folder, checkpoint, weights, test_views, decoding)
    if test_views is not None and stored.is_export(folder):
        raise UserError("an exported model has its views in its graph: export with --test_views")
    if decoding is not None and stored.is_export(folder):
        raise UserError("an exported model has its decoding in its graph: export with --decoding")
    if checkpoint is not None or weights is not None:
        raise UserError(
            "--checkpoint and --weights choose in the folder of a run; an exported model and one "
            "that ships each has one set"
        )
    return (
        Predictor.from_export(folder)
        if stored.is_export(folder)
        else Predictor.from_zoo(folder, test_views, decoding)
    )


class _Signature:
    """A function of an exported graph by its one tensor; keeps the graph's weights alive."""

    def __init__(self, loaded: Any, name: str):
        self._loaded = loaded
        self._function = loaded.signatures[name]
        (self._argument,) = self._function.structured_input_signature[1]

    def __call__(self, tensor: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._function(**{self._argument: tensor})


def _as_text(array: np.ndarray) -> np.ndarray:
    """Strings as text; numbers as they are."""
    if array.dtype != object:
        return array
    texts = [text.decode() for text in array.ravel()]
    return np.array(texts, dtype=str).reshape(array.shape)


def one_line(error: Exception) -> str:
    """The last line of an error that says something, without TensorFlow's node names."""
    text = getattr(error, "message", None) or str(error)
    lines = [re.sub(r"\{\{.*?\}\}|\[\[.*?\]\]|\[Op:.*?\]", "", line) for line in text.splitlines()]
    lines = [" ".join(line.split()) for line in lines]
    lines = [re.sub(r"^assertion failed: \[(.*)\]$", r"\1", line) for line in lines]
    return next((line for line in reversed(lines) if len(line) > 1), type(error).__name__)
