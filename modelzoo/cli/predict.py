"""Predict classes, tags, values or texts: one JSON line per example.

Image models read image files and folders. Text models read files of UTF-8 text, one text per line
("-" is the standard input), or --text. Series models read CSV files. Models with several inputs
read tables with the columns of the training data.
"""

import collections
import contextlib
import os
import sys
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from modelzoo.cli import flags as shared
from modelzoo.cli.main import run
from modelzoo.fields.errors import UserError

if TYPE_CHECKING:
    from modelzoo.inference.predictor import Prediction, Predictor

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
    serving, inputs = predictor.task.serving, predictor.task.data.inputs
    if FLAGS.top is not None:
        serving.check_top(FLAGS.top, exported=predictor.model is None)
    part = next(iter(inputs.values())).file_part if len(inputs) == 1 else None
    good = bad = 0  # Numbers of examples.

    def fail(message: str) -> None:
        nonlocal bad
        bad += 1
        print(message, file=sys.stderr)

    if part == "text":
        texts = _lines(paths, fail) if paths else _flag_texts()
        named = _predict_texts(predictor, texts)
    elif FLAGS.text:
        raise UserError(
            f"--text needs a model of texts, got one of {predictor.task.data.describe_inputs()} "
            f"({predictor.origin})"
        )
    elif part is None:
        named = (
            ({"row": prediction.name}, prediction)
            for path in paths
            for prediction in predictor.predict_table(path, FLAGS.batch_size)
        )
    else:
        files = find_files(paths, next(iter(inputs.values())).config.suffixes)
        named = (({"file": p.name}, p) for p in predictor.predict_files(files, FLAGS.batch_size))
    for name, prediction in named:
        if prediction.error is not None:
            fail(f"{prediction.name}: {prediction.error}")
            continue
        good += 1
        result = serving.to_json(prediction.outputs, FLAGS.top)
        if name.keys() & result.keys():  # `text` is the generated text.
            name = {"source": name["text"]}
        print(shared.json_line({**name, **result}), flush=True)
    if bad and good + bad > 1:
        unit = "lines" if part == "text" else "examples"
        print(f"{bad} of {good + bad} {unit} could not be predicted", file=sys.stderr)
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
        there = f"{left_out.total():,} files of {path} are left out: {describe(left_out)}"
        if not found:
            there = f"; {there}" if left_out else ""
            raise UserError(f"{path} has no file that ends in {', '.join(suffixes)}{there}")
        if left_out:
            print(there, file=sys.stderr)
        files += [os.path.join(path, name) for name in found]
    return files


def _flag_texts() -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yields the texts of --text with their names."""
    for text in FLAGS.text:
        try:
            yield {"text": text}, text.encode()
        except UnicodeEncodeError:
            raise UserError(f"--text={text!r} is not UTF-8") from None


def _lines(
    paths: Sequence[str], fail: Callable[[str], None]
) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yields the lines of files of UTF-8 text; calls `fail` for unreadable ones and continues."""
    from modelzoo.data.sources.files import printable

    for path in paths:
        name = printable(path)
        try:
            # Reads bytes, so that a line that is not UTF-8 does not affect others.
            stdin = contextlib.nullcontext(sys.stdin.buffer)
            with stdin if path == STDIN else open(path, "rb") as file:
                for number, line in enumerate(file, 1):
                    line = line.rstrip(b"\r\n").removeprefix(BOM_UTF8 if number == 1 else b"")
                    try:
                        line.decode()
                    except UnicodeDecodeError:
                        fail(f"{name}, line {number} is not UTF-8")
                    else:
                        yield {"file": name, "line": number}, line
        except OSError as error:
            fail(f"{name}: {error.strerror}")


def _predict_texts(
    predictor: "Predictor", named: Iterable[tuple[dict[str, Any], bytes]]
) -> "Iterator[tuple[dict[str, Any], Prediction]]":
    """Yields the predictions of named texts with their names."""
    # The names of texts whose predictions are pending.
    names: collections.deque[dict[str, Any]] = collections.deque()

    def texts() -> Iterator[bytes]:
        for name, text in named:
            names.append(name)
            yield text

    for prediction in predictor.predict_texts(texts(), FLAGS.batch_size):
        yield names.popleft(), prediction


if __name__ == "__main__":
    sys.exit(run(sys.modules[__name__]))
