"""Preparation and training of an experiment in a run folder."""

import contextlib
import re
import signal
from pathlib import Path
from typing import Any

import tensorflow as tf

from modelzoo import config, zoo
from modelzoo.data.bound import BoundData
from modelzoo.data.inputs.input import BoundInput
from modelzoo.data.targets.target import BoundTarget
from modelzoo.fields.errors import UserError
from modelzoo.inference import artifacts
from modelzoo.inference.predictor import Predictor
from modelzoo.training import averaging, checkpoint, run_folder
from modelzoo.training.progress import Progress, format_metrics, format_seconds, format_signatures
from modelzoo.training.signals import Interrupted
from modelzoo.training.trainer import Trainer


def prepare(
    experiment: config.Experiment,
    workdir: Path,
    strategy: tf.distribute.Strategy,
    progress: Progress,
    other_data: bool = False,
) -> Trainer:
    """Returns a trainer at its start or where the run stopped; writes no file."""
    trainer = Trainer(experiment, workdir, strategy, progress)
    trainer.open_data(read_trained(experiment, workdir, progress))
    trainer.build()
    trainer.restore(other_data=other_data)
    return trainer


def read_trained(
    experiment: config.Experiment, workdir: Path, progress: Progress
) -> BoundData | None:
    """Returns the data of the initial weights, or of the run itself if it resumes; None without.

    What was learned for layers that `init_skip` skips, such as the classes, is left out.
    """
    settings = experiment.train
    if settings.init_from is None:
        return None
    if checkpoint.steps(workdir):
        # With --resume_with_changes, what the run has learned may not fit its data any more.
        with contextlib.suppress(OSError, TypeError, KeyError, ValueError, UserError):
            return BoundData.load(experiment.data, workdir / "assets")
        return None
    path = averaging.resolve_checkpoints(settings.init_from)[-1]
    try:
        # The checkpoints of a run lie in its folder `checkpoints`.
        bound = artifacts.read_run(path if zoo.is_trained(path) else path.parent.parent)[1]
    except UserError as error:
        progress.say(f"config.train.init_from: no scale or vocabulary is taken over: {error}")
        return None
    names = [name.partition("/")[2] for name in checkpoint.read_names(path)]
    skipped = {n for n in names for p in settings.init_skip if re.search(p, n)}

    def is_kept(one: BoundInput | BoundTarget) -> bool:
        return one.layer is None or not any(one.layer in name for name in skipped)

    inputs = {name: one for name, one in bound.inputs.items() if is_kept(one)}
    target = bound.target
    return BoundData(inputs, target if target is not None and is_kept(target) else None)


def run(trainer: Trainer) -> dict[str, Any]:
    """Trains, evaluates and exports a prepared run; returns its `result.json`."""
    experiment, workdir, progress = trainer.experiment, trainer.workdir, trainer.progress
    assert isinstance(experiment, config.Experiment)  # See `prepare`.
    run_folder.write_json(workdir / "config.json", config.to_dict(experiment))
    trainer.bound.save(workdir / "assets")
    trainer.summarize()
    trainer.train()
    before = _read_result(workdir)
    try:
        result = trainer.finish()
    except KeyboardInterrupt:
        raise Interrupted(signal.SIGINT, trainer.meta.step) from None
    if "averaged_steps" in result:
        progress.say(f"mean of steps {', '.join(map(str, result['averaged_steps']))}")
    metric = experiment.eval.best_metric
    if result["best_metric"] is None and metric is not None:
        progress.say(f"{metric} is undefined on the validation split: using the last checkpoint")
    elif result["best_metric"] is not None:
        progress.say(f"best by {result['best_metric']}: step {result['evaluated_step']}")
    for split, metrics in result["eval"].items():
        progress.say(f"{split}: {format_metrics(metrics, trainer.task.objective.headline)}")
    for line in format_signatures(result["eval"].get("test", {})):
        progress.say(f"  {line}")
    discarded = result.get("discarded_steps")
    overflow = f", {discarded:,} discarded because of overflow" if discarded else ""
    progress.say(
        f"trained {result['steps']:,} steps in {format_seconds(result['seconds'])}{overflow}"
    )
    if experiment.export.at_end:
        # A finished run that starts again has already exported.
        chosen = ("evaluated_step", "averaged_steps")
        same = all(before.get(key) == result.get(key) for key in chosen)
        folder = workdir / before["export"] if same and "export" in before else None
        if folder is None or not folder.is_dir():
            folder = Predictor.from_workdir(workdir).export(workdir / "export")
        result["export"] = str(folder.relative_to(workdir))
        run_folder.write_json(workdir / "result.json", result)
        modules = trainer.bound.graph_modules
        needs = f"; load it after import {', '.join(modules)}" if modules else ""
        progress.say(f"exported to {folder}{needs}")
    return result


def _read_result(workdir: Path) -> dict[str, Any]:
    """Reads the `result.json` of an earlier process; {} if it does not exist."""
    try:
        return run_folder.read_json(workdir / "result.json")
    except UserError:
        return {}


def check_config(experiment: config.Experiment, workdir: Path, alternative: str = "") -> None:
    """Raises UserError if the folder was trained with another config."""
    if not checkpoint.steps(workdir):
        return
    saved = run_folder.read_json(workdir / "config.json")
    # Adds the defaults of newer fields.
    with contextlib.suppress(UserError):
        saved = config.from_dict(saved)
    changes = config.difference(saved, experiment)
    if changes:
        raise UserError(
            f"{workdir} was trained with another config ({'; '.join(changes)}): use another "
            f"--workdir{alternative}"
        )
