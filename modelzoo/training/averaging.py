"""The mean of a run's newest checkpoints, and which checkpoints a run serves.

A mean of weights along one training often does better than the last of them (Vaswani et al. 2017,
section 6.1; Izmailov et al. 2018). Raw weights and moving averages have a mean each, and so have
moving statistics (Izmailov et al. count BatchNorm's anew, on the training data, instead).
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

    "mean:N" passes over those that a stop of the run left, so that a run which was stopped serves
    what one that was not does. Raises UserError where they are not there.
    """
    mean = re.fullmatch(r"mean:(\d+)", str(which))
    if not mean:
        return [checkpoint.find(workdir, which)]
    number, there = int(mean[1]), checkpoint.due(workdir)
    if number < 1:
        raise UserError(f"the mean of how many checkpoints? mean:N needs an N above 0, got {which}")
    if number > len(there):
        raise UserError(
            f"{which} needs {number} checkpoints of {workdir}, there are {there}: take fewer, or "
            "--checkpoint=last"
        )
    return [checkpoint.find(workdir, step) for step in there[-number:]]


def check(workdir: Path, evaluation: EvalConfig, keep: int, plan: Plan) -> None:
    """Raises UserError where the run will not have the checkpoints of its mean at its end."""
    number = evaluation.average_checkpoints
    if number == 1:
        return
    if keep < number:
        raise UserError(
            f"config.train.keep_checkpoints must be at least {number}, as many as "
            f"config.eval.average_checkpoints, got {keep}"
        )
    there = checkpoint.due(workdir)
    step = there[-1] if there else 0
    # One that a stop left is not among them any more once a later one is.
    passing = step < plan.total and checkpoint.interim(workdir, step)
    will = len(there) - passing + plan.checkpoints(step)
    if will < number:
        raise UserError(
            f"config.eval.average_checkpoints={number} needs {number} checkpoints, this run has "
            f"{will} at its end: lower it or config.train.checkpoint_every"
        )


def served(workdir: str | Path, evaluation: EvalConfig) -> list[Path]:
    """The checkpoints whose mean a run under `evaluation` scores at its end, exports and serves.

    The best where it keeps one, else the newest of `average_checkpoints`. Raises UserError where
    they are not there.
    """
    if evaluation.average_checkpoints > 1:
        return find(workdir, f"mean:{evaluation.average_checkpoints}")
    path = checkpoint.find(workdir)
    best = checkpoint.read_meta(path).forgetting(evaluation.best_metric).best_step
    return [path if best is None else checkpoint.find(workdir, best)]


def resolve_checkpoints(name_or_path: str | Path) -> list[Path]:
    """The folders behind what `checkpoint.resolve` takes; of a run's folder what it serves."""
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
    """The arrays of the last of `paths` that begin with `prefix`, weights as the mean over all.

    Added up in float64; whole numbers, and what is no weight, are those of the last.
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
