"""Scores a run's checkpoint, an exported model or one that ships on a split of the data."""

import contextlib
import dataclasses
import functools
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from modelzoo.cli import flags as shared
from modelzoo.cli.main import run
from modelzoo.fields.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

    from modelzoo.config import Experiment
    from modelzoo.data.source import Source
    from modelzoo.data.spec import Spec
    from modelzoo.inference.predictor import Predictor
    from modelzoo.training.evaluation import Counts

FLAGS = shared.Flags()
shared.trained_model(FLAGS)
shared.overrides(
    FLAGS,
    """\
Fields of the run's config about its data, devices and batches by --config.KEY=VALUE, such as
  --config.eval.batch_size=512
  --config.data.data_dir=/data/other
  --config.data.test_split="train[:10%]"
  --config.data.on_bad_image=skip""",
)
shared.distribute(FLAGS)
flags.DEFINE_string(
    "split",
    "test",
    "train, validation, test, or a split by the data's own name for it, such as 'train[:10%]'. "
    "Of a fold of train --folds, test is what it has held out, and 'test[:]' the data's own.",
    flag_values=FLAGS,
)
shared.path(
    FLAGS,
    "predictions",
    "File to write a JSON line for each example to: id, label or references, what is "
    "predicted, scores.",
)
flags.DEFINE_enum(
    "format", "table", ["table", "json"], "How the scores are printed.", flag_values=FLAGS
)

# Overrides of anything else would change nothing here.
_DECODING = "task.decoding."
_KEYS = ("data.", "eval.batch_size", "distribute.", "task.test_views", _DECODING)
_MOST_ROWS = 50


def main(argv: Sequence[str]) -> None:
    """Prints the scores, and writes the predictions where asked to."""
    del argv
    pairs = shared.config_overrides(FLAGS)
    if FLAGS.decoding is not None:
        from modelzoo.inference.artifacts import decoding_pairs

        pairs += decoding_pairs(FLAGS.decoding)
    for key, _ in pairs:
        if not key.startswith(_KEYS):
            raise UserError(
                f"--config.{key} changes nothing in an evaluation: config.data.*, "
                "config.eval.batch_size, config.task.test_views, config.task.decoding.* and "
                "config.distribute.* do"
            )
    from modelzoo.training.config import BATCH_SIZE

    predictor, experiment, strategy = _load(pairs)
    source = open_split(experiment.data, FLAGS.split, predictor.spec, [key for key, _ in pairs])
    align = predictor.task.align(source.spec)
    batch_size = experiment.eval.batch_size or experiment.train.batch_size or BATCH_SIZE
    if FLAGS.predictions is not None:
        rows = _predictions(predictor, source, align, batch_size)
        _write_lines(Path(FLAGS.predictions), rows)
    counts = _counts(predictor, strategy, source, align, batch_size)
    about = {
        "model": predictor.origin,
        "split": FLAGS.split,
        "examples": source.num_examples,
        "skipped": len(source.skipped),
    }
    scores = predictor.task.scores(counts.sums, counts.compared_with(source))
    if FLAGS.format == "json":
        print(json.dumps({**about, **scores}, ensure_ascii=False))
    else:
        print(table(about, scores))


def _load(
    pairs: Sequence[tuple[str, str]],
) -> "tuple[Predictor, Experiment, tf.distribute.Strategy | None]":
    from modelzoo import config
    from modelzoo.distribution.strategy import DistributeConfig, make_strategy
    from modelzoo.inference.artifacts import find_model, is_export, read_run
    from modelzoo.inference.predictor import open_model

    said = dict(pairs)
    decoding = [
        k.removeprefix(_DECODING) + f"={v}" for k, v in said.items() if k.startswith(_DECODING)
    ]
    chosen = {
        **shared.chosen_model(FLAGS),
        "test_views": said.get("task.test_views"),
        "decoding": ",".join(decoding) or None,
    }
    folder = find_model(FLAGS.workdir, FLAGS.model)
    if is_export(folder):
        predictor = open_model(**chosen)
        if any(key.startswith("distribute.") for key, _ in pairs):
            raise UserError(
                "an exported model runs on one device: give --strategy and --devices with a run "
                "or a trained model that ships only"
            )
        return predictor, config.override(predictor.experiment, pairs), None
    # Not the devices of the training: this machine may be another.
    saved = dataclasses.replace(read_run(folder)[0], distribute=DistributeConfig())
    experiment = config.override(saved, pairs)
    strategy = make_strategy(experiment.distribute)
    with strategy.scope():
        return open_model(**chosen), experiment, strategy


