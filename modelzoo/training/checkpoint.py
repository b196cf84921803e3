"""Checkpoints: folders of plain arrays, readable with NumPy, created by one rename.

`checkpoints/00000120/state.npz` holds the arrays `model/PATH`, `ema/PATH` and `optimizer/PATH` by
variable path; `meta.json` holds the step, the position in the data and the best metric so far.
"""

import dataclasses
import json
import math
import os
import shutil
import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from modelzoo import zoo
from modelzoo.fields.errors import UserError
from modelzoo.training import run_folder

TEMPORARY = ".partial"
# The error that NumPy raises on a damaged archive depends on the damaged byte.
_DAMAGE = (OSError, EOFError, ValueError, RuntimeError, AttributeError, zipfile.BadZipFile)


@dataclasses.dataclass(frozen=True)
class Meta:
    """The metadata of a checkpoint.

    step: number of updates.
    examples: position in the training stream.
    seconds: training time of the run, over all its processes.
    data: fingerprint of the training split.
    best_metric: validation metric that selects the best checkpoint.
    best_step, best_value, best_loss: step, metric and loss of the best checkpoint.
    stale: number of evaluations since the metric improved.
    skipped: number of steps whose update was discarded.
    pending: sums for the next progress record.
    interim: whether an interruption wrote the checkpoint, when none was due.
    """

    step: int
    examples: int
    seconds: float = 0.0
    data: str | None = None
    best_metric: str | None = None
    best_step: int | None = None
    best_value: float | None = None
    best_loss: float | None = None
    stale: int = 0
    skipped: int = 0
    pending: dict[str, float] = dataclasses.field(default_factory=dict)
    interim: bool = False

    def with_evaluation(
        self,
        metric: str,
        metrics: Mapping[str, float | None],
        lower_is_better: Collection[str] = ("loss",),
    ) -> "Meta":
        """Returns the metadata after an evaluation at this step, compared with the best so far.

        Lower is better for the metrics in `lower_is_better`, higher for others. Of equal metrics,
        the one with the lower loss is the best, but no improvement. An undefined metric, None,
        changes nothing.
        """
        value, loss = metrics[metric], metrics.get("loss") or 0.0
        if value is None:
            return self
        sign = -1 if metric in lower_is_better else 1
        meta, best = dataclasses.replace(self, stale=self.stale + 1), (-math.inf, -math.inf)
        if self.best_value is not None and self.best_loss is not None:
            best = (sign * self.best_value, -self.best_loss)
        if sign * value > best[0]:
            meta = dataclasses.replace(self, stale=0)
        if (sign * value, -loss) > best:
            return dataclasses.replace(
                meta, best_metric=metric, best_step=self.step, best_value=value, best_loss=loss
            )
        return meta

    def for_metric(self, metric: str | None) -> "Meta":
        """Returns the metadata, without the best checkpoint if another metric selected it."""
        if metric == self.best_metric:
            return self
        return dataclasses.replace(
            self, best_metric=None, best_step=None, best_value=None, best_loss=None, stale=0
        )


def folder(workdir: str | Path) -> Path:
    """Returns the folder of a run's checkpoints."""
    return Path(workdir) / "checkpoints"


def steps(workdir: str | Path) -> list[int]:
    """Returns the steps of the checkpoints of a run, ascending."""
    paths = folder(workdir).glob("[0-9]*")
    return sorted(int(p.name) for p in paths if p.name.isdigit() and p.is_dir())


def write(workdir: str | Path, arrays: Mapping[str, np.ndarray], meta: Meta) -> Path:
    """Writes one checkpoint, completely or not at all; raises UserError if the write fails."""
    target = folder(workdir) / f"{meta.step:08d}"
    partial = target.with_name(target.name + TEMPORARY)
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with open(partial / "state.npz", "wb") as file:
            named: Mapping[str, Any] = arrays  # For stubs, a name could be that of an option.
            np.savez(file, **named)
            file.flush()
            os.fsync(file.fileno())
        with open(partial / "meta.json", "w") as file:
            json.dump(dataclasses.asdict(meta), file)
            file.flush()
            os.fsync(file.fileno())
        os.rename(partial, target)
        run_folder.sync(target.parent)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        existing = steps(workdir)
        last = f"the checkpoint of step {existing[-1]} is intact" if existing else "none exists yet"
        raise UserError(
            f"cannot write the checkpoint {target}: {error.strerror}; {last}, "
            "free disk space and run the command again"
        ) from None
    return target


def prune(workdir: str | Path, keep: int, best: int | None) -> None:
    """Deletes all checkpoints except the newest `keep` due ones and the best."""
    remaining = {*due_steps(workdir)[-keep:], best}
    for step in steps(workdir):
        if step not in remaining:
            shutil.rmtree(folder(workdir) / f"{step:08d}", ignore_errors=True)
    for leftover in folder(workdir).glob(f"*{TEMPORARY}"):
        shutil.rmtree(leftover, ignore_errors=True)


def due_steps(workdir: str | Path) -> list[int]:
    """Returns the steps of the checkpoints that were due by the plan, and of the newest."""
    existing = steps(workdir)
    return [step for step in existing if step == existing[-1] or not is_interim(workdir, step)]


