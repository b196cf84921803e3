"""Evaluate a run's checkpoint, an exported model or a shipped model on a split of the data."""

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
Set fields of the data, task, devices and batches by --config.KEY=VALUE, such as
  --config.eval.batch_size=512
  --config.data.source.path=/data/other
  --config.data.test_split="train[:10%]"
  --config.data.on_bad=skip
  --config.task.decoding.beams=5
What the model learned from its data, such as a vocabulary, cannot be changed.""",
)
shared.distribute(FLAGS)
flags.DEFINE_string(
    "split",
    "test",
    "train, validation, test, or a split expression such as 'train[:10%]'. In a fold of train "
    "--folds, test is the held-out fold and 'test[:]' is the test split of the data.",
    flag_values=FLAGS,
)
shared.path(
    FLAGS,
    "predictions",
    "File for one JSON line per example: id, label or references, prediction, scores.",
)
flags.DEFINE_enum(
    "format", "table", ["table", "json"], "Output format of the metrics.", flag_values=FLAGS
)

_MOST_ROWS = 50
_ABOUT = ("model", "split", "examples", "skipped")


def main(argv: Sequence[str]) -> None:
    """Prints the metrics and, with --predictions, writes the predictions."""
    del argv
    from modelzoo.runs.evaluate import evaluate_model

    result = evaluate_model(
        FLAGS.split, **shared.chosen_model(FLAGS), predictions=FLAGS.predictions
    )
    if FLAGS.format == "json":
        print(shared.json_line(result))
    else:
        print(format_result(result))


def format_result(result: Mapping[str, Any]) -> str:
    """Formats the result of an evaluation as tables."""
    from modelzoo.training.progress import format_signatures

    rows = {key: str(result[key]) for key in _ABOUT if result[key]}
    rows |= {key: f"{value:.4f}" for key, value in result.items() if isinstance(value, float)}
    width = max(map(len, rows))
    lines = [f"{key:{width}}  {value}" for key, value in rows.items()]
    lines += [f"  {words}" for words in format_signatures(result)]
    for key, each in result.items():
        if key.startswith("per_"):
            lines += ["", *_rows(key.removeprefix("per_"), each)]
    return "\n".join(lines)


def _rows(kind: str, each: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Returns a header and one line per class, tag or output."""
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
