"""Export a run's model, or a shipped one, as a SavedModel for TensorFlow Serving."""

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from modelzoo.cli import flags as shared
from modelzoo.cli.main import run
from modelzoo.fields.errors import UserError

FLAGS = shared.Flags()
shared.trained_model(
    FLAGS,
    """\
Fields of the task and of inputs that may change after training by --config.KEY=VALUE, such as
  --config.task.decoding.beams=5
  --config.data.inputs.test_views=flip""",
)
shared.path(
    FLAGS,
    "export_dir",
    "Folder in which the next version is written (default: WORKDIR/export; needed with --model).",
)


def main(argv: Sequence[str]) -> None:
    """Exports; prints the folder, its signatures and how to serve it."""
    del argv
    from modelzoo.inference.predictor import open_model

    if FLAGS.model is not None and FLAGS.export_dir is None:
        raise UserError("name the folder to write to: --export_dir=FOLDER")
    predictor = open_model(**shared.chosen_model(FLAGS))
    folder = predictor.export(FLAGS.export_dir or Path(FLAGS.workdir, "export"))
    print(f"exported {predictor.origin}\nto {folder}\n")
    for name, function in predictor.signatures.items():
        print(_signature(name, function))
    name = _model_name(FLAGS.workdir or FLAGS.model)
    print(f"\nserve it:\n  {serving_command(folder.parent, name)}")


def serving_command(export_dir: Path, name: str) -> str:
    """The command line that serves the newest version in a folder."""
    base = shlex.quote(str(export_dir.resolve()))
    return (
        f"tensorflow_model_server --rest_api_port=8501 --model_name={name} --model_base_path={base}"
    )


def _model_name(workdir: str) -> str:
    """The run folder's name, where it can stand in a URL."""
    name = Path(workdir).resolve().name
    return name if re.fullmatch(r"[\w.-]+", name, re.ASCII) else "model"


def _signature(name, function) -> str:
    concrete = function.get_concrete_function()

    def text(spec, called):
        shape = ", ".join("n" if size is None else str(size) for size in spec.shape)
        return f"{called}: {spec.dtype.name} [{shape}]"

    given = [text(spec, spec.name) for spec in concrete.structured_input_signature[0]]
    answers = [text(spec, called) for called, spec in concrete.structured_outputs.items()]
    return f"{name}: {', '.join(given)} -> {', '.join(answers)}"


if __name__ == "__main__":
    sys.exit(run(sys.modules[__name__]))
