"""Evaluation of a trained model on a split: `modelzoo evaluate` and `modelzoo.evaluate`."""

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from modelzoo import zoo
from modelzoo.config import Experiment
from modelzoo.data.batches import batch_sizes, evaluation_batches
from modelzoo.data.pipeline import evaluation_dataset, naming_bad_examples
from modelzoo.data.split import Split
from modelzoo.distribution.strategy import DistributeConfig, distribute_batches, make_strategy
from modelzoo.fields.errors import UserError
from modelzoo.fields.json_text import to_json
from modelzoo.fields.overrides import apply
from modelzoo.inference import artifacts
from modelzoo.inference.predictor import Predictor, as_text, open_model
from modelzoo.tasks.task import check_finite
from modelzoo.training.config import BATCH_SIZE
from modelzoo.training.evaluation import Evaluator
from modelzoo.training.split_evaluator import source_texts


def evaluate(
    model: str | Path,
    split: str = "test",
    *,
    checkpoint: str | int | None = None,
    weights: str | None = None,
    overrides: Mapping[str, Any] | Sequence[tuple[str, Any]] = (),
    predictions: str | Path | None = None,
) -> dict[str, Any]:
    """Evaluates a run's checkpoint, an exported model or a shipped model on a split of the data.

    Args:
        model: folder of a run or an export, or the name of a shipped model; a local folder takes
            precedence.
        split: "train", "validation", "test", or a split expression such as "train[:10%]".
        checkpoint: see `Predictor.from_workdir`.
        weights: "ema" or "raw"; None is the set that the run evaluates.
        overrides: config fields of the data, devices, batches and task, such as
            `{"data.source.path": "other.csv", "task.decoding.beams": 5}`.
        predictions: file to write one JSON line per example to.

    Returns:
        `model`, `split`, `examples`, `skipped` and the metrics, None for one that the labels do not
        define.

    Raises:
        UserError: the model or split does not exist, or the data does not fit the model.

    Example:
        >>> evaluate("digits_resnet", "test[:50]")["examples"]
        50
    """
    pairs = list(overrides.items() if isinstance(overrides, Mapping) else overrides)
    folder = zoo.find(model)
    trained = zoo.is_trained(folder) or artifacts.is_export(folder)
    named = {"model": str(folder)} if trained else {"workdir": str(folder)}
    return evaluate_model(
        split,
        **{"workdir": None, "model": None, **named},
        checkpoint=None if checkpoint is None else str(checkpoint),
        weights=weights,
        overrides=pairs,
        predictions=predictions,
    )


def evaluate_model(
    split: str,
    *,
    workdir: str | None,
    model: str | None,
    checkpoint: str | None,
    weights: str | None,
    overrides: Sequence[tuple[str, Any]],
    predictions: str | Path | None,
) -> dict[str, Any]:
    """Evaluates the model that the flags of a command select; see `evaluate`."""
    devices = DistributeConfig(strategy="one_device")
    if not artifacts.is_export(artifacts.find_model(workdir, model)):
        # This machine may have other devices than the one that trained the model.
        prefix = "distribute."
        given = {k.removeprefix(prefix): v for k, v in overrides if k.startswith(prefix)}
        devices = apply(DistributeConfig(), given, "config.distribute")
    strategy = make_strategy(devices)
    with strategy.scope():
        predictor = open_model(workdir, model, checkpoint, weights, overrides)
    # With labels in the order that the model knows.
    opened = predictor.experiment.data.open(predictor.task.data).split(split)
    predictor.task.objective.check_metrics(opened.references)
    metrics = _evaluate(predictor, strategy, opened, predictions)
    return {
        "model": predictor.origin,
        "split": split,
        "examples": opened.num_examples,
        "skipped": len(opened.skipped),
        **metrics,
    }


def _evaluate(
    predictor: Predictor,
    strategy: tf.distribute.Strategy,
    split: Split,
    predictions: str | Path | None,
) -> dict[str, Any]:
    task, replicas = predictor.task, strategy.num_replicas_in_sync
    experiment: Experiment = predictor.experiment
    batch_size = experiment.eval.batch_size or experiment.train.batch_size or BATCH_SIZE
    if batch_size % replicas:
        raise UserError(
            f"config.eval.batch_size must be a multiple of {replicas} replicas, got {batch_size}"
        )
    runner = predictor.runner
    planned = evaluation_batches(split, batch_sizes(split, batch_size))
    dataset = evaluation_dataset(split, planned, features=runner.features, replicas=replicas)
    batches = naming_bad_examples(
        distribute_batches(strategy, dataset), split, lambda k: planned[k].rows
    )
    rows: dict[int, dict[str, Any]] = {}
    labels = _labels(split) if predictions is not None else []

    def on_batch(index: np.ndarray, served: dict[str, np.ndarray]) -> None:
        served = {name: as_text(values) for name, values in served.items()}
        for k, example in enumerate(index.tolist()):
            outputs = {name: values[k] for name, values in served.items()}
            json_values = {**task.serving.to_json(outputs), **_scores(outputs)}
            rows[example] = {**labels[example], **json_values}

    evaluator = Evaluator(task, runner, strategy)
    with contextlib.closing(batches):
        (accumulator,) = evaluator(batches, on_batch=None if predictions is None else on_batch)
    if predictions is not None:
        lines = (to_json(rows[example], ensure_ascii=False) for example in sorted(rows))
        _write_lines(Path(predictions), lines)
    metrics = task.objective.metrics(accumulator.metric_sums, accumulator.with_references(split))
    check_finite(metrics, "split", "use another checkpoint, or train with a lower learning rate")
    return metrics


def _scores(served: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns the probabilities of an example's classes or tags; those of tokens are too many."""
    scores = served.get("scores")
    if scores is None or scores.ndim > 1 or "classes" not in served:
        return {}
    return {"scores": scores.tolist()}


def _labels(split: Split) -> list[dict[str, Any]]:
    """Returns the ids of the examples, with their labels or references, for their lines."""
    rows = []
    target, count = split.bound.get_target(), split.num_examples
    for first in range(0, count, 1024):
        index = np.arange(first, min(first + 1024, count))
        if split.references is not None:
            for k, source in zip(index.tolist(), source_texts(split, index), strict=True):
                references = list(split.references[k])
                rows.append({"id": str(split.ids[k]), "source": source, "references": references})
            continue
        labels = split.labels(index)["label"].numpy()
        for k, label in zip(index.tolist(), labels, strict=True):
            rows.append({"id": str(split.ids[k]), "label": target.label_to_json(label)})
    view = split.view
    if not np.array_equal(view.last, view.target):  # Of a window, the row that is predicted.
        for row, at in zip(rows, view.target, strict=True):
            row["target_id"] = str(view.rows.ids[at])
    return rows


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    """Writes the whole file or none."""
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
        os.replace(partial, path)
    except OSError as error:
        raise UserError(f"cannot write --predictions={path}: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
