"""Training an experiment in a run folder: what `modelzoo train` and `modelzoo.training` do."""

import contextlib
import signal
from pathlib import Path
from typing import Any

import tensorflow as tf

from modelzoo import config
from modelzoo.distribution.strategy import make_strategy
from modelzoo.fields.errors import UserError
from modelzoo.inference.predictor import Predictor
from modelzoo.training import checkpoint, run_folder
from modelzoo.training.progress import Progress, format_seconds, score_words, signature_lines
from modelzoo.training.signals import Interrupted
from modelzoo.training.trainer import Trainer


def train(
    experiment: config.Experiment,
    workdir: str | Path,
    resume_with_changes: bool = False,
    progress: Progress | None = None,
    folds: int | None = None,
) -> dict[str, Any]:
    """Trains `experiment` in `workdir`, from where an earlier run there stopped; its `result.json`.

    With `folds` it is cross-validated, see `modelzoo.runs.cross_validation`. Raises UserError for
    what a user can mend, among it a folder that was trained under another config (unless
    `resume_with_changes`) or in which another process trains, and Interrupted where a signal
    stopped the run.
    """
    if not isinstance(experiment, config.Experiment):
        raise UserError(
            f"train takes an Experiment, such as modelzoo.configs.get('digits_resnet'), "
            f"got {experiment!r}"
        )
    progress = progress or Progress()
    if folds is not None:
        from modelzoo.runs.cross_validation import cross_validate  # Late: it builds on this module.

        if resume_with_changes:
            raise UserError(
                "--folds cannot go on --resume_with_changes, for all folds are of one config: take "
                "another --workdir"
            )
        return cross_validate(experiment, workdir, folds, progress)
    with run_folder.made(workdir) as folder, run_folder.locked(folder):
        run_folder.check_no_folds(folder)
        strategy = make_strategy(experiment.distribute)
        if not resume_with_changes:
            claim(experiment, folder, ", or go on with --resume_with_changes")
        trainer = prepared(experiment, folder, strategy, progress, resume_with_changes)
        return completed(trainer)


def prepared(
    experiment: config.Experiment,
    workdir: Path,
    strategy: tf.distribute.Strategy,
    progress: Progress,
    other_data: bool = False,
) -> Trainer:
    """A run with all that it needs, at its start or where it stopped; nothing is written yet."""
    trainer = Trainer(experiment, workdir, strategy, progress)
    trainer.open_data()
    trainer.build()
    trainer.restore(other_data=other_data)
    return trainer


def completed(trainer: Trainer) -> dict[str, Any]:
    """Trains what is prepared to its end, scores and exports it; the `result.json`."""
    experiment, workdir, progress = trainer.experiment, trainer.workdir, trainer.progress
    run_folder.write_json(workdir / "config.json", config.to_dict(experiment))
    trainer.spec.save_assets(workdir / "assets")
    run_folder.write_json(workdir / "assets" / "spec.json", trainer.spec.to_dict())
    trainer.summarize()
    trainer.train()
    before = _result(workdir)
    try:
        result = trainer.finish()
    except KeyboardInterrupt:
        raise Interrupted(signal.SIGINT, trainer.meta.step) from None
    if "averaged_steps" in result:
        progress.say(f"mean of steps {', '.join(map(str, result['averaged_steps']))}")
    if result["best_metric"] is not None:
        progress.say(f"best by {result['best_metric']}: step {result['evaluated_step']}")
    for split, scores in result["eval"].items():
        progress.say(f"{split}: {score_words(scores, trainer.task.headline)}")
    for line in signature_lines(result["eval"].get("test", {})):
        progress.say(f"  {line}")
    discarded = result.get("discarded_steps")
    overflow = f", {discarded:,} of them discarded for an overflow" if discarded else ""
    progress.say(
        f"trained {result['steps']:,} steps in {format_seconds(result['seconds'])}{overflow}"
    )
    if experiment.export.at_end:
        # A finished run that is started again has exported already.
        chosen = ("evaluated_step", "averaged_steps")
        same = all(before.get(key) == result.get(key) for key in chosen)
        folder = workdir / before["export"] if same and "export" in before else None
        if folder is None or not folder.is_dir():
            folder = Predictor.from_workdir(workdir).export(workdir / "export")
        result["export"] = str(folder.relative_to(workdir))
        run_folder.write_json(workdir / "result.json", result)
        progress.say(f"exported to {folder}")
    return result


def _result(workdir: Path) -> dict[str, Any]:
    """What the last process that finished here left; empty where none did."""
    try:
        return run_folder.read_json(workdir / "result.json")
    except UserError:
        return {}


def claim(experiment: config.Experiment, workdir: Path, way_out: str = "") -> None:
    """Refuses to go on under another config than the one that the folder was trained with."""
    if not checkpoint.steps(workdir):
        return
    saved = run_folder.read_json(workdir / "config.json")
    # With the defaults of fields that have been added since.
    with contextlib.suppress(UserError):
        saved = config.from_dict(saved)
    changes = config.difference(saved, experiment)
    if changes:
        raise UserError(
            f"{workdir} was trained under another config ({'; '.join(changes)}): take another "
            f"--workdir{way_out}"
        )
