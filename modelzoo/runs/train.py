"""Training of an experiment: `modelzoo train` and `modelzoo.train`."""

from pathlib import Path
from typing import Any

from modelzoo import config
from modelzoo.distribution.strategy import make_strategy
from modelzoo.fields.errors import UserError
from modelzoo.inference import artifacts
from modelzoo.runs.cross_validation import cross_validate
from modelzoo.runs.run import check_config, prepare, run
from modelzoo.training import run_folder
from modelzoo.training.progress import Progress


def train(
    experiment: config.Experiment,
    workdir: str | Path,
    resume_with_changes: bool = False,
    progress: Progress | None = None,
    folds: int | None = None,
) -> dict[str, Any]:
    """Trains an experiment in a folder and returns its `result.json`.

    A stopped run in the folder resumes.

    Args:
        experiment: the experiment to train.
        workdir: the run's folder.
        resume_with_changes: whether to resume with another config or other data.
        progress: prints the progress; None prints to the standard output.
        folds: number of folds of a cross-validation, see `modelzoo.runs.cross_validation`.

    Raises:
        UserError: a field or the data does not fit, the folder was trained with another config, or
            another process trains in it.
        Interrupted: a signal stopped the run.
    """
    if not isinstance(experiment, config.Experiment):
        raise UserError(
            f"experiment must be an Experiment, such as modelzoo.configs.get('digits_resnet'), "
            f"got {experiment!r}"
        )
    progress = progress or Progress()
    artifacts.check_workdir(workdir, experiment.data)
    if folds is not None:
        if resume_with_changes:
            raise UserError(
                "--folds and --resume_with_changes cannot be combined: use another --workdir"
            )
        return cross_validate(experiment, workdir, folds, progress)
    with run_folder.ensure_workdir(workdir) as folder, run_folder.locked(folder):
        run_folder.check_no_folds(folder)
        strategy = make_strategy(experiment.distribute)
        if not resume_with_changes:
            check_config(experiment, folder, ", or add --resume_with_changes")
        return run(prepare(experiment, folder, strategy, progress, resume_with_changes))
