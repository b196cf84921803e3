"""Averaging of a run's newest checkpoints, and the checkpoints that a run evaluates at its end.

The mean of several checkpoints is often better than the last one (Vaswani et al. 2017, section 6.1;
Izmailov et al. 2018). Weights, their moving averages and moving statistics are averaged separately.
Izmailov et al. recompute the statistics of BatchNorm on the training data instead.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from modelzoo import zoo
from modelzoo.fields.errors import UserError
from modelzoo.training import checkpoint, run_folder
from modelzoo.training.config import EvalConfig
from modelzoo.training.plan import Plan


def find(workdir: str | Path, which: str | int) -> list[Path]:
    """Returns the checkpoint folders of "last", "best", a step or "mean:N", newest last.

    "mean:N" ignores the checkpoints of interruptions, so that an interrupted run has the same mean
    as an uninterrupted one.

    Raises:
        UserError: the checkpoints do not exist.
    """
    mean = re.fullmatch(r"mean:(\d+)", str(which))
    if not mean:
        return [checkpoint.find(workdir, which)]
    number, existing = int(mean[1]), checkpoint.due_steps(workdir)
    if number < 1:
        raise UserError(f"mean:N needs N of at least 1, got {which}")
    if number > len(existing):
        raise UserError(
            f"{which} needs {number} checkpoints in {workdir}, which has {existing}: use fewer, or "
            "--checkpoint=last"
        )
    return [checkpoint.find(workdir, step) for step in existing[-number:]]


def check(workdir: Path, evaluation: EvalConfig, keep: int, plan: Plan) -> None:
    """Raises UserError if the run ends with too few checkpoints for `average_checkpoints`."""
    number = evaluation.average_checkpoints
    if number == 1:
        return
    if keep < number:
        raise UserError(
            f"config.train.keep_checkpoints must be at least config.eval.average_checkpoints, "
            f"{number}, got {keep}"
        )
    existing = checkpoint.due_steps(workdir)
    step = existing[-1] if existing else 0
    # The next checkpoint deletes that of an interruption.
    interim = step < plan.total and checkpoint.is_interim(workdir, step)
    final = len(existing) - interim + plan.checkpoints(step)
    if final < number:
        raise UserError(
            f"config.eval.average_checkpoints={number} needs {number} checkpoints, this run ends "
            f"with {final}: lower it or config.train.checkpoint_every"
        )


def find_final(workdir: str | Path, evaluation: EvalConfig) -> list[Path]:
    """Returns the checkpoints whose mean a run evaluates at its end and exports.

    They are the newest `average_checkpoints`, or the best one if `best_metric` is set.

    Raises:
        UserError: the checkpoints do not exist.
    """
    if evaluation.average_checkpoints > 1:
        return find(workdir, f"mean:{evaluation.average_checkpoints}")
    path = checkpoint.find(workdir)
    best = checkpoint.read_meta(path).for_metric(evaluation.best_metric).best_step
    return [path if best is None else checkpoint.find(workdir, best)]


def resolve_checkpoints(name_or_path: str | Path) -> list[Path]:
    """Returns the checkpoint folders of a run (see `find_final`), checkpoint or shipped model."""
    path = zoo.find(name_or_path)
    if checkpoint.steps(path) and (path / "config.json").is_file():
        saved = run_folder.read_json(path / "config.json").get("eval", {})
        number = saved.get("average_checkpoints", 1)
        if number > 1:
            return find(path, f"mean:{number}")
    return [checkpoint.resolve(path)]


def steps(paths: Sequence[Path]) -> list[int]:
    """Returns the steps of checkpoint folders."""
    return [int(path.name) for path in paths]


def describe(paths: Sequence[Path]) -> str:
    """Returns the checkpoints in words: `step 30` or `the mean of steps 10, 20, 30`."""
    numbers = ", ".join(map(str, steps(paths)))
    return f"the mean of steps {numbers}" if len(paths) > 1 else f"step {numbers}"


def read(paths: Sequence[Path], prefix: str = "") -> dict[str, np.ndarray]:
    """Reads the arrays whose names begin with `prefix`, with weights averaged over all `paths`.

    The sums are float64. Integers, and arrays that are not weights, are those of the last path.
    """
    arrays = checkpoint.read(paths[-1], prefix)
    if len(paths) == 1:
        return arrays
    sums = {
        name: value.astype(np.float64)
        for name, value in arrays.items()
        if name.startswith(("model/", "ema/")) and value.dtype.kind == "f"
    }
    for path in paths[:-1]:
        other = checkpoint.read(path, prefix)
        for name in sums:
            sums[name] += other[name]
    means = {name: (sums[name] / len(paths)).astype(arrays[name].dtype) for name in sums}
    return arrays | means
