"""Predicts the classes, tags or values of image files: one JSON line for each."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from modelzoo.cli import flags as shared
from modelzoo.cli.main import run
from modelzoo.errors import UserError

FLAGS = shared.Flags(arguments="FILE_OR_FOLDER [FILE_OR_FOLDER ...]")
shared.trained_model(FLAGS)
flags.DEFINE_integer(
    "top",
    None,
    "Also give that many of the best classes or tags, with their probabilities.",
    lower_bound=1,
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "batch_size", 64, "Images predicted at a time.", lower_bound=1, flag_values=FLAGS
)


def main(argv: Sequence[str]) -> int:
    """Prints the predictions; 1 where a file could not be read, which stderr names."""
    files = find_files(argv[1:])

    from modelzoo.predictor import open_model

    chosen = (FLAGS.workdir, FLAGS.model, FLAGS.checkpoint, FLAGS.weights, FLAGS.test_views)
    predictor = open_model(*chosen)
    failed = 0
    for prediction in predictor.predict_files(files, FLAGS.batch_size):
        if prediction.error is not None:
            failed += 1
            print(f"{prediction.file}: {prediction.error}", file=sys.stderr)
            continue
        answer = predictor.task.answer(prediction.outputs, FLAGS.top)
        print(json.dumps({"file": prediction.file, **answer}, ensure_ascii=False), flush=True)
    if failed and len(files) > 1:
        print(f"{failed} of {len(files)} files could not be predicted", file=sys.stderr)
    return 1 if failed else 0


def find_files(paths: Sequence[str]) -> list[str]:
    """The files given and the images in the folders given, at any depth, sorted within each.

    Raises UserError where a path does not exist or a folder holds no image.
    """
    from modelzoo.data.images import SUFFIXES

    if not paths:
        raise UserError("name the files or folders to predict")
    files = []
    for path in map(os.path.expanduser, paths):
        if not os.path.exists(path):
            raise UserError(f"no file or folder {path}")
        if not os.path.isdir(path):
            files.append(path)
            continue
        found = sorted(
            str(file)
            for file in Path(path).rglob("*")
            if file.suffix.lower() in SUFFIXES and file.is_file() and file.name[0] != "."
        )
        if not found:
            raise UserError(f"no image in {path}: files of {', '.join(SUFFIXES)} are looked for")
        files += found
    return files


if __name__ == "__main__":
    sys.exit(run(sys.modules[__name__]))
