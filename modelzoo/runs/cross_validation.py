"""Cross-validation: a run for each fold of the training split, and their results together.

The examples of `config.data.train_split` are divided into folds, see `modelzoo.data.folds`. Each
run trains on the other folds and evaluates its own as its test split, which nothing reads before.
A vocabulary or a scale is learned from the examples that the run trains on. A checkpoint is
selected by `config.data.validation_split` alone, which must share no example and no group with the
folds; `config.data.test_split` is not read.
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
from modelzoo.training import checkpoint, run_folder
from modelzoo.training.progress import Progress

# Written last: the fold that has it is finished.
_HELD_OUT = "held_out.npz"
_REFERENCES = "references"


def cross_validate(
    experiment: config.Experiment, workdir: str | Path, folds: int, progress: Progress
) -> dict[str, Any]:
    """Trains a run for each fold, in `workdir/fold1` and so on; returns the `result.json` of all.

    Started again, it resumes the first fold that is not finished.

    Returns:
        `folds` (folder, numbers of examples, steps and metrics of each), `over_folds` (name of a
        metric -> `mean`, `std`, `low`, `high`), `pooled` (the metrics of all held-out examples
        together) and `pooled_intervals` (`accuracy` -> `low`, `high`).

    Raises:
        UserError: a field or the data does not fit, or the folder holds something else.
        Interrupted: a signal stopped the run.
    """
    if folds < 2:
        raise UserError(f"--folds must be at least 2, got {folds}")
    if experiment.data.fold is not None:
        raise UserError(
            f"config.data.fold must be none with --folds, which sets it, got {experiment.data.fold}"
        )
    if not experiment.eval.test_at_end:
        raise UserError(
            "config.eval.test_at_end must be true with --folds, which evaluates each fold, got "
            "false"
        )
    with run_folder.ensure_workdir(workdir) as folder, run_folder.locked(folder):
        if checkpoint.steps(folder):
            raise UserError(f"{folder} holds a run without --folds: use another --workdir")
        strategy = make_strategy(experiment.distribute)
        for number in range(1, folds + 1):
            _train(experiment, folder, (number, folds, experiment.seed), strategy, progress)
        result = _result(folder, folds)
        run_folder.write_json(folder / "result.json", result)
        for line in table(result):
            progress.say(line)
        return result


def _train(
    experiment: config.Experiment,
    workdir: Path,
    fold: Fold,
    strategy: tf.distribute.Strategy,
    progress: Progress,
) -> None:
    """Trains one fold to its end, unless it is finished."""
    number, folds, _ = fold
    data = {"data.fold": fold, "data.test_split": experiment.data.train_split}
    changed = config.override(experiment, data)
    path = run_folder.fold(workdir, number)
    with run_folder.ensure_workdir(path) as folder, run_folder.locked(folder):
        if checkpoint.steps(folder):
            before = read_run(folder)[0].data.fold[1]
            if before != folds:
                raise UserError(
                    f"{workdir} holds {before} folds, but --folds is {folds}: use another --workdir"
                )
        check_config(changed, folder)
        if (folder / _HELD_OUT).is_file():
            progress.say(f"fold {number} of {folds} is finished")
            return
        progress.say(f"fold {number} of {folds}")
        trainer = prepare(changed, folder, strategy, progress)
        rows = _check(trainer.splits, experiment.data.validation_split)
        first = run_folder.fold(workdir, 1) / _HELD_OUT
        if number > 1 and _load(first)["rows"] != rows:
            raise UserError(
                f"the examples are not those that {first.parent} was trained on: restore them, or "
                "use another --workdir"
            )
        run_folder.write_json(workdir / "config.json", config.to_dict(experiment))
        run(trainer)
        found, held_out = trainer.evaluate.accumulators["test"], trainer.splits["test"]
        arrays = {
            "rows": rows,
            "examples": [trainer.splits["train"].num_examples, held_out.num_examples],
            "grouped": held_out.groups is not None,
            **{f"sums/{name}": value for name, value in found.metric_sums.items()},
        }
        per_example = found.with_references(held_out)
        if "reference" in per_example:
            # NumPy stores tuples of several lengths only as objects.
            arrays[_REFERENCES] = [json.dumps(texts) for texts in per_example["reference"]]
            # Each fold has its own vocabulary, so texts are stored, not tokens.
            per_example = {"texts": trainer.task.serving.texts(per_example)}
        arrays |= {f"per_example/{name}": value for name, value in per_example.items()}
        file = io.BytesIO()
        np.savez(file, **arrays)
        run_folder.write_bytes(folder / _HELD_OUT, file.getvalue())


def _check(splits: Mapping[str, Split], validation_split: str | None) -> str:
    """Returns a digest of the examples of all folds.

    Raises:
        UserError: the validation split has some of them.
    """

    def names(role: str) -> list[str]:
        return list(splits[role].groups or splits[role].ids)

    ours = {*names("train"), *names("test")}
    shared = sorted(ours.intersection(names("validation"))) if "validation" in splits else []
    if shared:
        raise UserError(
            f"config.data.validation_split={validation_split!r} shares {len(shared)} examples or "
            f"groups with the folds, such as {shared[0]}: set it to none, or set it and "
            "config.data.train_split to parts, such as 'train[90%:]' and 'train[:90%]'"
        )
    ids = sorted(map(str, [*splits["train"].ids, *splits["test"].ids]))
    return hashlib.sha256("\0".join(ids).encode()).hexdigest()[:16]


def _load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _result(workdir: Path, folds: int) -> dict[str, Any]:
    folders = [run_folder.fold(workdir, number) for number in range(1, folds + 1)]
    runs = [run_folder.read_json(folder / "result.json") for folder in folders]
    counts = [_load(folder / _HELD_OUT) for folder in folders]
    experiment, bound = read_run(folders[0])
    added: dict[str, dict[str, np.ndarray]] = {"sums": {}, "per_example": {}}
    for key in counts[0]:
        kind, _, name = key.partition("/")
        values = [of[key] for of in counts]
        if kind in added:
            added[kind][name] = sum(values) if kind == "sums" else np.concatenate(values)
    if _REFERENCES in counts[0]:
        rows = itertools.chain.from_iterable(of[_REFERENCES] for of in counts)
        added["per_example"]["reference"] = [tuple(json.loads(str(row))) for row in rows]
    task = experiment.task.bind(bound)
    pooled = task.objective.metrics(added["sums"], added["per_example"])
    held_out, ranges = sum(int(of["examples"][1]) for of in counts), {}
    # For tokens and for examples with weights or groups the interval would be too narrow.
    alone = not counts[0]["grouped"] and added["sums"].get("weight") == held_out
    if alone and "accuracy" in pooled and "correct" in added["sums"]:
        low, high = intervals.compute_proportion_interval(float(added["sums"]["correct"]), held_out)
        ranges["accuracy"] = {"low": low, "high": high}
    return {
        "folds": [
            {
                "folder": folder.name,
                "train": int(of["examples"][0]),
                "held_out": int(of["examples"][1]),
                "steps": result["steps"],
                "evaluated_step": result["evaluated_step"],
                "seconds": result["seconds"],
                "metrics": result["eval"]["test"],
            }
            for folder, of, result in zip(folders, counts, runs, strict=True)
        ],
        "over_folds": over_folds([result["eval"]["test"] for result in runs]),
        "pooled": pooled,
        "pooled_intervals": ranges,
        "seconds": round(sum(result["seconds"] for result in runs), 2),
        **{key: runs[-1][key] for key in ("parameters", "devices", "versions")},
    }


def over_folds(metrics: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """`mean`, `std` (of a sample) and the 95 % t-interval `low`, `high` of every float metric.

    The interval assumes that the folds are independent. They are not, since their training sets
    overlap, and no unbiased estimate of the variance exists (Bengio and Grandvalet 2004).
    """
    result = {}
    for name in (name for name, value in metrics[0].items() if isinstance(value, float)):
        values = [of[name] for of in metrics]
        low, high = intervals.compute_mean_interval(values)
        mean, std = float(np.mean(values)), float(np.std(values, ddof=1))
        result[name] = {"mean": mean, "std": std, "low": low, "high": high}
    return result


def table(result: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a result for people, one per metric."""
    width = max(map(len, result["over_folds"]))
    held_out = sum(of["held_out"] for of in result["folds"])
    yield f"\n{len(result['folds'])} folds of {held_out:,} examples"
    yield f"{'':{width}}     mean      std  95 % interval         pooled"
    for name, of in result["over_folds"].items():
        line = f"{name:{width}}  {of['mean']:7.4f}  {of['std']:7.4f}"
        line += f"  {of['low']:7.4f} to {of['high']:7.4f}  {result['pooled'][name]:9.4f}"
        if name in result["pooled_intervals"]:
            low, high = result["pooled_intervals"][name].values()
            line += f" ({low:.4f} to {high:.4f})"
        yield line
