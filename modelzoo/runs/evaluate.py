"""Evaluating a trained model on a split: what `modelzoo evaluate` and `modelzoo.evaluate` do."""

import contextlib
import json
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
from modelzoo.fields.overrides import apply
from modelzoo.inference import artifacts
from modelzoo.inference.predictor import Predictor, as_text, open_model
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
    """Evaluates a run's checkpoint, an exported model or a shipped one on a split of the data.

    Args:
        model: folder of a run or an export, or the name of a shipped model; a local folder takes
            precedence.
        split: "train", "validation", "test", or a split by its text, such as "train[:10%]".
        checkpoint: see `Predictor.from_workdir`.
        weights: "ema" or "raw"; None is what the run evaluates.
        overrides: config fields about the data, devices, batches and the task, such as
            `{"data.source.path": "other.csv", "task.decoding.beams": 5}`.
        predictions: file for one JSON line per example.

    Returns:
        `model`, `split`, `examples`, `skipped` and the metrics.

    Raises:
        UserError: there is no such model or split, or the data does not fit the model.

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
    """`evaluate` with the model named by a command's flags."""
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
    labels = _labels(split) if predictions is not None else None

    def on_batch(index: np.ndarray, served: dict[str, np.ndarray]) -> None:
        served = {name: as_text(values) for name, values in served.items()}
        for k, example in enumerate(index.tolist()):
            one = {name: values[k] for name, values in served.items()}
            rows[example] = {**labels[example], **task.serving.to_json(one)}
            # Probabilities of a single example; those of each token would not fit a line.
            if "scores" in one and one["scores"].ndim == 1:
                rows[example]["scores"] = one["scores"].tolist()

    evaluator = Evaluator(task, runner, strategy)
    with contextlib.closing(batches):
        (found,) = evaluator(batches, on_batch=on_batch if labels is not None else None)
    if labels is not None:
        lines = (json.dumps(rows[example], ensure_ascii=False) for example in sorted(rows))
        _write_lines(Path(predictions), lines)
    return task.objective.metrics(found.metric_sums, found.with_references(split))


def _labels(split: Split) -> list[dict[str, Any]]:
    """What a line of predictions says about each example: id, and label or references."""
    found = []
    target, count = split.bound.target, split.num_examples
    for first in range(0, count, 1024):
        index = np.arange(first, min(first + 1024, count))
        if split.references is not None:
            for k, source in zip(index, source_texts(split, index), strict=True):
                references = list(split.references[k])
                found.append({"id": str(split.ids[k]), "source": source, "references": references})
            continue
        labels = split.bound.labels(split.gather(index))["label"].numpy()
        for k, label in zip(index, labels, strict=True):
            found.append({"id": str(split.ids[k]), "label": target.label_to_json(label)})
    return found


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