def is_interim(workdir: str | Path, step: int) -> bool:
    """Whether an interruption wrote the checkpoint of `step`."""
    try:
        return read_meta(folder(workdir) / f"{step:08d}").interim
    except UserError:
        return False


def find(workdir: str | Path, which: str | int = "last") -> Path:
    """Returns the folder of a run's checkpoint: "last", "best" or a step.

    `modelzoo.training.averaging.find` also supports "mean:N".

    Raises:
        UserError: the checkpoint does not exist.
    """
    existing = steps(workdir)
    if not existing:
        raise UserError(f"no checkpoint in {folder(workdir)}: train there first")
    if which == "last":
        step = existing[-1]
    elif which == "best":
        best = read_meta(folder(workdir) / f"{existing[-1]:08d}").best_step
        if best is None:
            raise UserError(
                f"{workdir} has no best checkpoint: train with config.eval.best_metric, or use "
                "'last'"
            )
        step = best
    elif str(which).isdigit():
        step = int(which)
    else:
        raise UserError(f"checkpoint must be 'last', 'best', 'mean:N' or a step, got {which!r}")
    if step not in existing:
        raise UserError(f"no checkpoint of step {step} in {workdir}, which has {existing}")
    return folder(workdir) / f"{step:08d}"


def read_meta(path: str | Path) -> Meta:
    """Reads the metadata of a checkpoint folder."""
    try:
        return Meta(**json.loads((Path(path) / "meta.json").read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} is not a checkpoint of modelzoo: {error}") from None


def read(path: str | Path, prefix: str = "") -> dict[str, np.ndarray]:
    """Reads the arrays of a checkpoint, or of a shipped model, whose names begin with `prefix`.

    Raises:
        UserError: the file is missing or damaged.
    """
    return _read(path, lambda archive: {k: archive[k] for k in archive if k.startswith(prefix)})


def read_names(path: str | Path) -> list[str]:
    """Reads only the names of the arrays of `read`."""
    return _read(path, list)


def _read(path: str | Path, call: Callable[[Any], Any]) -> Any:
    file = Path(path) / (zoo.WEIGHTS if zoo.is_trained(path) else "state.npz")
    try:
        with np.load(file, allow_pickle=False) as archive:
            return call(archive)
    except FileNotFoundError:
        raise UserError(f"{path} is not a checkpoint of modelzoo: it has no state.npz") from None
    except _DAMAGE as error:
        # NumPy's own message advises to load the file as a pickle.
        reason = "no plain arrays" if "pickle" in str(error) else error
        raise UserError(
            f"the checkpoint {file} is damaged ({reason}): delete its folder to resume from the "
            "previous checkpoint, if any"
        ) from None


def resolve(path: str | Path) -> Path:
    """Returns the folder of arrays: `path` itself, or the best or last checkpoint of a run.

    If the folder does not exist, `path` is the name of a shipped model.

    Raises:
        UserError: neither exists.
    """
    path = zoo.find(path)
    if (path / "state.npz").is_file() or zoo.is_trained(path):
        return path
    existing = steps(path)
    if existing:
        best = read_meta(folder(path) / f"{existing[-1]:08d}").best_step
        return find(path, "last" if best is None else "best")
    raise UserError(
        f"config.train.init_from={path} is neither a checkpoint nor a run folder with checkpoints"
    )


_MISMATCHES = {
    "model": "belongs to another model: use the config that it was trained with",
    "optimizer": "belongs to another optimizer: use the config that it was trained with",
    "ema": "has another config.train.ema_decay: none disables the moving average",
    "loss_scale": "has another config.train.precision: only float16 scales the loss",
}


def assign(variables: Mapping[str, keras.Variable], arrays: Mapping[str, np.ndarray]) -> None:
    """Assigns each variable the array of its name, all or none.

    Raises:
        UserError: an array is missing, superfluous or has another shape.
    """
    for name in [*variables, *arrays]:
        mismatch = _MISMATCHES.get(name.split("/")[0], "has other contents")
        if name not in arrays:
            raise UserError(f"the checkpoint {mismatch}; it has no {name!r}")
        if name not in variables:
            raise UserError(f"the checkpoint {mismatch}; the run has no {name!r}")
        shape = tuple(variables[name].shape)
        if arrays[name].shape != shape:
            raise UserError(
                f"the checkpoint {mismatch}; its {name!r} is {arrays[name].shape}, the run's is "
                f"{shape}"
            )
    for name, variable in variables.items():
        variable.assign(arrays[name])


def restore_model(
    model: keras.Model, arrays: Mapping[str, np.ndarray], weights: str = "ema"
) -> None:
    """Sets a model's weights from a checkpoint's arrays, and converts floats of another type.

    `weights="ema"` uses the moving average if the arrays have one.
    """
    assign(
        {f"model/{v.path}": v for v in model.weights},
        {f"model/{path}": a for path, a in select_weights(arrays, weights).items()},
    )


def select_weights(arrays: Mapping[str, np.ndarray], weights: str) -> dict[str, np.ndarray]:
    """Returns a checkpoint's weights by path; "ema" selects the moving average if it exists."""
    averaged = weights == "ema" and any(name.startswith("ema/") for name in arrays)
    kind = "ema/" if averaged else "model/"
    return {name.removeprefix(kind): a for name, a in arrays.items() if name.startswith(kind)}
