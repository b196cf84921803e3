"""Train a model; the same command again resumes.

A run's folder holds its config, checkpoints, metrics and result. Ctrl-C and SIGTERM save the run,
then stop it.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from modelzoo.cli import flags as shared
from modelzoo.cli import main as commands

FLAGS = shared.Flags()
shared.config(FLAGS)
shared.workdir(FLAGS)
shared.distribute(FLAGS)
flags.DEFINE_bool(
    "resume_with_changes",
    False,
    "Go on in a folder that was trained under another config.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "folds",
    None,
    "Cross-validate: so many runs, in the folder's fold1, fold2 and so on, each trained on the "
    "rows of config.data.train_split but those that it is tested on.",
    flag_values=FLAGS,
)


def main(argv: Sequence[str]) -> int:
    """Trains; returns 0, or 128 plus the signal's number where one stopped the run."""
    from modelzoo import config
    from modelzoo.runs.train import train
    from modelzoo.training.signals import Interrupted

    del argv
    experiment = config.load(FLAGS.config, shared.config_overrides(FLAGS))
    workdir = FLAGS.workdir
    try:
        result = train(experiment, workdir, FLAGS.resume_with_changes, folds=FLAGS.folds)
    except Interrupted as stop:
        print(f"saved at step {stop.step}; go on with the same command", file=sys.stderr)
        return 128 + stop.signal
    folder, name = shlex.quote(workdir), Path(workdir).absolute().name
    inputs = list(experiment.data.named_inputs.values())
    taken = inputs[0].file_argument if len(inputs) == 1 else "TABLE"
    if FLAGS.folds is not None:
        print(
            f"\nscores of all folds  {folder}/result.json\n"
            f"evaluate one         modelzoo evaluate --workdir={folder}/fold1\n"
            f"predict with one     modelzoo predict --workdir={folder}/fold1 {taken} ..."
        )
        return 0
    split = list(result["eval"])[-1:] or ["train"]
    print(
        f"\nscores and versions  {folder}/result.json\n"
        f"curves               tensorboard --logdir {folder}/tensorboard"
        "  (pip install tensorboard)\n"
        f"evaluate             modelzoo evaluate --workdir={folder} --split={split[0]}\n"
        f"predict              modelzoo predict --workdir={folder} {taken} ...\n"
        f"export               modelzoo export --workdir={folder} --export_dir={folder}/export\n"
        f"serve                tensorflow_model_server --rest_api_port=8501 --model_name={name} "
        f"--model_base_path=$(realpath {folder})/export"
    )
    return 0


if __name__ == "__main__":
    sys.exit(commands.run(sys.modules[__name__]))
