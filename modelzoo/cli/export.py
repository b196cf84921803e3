"""Export the model of a run, or a shipped model, as a SavedModel for TensorFlow Serving."""

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
Set fields that can change after training by --config.KEY=VALUE, such as
  --config.task.decoding.beams=5
  --config.data.inputs.test_views=flip""",
)
shared.path(
    FLAGS,
    "export_dir",
    "Folder to write the next version to (default: WORKDIR/export; required with --model).",
)


def main(argv: Sequence[str]) -> None:
    """Exports the model; prints the folder, the signatures and the command to serve it."""
    del argv
    from modelzoo.inference.predictor import open_model

    if FLAGS.model is not None and FLAGS.export_dir is None:
        raise UserError("--model needs --export_dir=FOLDER, the folder to write to")
    predictor = open_model(**shared.chosen_model(FLAGS))
    folder = predictor.export(FLAGS.export_dir or Path(FLAGS.workdir, "export"))
    print(f"exported {predictor.origin}\nto {folder}\n")
    for name, function in predictor.signatures.items():
        print(_signature(name, function))
    if modules := predictor.task.data.graph_modules:
        print(f"\nbefore tf.saved_model.load, Python needs:\n  import {', '.join(modules)}")
    name = model_name(FLAGS.workdir or FLAGS.model)
    print(f"\nserve it:\n  {serving_command(folder.parent, name)}")


def serving_command(export_dir: Path, name: str) -> str:
    """Returns the command that serves the newest version in a folder."""
    base = shlex.quote(str(export_dir.resolve()))
    return (
        f"tensorflow_model_server --rest_api_port=8501 --model_name={name} --model_base_path={base}"
    )


def model_name(workdir: str) -> str:
    """Returns the name of the folder, or "model" if the name is not valid in a URL."""
    name = Path(workdir).resolve().name
    return name if re.fullmatch(r"[\w.-]+", name, re.ASCII) else "model"


def _signature(name, function) -> str:
    concrete = function.get_concrete_function()

    def describe(spec, name):
        shape = ", ".join("n" if size is None else str(size) for size in spec.shape)
        return f"{name}: {spec.dtype.name} [{shape}]"

    inputs = [describe(spec, spec.name) for spec in concrete.structured_input_signature[0]]
    outputs = [describe(spec, output) for output, spec in concrete.structured_outputs.items()]
    return f"{name}: {', '.join(inputs)} -> {', '.join(outputs)}"


if __name__ == "__main__":
    sys.exit(run(sys.modules[__name__]))
