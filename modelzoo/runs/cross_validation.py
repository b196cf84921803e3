"""Cross-validation: one run per fold of the training split, and their combined results.

`modelzoo.data.folds` divides the examples of `config.data.train_split` into folds. Each run holds
out one fold as its test split and trains on the others, from which it also learns vocabularies and
scales. Only `config.data.validation_split` selects a checkpoint; it must not share examples or
groups with the folds. `config.data.test_split` is not used.
"""

import hashlib
import io
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from modelzoo import config
from modelzoo.data.folds import Fold
from modelzoo.data.split import Split
from modelzoo.distribution.strategy import make_strategy
from modelzoo.fields.errors import UserError
from modelzoo.inference.artifacts import read_run
from modelzoo.measure import intervals
from modelzoo.runs.run import check_config, prepare, run
from modelzoo.tasks.task import scalar_metrics
from modelzoo.training import checkpoint, run_folder
from modelzoo.training.progress import Progress, format_value

# Written last, so a fold with this file is finished.
_HELD_OUT = "held_out.npz"
_REFERENCES = "references"


def cross_validate(
    experiment: config.Experiment, workdir: str | Path, folds: int, progress: Progress
) -> dict[str, Any]:
    """Trains one run per fold, in `workdir/fold1` and so on; returns the combined `result.json`.

    The same call again resumes the first unfinished fold.

    Returns:
        `folds` (folder, numbers of examples, steps and metrics of each), `over_folds` (metric name
        -> `mean`, `std`, `low`, `high`), `pooled` (the metrics over all held-out examples) and
        `pooled_intervals` (`accuracy` -> `low`, `high`).

    Raises:
        UserError: a field or the data does not fit, or the folder belongs to another run.
        Interrupted: a signal stopped the run.
    """
    if folds < 2:
        raise UserError(f"--folds must be at least 2, got {folds}")
    if experiment.data.fold is not None:
        raise UserError(
            f"config.data.fold must be none, since --folds sets it, got {experiment.data.fold}"
        )
    if not experiment.eval.test_at_end:
        raise UserError(
            "config.eval.test_at_end must be true for --folds, which evaluates each fold, got false"
        )
    with run_folder.ensure_workdir(workdir) as folder, run_folder.locked(folder):
        if checkpoint.steps(folder):
            raise UserError(
                f"{folder} is the folder of a run without --folds: use another --workdir"
            )
        strategy = make_strategy(experiment.distribute)
        for number in range(1, folds + 1):
            _train(experiment, folder, (number, folds, experiment.seed), strategy, progress)
        result = _combine_results(folder, folds)
        run_folder.write_json(folder / "result.json", result)
        for line in format_table(result):
            progress.say(line)
        return result


def _train(
    experiment: config.Experiment,
    workdir: Path,
    fold: Fold,
    strategy: tf.distribute.Strategy,
    progress: Progress,
) -> None:
    """Trains one fold, unless it is finished."""
    number, folds, _ = fold
    data = {"data.fold": fold, "data.test_split": experiment.data.train_split}
    changed = config.override(experiment, data)
    path = run_folder.fold_folder(workdir, number)
    with run_folder.ensure_workdir(path) as folder, run_folder.locked(folder):
        if checkpoint.steps(folder):
            _, before, _ = read_run(folder)[0].data.fold or fold
            if before != folds:
                raise UserError(
                    f"--folds must be {before} in {workdir}, got {folds}: use another --workdir"
                )
        check_config(changed, folder)
        if (folder / _HELD_OUT).is_file():
            progress.say(f"fold {number} of {folds} is finished")
            return
        progress.say(f"fold {number} of {folds}")
        trainer = prepare(changed, folder, strategy, progress)
        rows = _digest_examples(trainer.splits, experiment.data.validation_split)
        first = run_folder.fold_folder(workdir, 1) / _HELD_OUT
        if number > 1 and _load(first)["rows"] != rows:
            raise UserError(
                f"the examples differ from those of {first.parent}: restore them, or use another "
                "--workdir"
            )
        run_folder.write_json(workdir / "config.json", config.to_dict(experiment))
        run(trainer)
        accumulator, held_out = trainer.evaluate.accumulators["test"], trainer.splits["test"]
        arrays: dict[str, Any] = {
            "rows": rows,
            "examples": [trainer.splits["train"].num_examples, held_out.num_examples],
            "grouped": held_out.groups is not None,
            **{f"sums/{name}": value for name, value in accumulator.metric_sums.items()},
        }
        per_example = accumulator.with_references(held_out)
        if "reference" in per_example:
            # NumPy can save tuples of unequal lengths only as objects.
            arrays[_REFERENCES] = [json.dumps(texts) for texts in per_example["reference"]]
            # Saves texts instead of tokens, since each fold has its own vocabulary.
            per_example = {"texts": trainer.task.serving.texts(per_example)}
        arrays |= {f"per_example/{name}": value for name, value in per_example.items()}
        file = io.BytesIO()
        np.savez(file, **arrays)
        run_folder.write_bytes(folder / _HELD_OUT, file.getvalue())


