"""Evaluate a run's checkpoint, an exported model or a shipped one on a split of the data."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from modelzoo.cli import flags as shared
from modelzoo.cli.main import run

FLAGS = shared.Flags()
shared.trained_model(
    FLAGS,
    """\
Fields of the run's config about its data, task, devices and batches by --config.KEY=VALUE, such as
  --config.eval.batch_size=512
  --config.data.source.path=/data/other
  --config.data.test_split="train[:10%]"
  --config.data.on_bad=skip
  --config.task.decoding.beams=5
What the run learned from its data, such as a vocabulary, is always the run's.""",
)
shared.distribute(FLAGS)
flags.DEFINE_string(
    "split",
    "test",
    "train, validation, test, or a split by the data's own name, such as 'train[:10%]'. In a fold "
    "of train --folds, test is what it held out, and 'test[:]' the data's own.",
    flag_values=FLAGS,
)
shared.path(
    FLAGS,
    "predictions",
    "File for one JSON line per example: id, label or references, prediction, scores.",
)
flags.DEFINE_enum(
    "format", "table", ["table", "json"], "How the metrics are printed.", flag_values=FLAGS
)

_MOST_ROWS = 50
_ABOUT = ("model", "split", "examples", "skipped")


def main(argv: Sequence[str]) -> None:
    """Prints the metrics, and writes the predictions if asked to."""
    del argv
    from modelzoo.runs.evaluate import evaluate_model

    found = evaluate_model(FLAGS.split, **shared.chosen_model(FLAGS), predictions=FLAGS.predictions)
    if FLAGS.format == "json":
        print(json.dumps(found, ensure_ascii=False))
    else:
        print(table(found))


def table(found: Mapping[str, Any]) -> str:
    """The result of an evaluation for people."""
    from modelzoo.training.progress import format_signatures

    rows = {key: str(found[key]) for key in _ABOUT if found[key]}
    rows |= {key: f"{value:.4f}" for key, value in found.items() if isinstance(value, float)}
    width = max(map(len, rows))
    lines = [f"{key:{width}}  {value}" for key, value in rows.items()]
    lines += [f"  {words}" for words in format_signatures(found)]
    for key, each in found.items():
        if key.startswith("per_"):
            lines += ["", *_rows(key.removeprefix("per_"), each)]
    return "\n".join(lines)


def _rows(kind: str, each: Mapping[str, Mapping[str, float]]) -> list[str]:
    """A line per class, tag or output, below the names of the metrics."""
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