def open_split(data: Any, split: str, spec: "Spec", keys: Sequence[str]) -> "Source":
    """Opens a split of `data` as the model's `spec` has it.

    Where `keys`, the overridden ones, point the data elsewhere, images are brought to the model's
    size; the model's own data is opened as for its training. Raises UserError where the examples
    are others than the model's.
    """
    if spec.kind != "image":
        source = data.open(split, spec=spec)
        for name in (field.name for field in dataclasses.fields(spec)):
            wanted, got = getattr(spec, name), getattr(source.spec, name)
            # Targets are aligned by name.
            if name not in ("class_names", "targets") and got != wanted:
                raise UserError(
                    f"the model takes {spec.kind} data of {name} {wanted}, split {split!r} gives "
                    f"{got}: leave config.data as it was in training"
                )
        return source
    if any(key.startswith("data.") for key in keys):
        fit = {
            "image_size": (spec.height, spec.width),
            "channels": spec.channels,
            "resize": spec.resize,
        }
        free = {key: value for key, value in fit.items() if f"data.{key}" not in keys}
        data = dataclasses.replace(data, **free)
    source = data.open(split)
    if (source.spec.shape, source.spec.resize) != (spec.shape, spec.resize):
        got, wanted = ("x".join(map(str, s.shape)) + f" ({s.resize})" for s in (source.spec, spec))
        raise UserError(
            f"the model takes images of {wanted}, split {split!r} gives {got}: set "
            f"config.data.image_size={spec.height},{spec.width}, config.data.channels="
            f"{spec.channels} and config.data.resize={spec.resize}"
        )
    return source


def _counts(predictor, strategy, source, align, batch_size) -> "Counts":
    from modelzoo.distribution.strategy import distribute_batches
    from modelzoo.training.evaluation import Evaluator

    replicas = strategy.num_replicas_in_sync if strategy else 1
    if batch_size % replicas:
        raise UserError(
            f"config.eval.batch_size must be a multiple of {replicas} replicas, got {batch_size}"
        )

    def features(raw, training):
        raw = align(raw)
        return predictor.task.features(raw, training) if strategy else raw

    if strategy is None:
        return predictor.counts(_batches(source, features, batch_size))
    evaluator = Evaluator(predictor.model, predictor.task, strategy)
    distribute = functools.partial(distribute_batches, strategy)
    (counts,) = evaluator(_batches(source, features, batch_size, replicas, distribute))
    return counts


def _batches(source, features, batch_size, replicas=1, distribute=iter) -> Iterator:
    """The batches of an evaluation; a bad example among them is named."""
    from modelzoo.data.batches import batch_sizes, evaluation_batches
    from modelzoo.data.pipeline import evaluation_dataset, naming_bad_images

    planned = evaluation_batches(source, batch_sizes(source, batch_size))
    dataset = evaluation_dataset(source, features, planned, replicas=replicas)
    return naming_bad_images(distribute(dataset), source, lambda k: planned[k].rows)


def _predictions(predictor, source, align, batch_size) -> Iterator[dict[str, Any]]:
    """A row for each example, in their order, made by the serving signatures."""
    rows = _unordered_predictions(predictor, source, align, batch_size)
    # Those of batches of one length come by length.
    numbered = rows if source.lengths is None else sorted(rows, key=lambda row: row[0])
    return (row for _, row in numbered)


def _unordered_predictions(
    predictor, source, align, batch_size
) -> Iterator[tuple[int, dict[str, Any]]]:
    import numpy as np

    task = predictor.task
    for raw in _batches(source, lambda raw, training: align(raw), batch_size):
        outputs = predictor.outputs(raw)
        index = raw["index"].numpy()
        for i in np.flatnonzero(index >= 0):
            served = {name: value[i] for name, value in outputs.items()}
            row, answer = {"id": str(source.ids[index[i]])}, task.answer(served)
            if source.references is not None:
                given = raw["text"][i].numpy().decode(errors="replace")
                references = list(source.references[index[i]])
                yield index[i], {**row, "source": given, "references": references, **answer}
                continue
            # Of classes for each step, the answer has all that a line can show.
            scores = {k: v.tolist() for k, v in served.items() if k == "scores" and v.ndim == 1}
            yield (
                index[i],
                {**row, "label": task.truth(raw["label"][i].numpy()), **answer, **scores},
            )


def _write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Writes JSON lines, the whole file or none."""
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "w", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        os.replace(partial, path)
    except OSError as error:
        raise UserError(f"cannot write --predictions={path}: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def table(about: dict[str, Any], scores: dict[str, Any]) -> str:
    """The scores for a person to read."""
    from modelzoo.training.progress import signature_lines

    rows = {key: f"{value:.4f}" for key, value in scores.items() if isinstance(value, float)}
    rows = {key: str(value) for key, value in about.items() if value} | rows
    width = max(map(len, rows))
    lines = [f"{key:{width}}  {value}" for key, value in rows.items()]
    lines += [f"  {words}" for words in signature_lines(scores)]
    for key, each in scores.items():
        if key.startswith("per_"):
            lines += ["", *_rows(key.removeprefix("per_"), each)]
    return "\n".join(lines)


def _rows(kind: str, each: dict[str, dict[str, float]]) -> list[str]:
    """A line for each of the classes or the like, below the names of their scores."""
    if len(each) > _MOST_ROWS:
        return [f"{len(each)} rows, one per {kind}: --format=json shows each"]
    first = max(map(len, [kind, *each]))
    widths = {name: max(9, len(name)) for name in next(iter(each.values()))}
    lines = [f"{kind:{first}}  " + "  ".join(f"{name:>{w}}" for name, w in widths.items())]
    for name, values in each.items():
        cells = [f"{values[n]:{w}{'g' if n == 'support' else '.4f'}}" for n, w in widths.items()]
        lines.append(f"{name:{first}}  " + "  ".join(cells))
    return lines


if __name__ == "__main__":
    sys.exit(run(sys.modules[__name__]))