def _digest_examples(splits: Mapping[str, Split], validation_split: str | None) -> str:
    """Returns a digest of the examples of all folds.

    Raises:
        UserError: the validation split shares examples with the folds.
    """

    def names(role: str) -> list[str]:
        return list(splits[role].groups or splits[role].ids)

    folded = {*names("train"), *names("test")}
    shared = sorted(folded.intersection(names("validation"))) if "validation" in splits else []
    if shared:
        raise UserError(
            f"config.data.validation_split={validation_split!r} shares {len(shared)} examples or "
            f"groups with the folds, such as {shared[0]}: set it to none, or set it and "
            "config.data.train_split to disjoint parts, such as 'train[90%:]' and 'train[:90%]'"
        )
    ids = sorted(map(str, [*splits["train"].ids, *splits["test"].ids]))
    return hashlib.sha256("\0".join(ids).encode()).hexdigest()[:16]


def _load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _combine_results(workdir: Path, folds: int) -> dict[str, Any]:
    folders = [run_folder.fold_folder(workdir, number) for number in range(1, folds + 1)]
    runs = [run_folder.read_json(folder / "result.json") for folder in folders]
    counts = [_load(folder / _HELD_OUT) for folder in folders]
    experiment, bound = read_run(folders[0])
    added: dict[str, dict[str, Any]] = {"sums": {}, "per_example": {}}
    for key in counts[0]:
        kind, _, name = key.partition("/")
        values = [arrays[key] for arrays in counts]
        if kind in added:
            added[kind][name] = sum(values) if kind == "sums" else np.concatenate(values)
    if _REFERENCES in counts[0]:
        rows = itertools.chain.from_iterable(arrays[_REFERENCES] for arrays in counts)
        added["per_example"]["reference"] = [tuple(json.loads(str(row))) for row in rows]
    task = experiment.task.bind(bound)
    pooled = task.objective.metrics(added["sums"], added["per_example"])
    held_out = sum(int(arrays["examples"][1]) for arrays in counts)
    pooled_intervals = {}
    # The interval would be too narrow for tokens, and for examples with weights or groups.
    independent = not counts[0]["grouped"] and added["sums"].get("weight") == held_out
    if independent and "accuracy" in pooled and "correct" in added["sums"]:
        low, high = intervals.compute_proportion_interval(float(added["sums"]["correct"]), held_out)
        pooled_intervals["accuracy"] = {"low": low, "high": high}
    return {
        "folds": [
            {
                "folder": folder.name,
                "train": int(arrays["examples"][0]),
                "held_out": int(arrays["examples"][1]),
                "steps": result["steps"],
                "evaluated_step": result["evaluated_step"],
                "seconds": result["seconds"],
                "metrics": result["eval"]["test"],
            }
            for folder, arrays, result in zip(folders, counts, runs, strict=True)
        ],
        "over_folds": summarize_folds([result["eval"]["test"] for result in runs]),
        "pooled": pooled,
        "pooled_intervals": pooled_intervals,
        "seconds": round(sum(result["seconds"] for result in runs), 2),
        **{key: runs[-1][key] for key in ("parameters", "devices", "versions")},
    }


def summarize_folds(metrics: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Computes `mean`, sample `std` and 95 % t-interval (`low`, `high`) of each metric.

    They are None for a metric that is undefined on a fold.

    The interval assumes independent folds. Their training sets overlap, though, and no unbiased
    estimate of the variance exists (Bengio and Grandvalet 2004).
    """
    result: dict[str, dict[str, float | None]] = {}
    for name in scalar_metrics(metrics[0]):
        values = [fold[name] for fold in metrics]
        if None in values:
            result[name] = dict.fromkeys(("mean", "std", "low", "high"))
            continue
        low, high = intervals.compute_mean_interval(values)
        mean, std = float(np.mean(values)), float(np.std(values, ddof=1))
        result[name] = {"mean": mean, "std": std, "low": low, "high": high}
    return result


def format_table(result: Mapping[str, Any]) -> Iterator[str]:
    """Yields the lines of a printed result, one per metric."""
    width = max(map(len, result["over_folds"]))
    held_out = sum(fold["held_out"] for fold in result["folds"])
    yield f"\n{len(result['folds'])} folds of {held_out:,} examples"
    yield f"{'':{width}}     mean      std  95 % interval         pooled"
    for name, values in result["over_folds"].items():
        mean, std, low, high = map(format_value, values.values())
        line = f"{name:{width}}  {mean:>7}  {std:>7}  {low:>7} to {high:>7}"
        line += f"  {format_value(result['pooled'][name]):>9}"
        if name in result["pooled_intervals"]:
            low, high = result["pooled_intervals"][name].values()
            line += f" ({low:.4f} to {high:.4f})"
        yield line
