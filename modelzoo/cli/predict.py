"""Predict classes, tags, values or texts: one JSON line per example.

Tables (.csv, .tsv, .jsonl) are read as the training table: an example per row, by the names of the
columns. Models of series and models with several inputs read tables only. A model of series
predicts what follows the last rows. Image models also read image files and folders. Text models
also read UTF-8 text, one text per line, or one per file if they learned from a folder of texts ("-"
is the standard input), or --text.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from modelzoo.cli import flags as shared
from modelzoo.cli.main import run
from modelzoo.fields.errors import UserError
from modelzoo.fields.json_text import to_json

if TYPE_CHECKING:
    from modelzoo.inference.predictor import Prediction

STDIN = "-"

FLAGS = shared.Flags(arguments="[FILE_OR_FOLDER ...]")
shared.trained_model(
    FLAGS,
    """\
Set fields that can change after training by --config.KEY=VALUE, such as
  --config.task.decoding.beams=5
  --config.data.inputs.test_views=flip""",
)
flags.DEFINE_integer(
    "top",
    None,
    "Also print this number of best classes, tags or texts, with probabilities or scores.",
    lower_bound=1,
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "batch_size", 64, "Number of examples per batch.", lower_bound=1, flag_values=FLAGS
)
flags.DEFINE_multi_string(
    "text", [], "A text to predict, instead of files; may be repeated.", flag_values=FLAGS
)


def main(argv: Sequence[str]) -> int:
    """Prints the predictions, and errors to stderr; returns 1 if there are errors."""
    paths = check_paths(argv[1:])

    from modelzoo.inference.predictor import open_model

    predictor = open_model(**shared.chosen_model(FLAGS))
    serving = predictor.task.serving
    if FLAGS.top is not None:
        serving.check_top(FLAGS.top, exported=predictor.model is None)
    good = bad = 0  # Numbers of examples.

    def fail(message: str) -> None:
        nonlocal bad
        bad += 1
        print(message, file=sys.stderr)

    named: Iterable[tuple[dict[str, Any], Prediction]]
    if not FLAGS.text:
        files = find_files(paths, predictor.requests.suffixes)
        named = ((p.place, p) for p in predictor.predict_files(files, FLAGS.batch_size))
    elif predictor.requests.takes_texts:
        answers = predictor.predict_texts(_flag_texts(), FLAGS.batch_size)
        named = (({"text": text}, p) for text, p in zip(FLAGS.text, answers, strict=True))
    else:
        raise UserError(
            f"--text needs a model of texts, got one of {predictor.task.data.describe_inputs()} "
            f"({predictor.origin})"
        )
    for name, prediction in named:
        if prediction.error is not None:
            fail(f"{prediction.name}: {prediction.error}")
            continue
        good += 1
        result = serving.to_json(prediction.outputs, FLAGS.top)
        if name.keys() & result.keys():  # `text` is the generated text.
            name = {"source": name["text"]}
        print(to_json({**name, **result}, ensure_ascii=False), flush=True)
    if bad and good + bad > 1:
        print(f"{bad} of {good + bad} examples could not be predicted", file=sys.stderr)
    return 1 if bad else 0


def check_paths(paths: Sequence[str]) -> list[str]:
    """Returns the paths with "~" expanded.

    Raises:
        UserError: a path does not exist, or not exactly one of paths and --text is given.
    """
    if bool(paths) == bool(FLAGS.text):
        raise UserError("give either files or folders to predict, or texts by --text")
    paths = [os.path.expanduser(path) for path in paths]
    missing = [path for path in paths if path != STDIN and not os.path.exists(path)]
    if missing:
        raise UserError(f"the file or folder {missing[0]} does not exist")
    return paths


def find_files(paths: Sequence[str], suffixes: Sequence[str]) -> list[str]:
    """Returns the files in `paths`, and the files with the suffixes in its folders, sorted.

    Prints how many files of the folders are left out.

    Raises:
        UserError: a folder holds no such file.
    """
    from modelzoo.data.sources.files import describe, list_files

    files = []
    for path in paths:
        if not os.path.isdir(path):
            files.append(path)
            continue
        if not suffixes:
            raise UserError(f"{path} is a folder: name the files in it")
        found, left_out = list_files(path, suffixes)
        there = f"left out of {path}: {describe(left_out)}"
        if not found:
            there = f"; {there}" if left_out else ""
            raise UserError(f"{path} has no file that ends in {', '.join(suffixes)}{there}")
        if left_out:
            print(there, file=sys.stderr)
        files += [os.path.join(path, name) for name in found]
    return files


def _flag_texts() -> Iterator[bytes]:
    """Yields the texts of --text."""
    for text in FLAGS.text:
        try:
            yield text.encode()
        except UnicodeEncodeError:
            raise UserError(f"--text={text!r} is not UTF-8") from None


if __name__ == "__main__":
    sys.exit(run(sys.modules[__name__]))
