"""Train a model, or resume its training.

The folder of a run contains its config, checkpoints, metrics and result. The same command resumes a
stopped run. Ctrl-C and SIGTERM save and stop a run.
"""

import shlex
import sys
from collections.abc import Sequence

from absl import flags

from modelzoo.cli import flags as shared
from modelzoo.cli import main as commands
from modelzoo.cli.export import model_name

FLAGS = shared.Flags()
shared.config(FLAGS)
shared.workdir(FLAGS)
shared.distribute(FLAGS)
flags.DEFINE_bool(
    "resume_with_changes",
    False,
    "Resume a run with another config or other data.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "folds",
    None,
    "Number of folds of a cross-validation of config.data.train_split. Each fold is held out of "
    "one run, in the folders fold1, fold2 and so on.",
    flag_values=FLAGS,
)


def main(argv: Sequence[str]) -> int:
    """Trains; returns 0, or 128 plus the number of the signal that stopped the run."""
    from modelzoo import config
    from modelzoo.data.sources.table import Table
    from modelzoo.runs.train import train
    from modelzoo.training.signals import Interrupted

    del argv
    experiment = config.load(FLAGS.config, shared.config_overrides(FLAGS))
    workdir = FLAGS.workdir
    try:
        result = train(experiment, workdir, FLAGS.resume_with_changes, folds=FLAGS.folds)
    except Interrupted as stop:
        print(f"saved at step {stop.step}; resume with the same command", file=sys.stderr)
        return 128 + stop.signal
    folder, name = shlex.quote(workdir), model_name(workdir)
    inputs = list(experiment.data.named_inputs.values())
    tables = len(inputs) > 1 or isinstance(experiment.data.source, Table)
    argument = "TABLE" if tables else inputs[0].file_argument
    if FLAGS.folds is not None:
        print(
            f"\nmetrics of all folds  {folder}/result.json\n"
            f"evaluate a fold       modelzoo evaluate --workdir={folder}/fold1\n"
            f"predict with a fold   modelzoo predict --workdir={folder}/fold1 {argument} ..."
        )
        return 0
    split = list(result["eval"])[-1:] or ["train"]
    print(
        f"\nmetrics   {folder}/result.json\n"
        f"curves    tensorboard --logdir={folder}/tensorboard"
        "  (pip install tensorboard)\n"
        f"evaluate  modelzoo evaluate --workdir={folder} --split={split[0]}\n"
        f"predict   modelzoo predict --workdir={folder} {argument} ...\n"
        f"export    modelzoo export --workdir={folder} --export_dir={folder}/export\n"
        f"serve     tensorflow_model_server --rest_api_port=8501 --model_name={name} "
        f'--model_base_path="$(realpath -- {folder})/export"'
    )
    return 0


if __name__ == "__main__":
    sys.exit(commands.run(sys.modules[__name__]))
