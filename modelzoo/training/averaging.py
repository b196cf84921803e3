"""The mean of a run's newest checkpoints, and which checkpoints a run serves.

The mean of weights along one training is often better than the last of them (Vaswani et al. 2017,
section 6.1; Izmailov et al. 2018). Raw weights, moving averages and moving statistics each have
their mean (Izmailov et al. recompute the statistics of BatchNorm on the training data instead).
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
    """The checkpoint folders of "last", "best", a step or, newest last, "mean:N".

    "mean:N" skips the checkpoints that an interruption wrote, so that an interrupted run serves the
    same as an uninterrupted one.

    Raises:
        UserError: there are no such checkpoints.
    """
    mean = re.fullmatch(r"mean:(\d+)", str(which))
    if not mean:
        return [checkpoint.find(workdir, which)]
    number, there = int(mean[1]), checkpoint.due(workdir)
    if number < 1:
        raise UserError(f"mean:N needs N of at least 1, got {which}")
    if number > len(there):
        raise UserError(
            f"{which} needs {number} checkpoints of {workdir}, there are {there}: use fewer, or "
            "--checkpoint=last"
        )
    return [checkpoint.find(workdir, step) for step in there[-number:]]


def check(workdir: Path, evaluation: EvalConfig, keep: int, plan: Plan) -> None:
    """Raises UserError if the run will not have enough checkpoints for its mean at its end."""
    number = evaluation.average_checkpoints
    if number == 1:
        return
    if keep < number:
        raise UserError(
            f"config.train.keep_checkpoints must be at least config.eval.average_checkpoints, "
            f"{number}, got {keep}"
        )
    there = checkpoint.due(workdir)
    step = there[-1] if there else 0
    # The checkpoint of an interruption is deleted after the next one.
    passing = step < plan.total and checkpoint.interim(workdir, step)
    will = len(there) - passing + plan.checkpoints(step)
    if will < number:
        raise UserError(
            f"config.eval.average_checkpoints={number} needs {number} checkpoints, this run has "
            f"{will} at its end: lower it or config.train.checkpoint_every"
        )


def served(workdir: str | Path, evaluation: EvalConfig) -> list[Path]:
    """The checkpoints whose mean a run evaluates at its end, exports and serves.

    It is the best one if the run keeps one, else the newest `average_checkpoints`.

    Raises:
        UserError: there are no such checkpoints.
    """
    if evaluation.average_checkpoints > 1:
        return find(workdir, f"mean:{evaluation.average_checkpoints}")
    path = checkpoint.find(workdir)
    best = checkpoint.read_meta(path).forgetting(evaluation.best_metric).best_step
    return [path if best is None else checkpoint.find(workdir, best)]


def resolve_checkpoints(name_or_path: str | Path) -> list[Path]:
    """The checkpoint folders of a run (those it serves), a checkpoint or a shipped model."""
    path = zoo.find(name_or_path)
    if checkpoint.steps(path) and (path / "config.json").is_file():
        saved = run_folder.read_json(path / "config.json").get("eval", {})
        number = saved.get("average_checkpoints", 1)
        if number > 1:
            return find(path, f"mean:{number}")
    return [checkpoint.resolve(path)]


def steps(paths: Sequence[Path]) -> list[int]:
    """The steps of checkpoint folders."""
    return [int(path.name) for path in paths]


def words(paths: Sequence[Path]) -> str:
    """Such as `step 30` or `the mean of steps 10, 20, 30`."""
    numbers = ", ".join(map(str, steps(paths)))
    return f"the mean of steps {numbers}" if len(paths) > 1 else f"step {numbers}"


def read(paths: Sequence[Path], prefix: str = "") -> dict[str, np.ndarray]:
    """The arrays of the last of `paths` that begin with `prefix`, weights averaged over all.

    Sums in float64. Integers, and arrays that are no weights, are those of the last.
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
        more = checkpoint.read(path, prefix)
        for name in sums:
            sums[name] += more[name]
    means = {name: (sums[name] / len(paths)).astype(arrays[name].dtype) for name in sums}
    return arrays | means
