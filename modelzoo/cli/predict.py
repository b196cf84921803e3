"""Predict classes, tags, values or texts: one JSON line per example.

Image models take image files and folders; text models take files of UTF-8 text, one text per line
("-" is the standard input), or --text; series models take CSV files; models with several inputs
take tables whose columns are those of the training data.
"""

import collections
import contextlib
import json
import os
import sys
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
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
Fields of the task and of inputs that may change after training by --config.KEY=VALUE, such as
  --config.task.decoding.beams=5
  --config.data.inputs.test_views=flip""",
)
flags.DEFINE_integer(
    "top",
    None,
    "Also print that many of the best classes, tags or texts, with their probabilities or scores.",
    lower_bound=1,
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "batch_size", 64, "Examples predicted at a time.", lower_bound=1, flag_values=FLAGS
)
flags.DEFINE_multi_string(
    "text", [], "A text to predict, in place of files of texts; may be repeated.", flag_values=FLAGS
)


def main(argv: Sequence[str]) -> int:
    """Prints the predictions; returns 1 if a file or line could not be read, named on stderr."""
    paths = check_paths(argv[1:])

    from modelzoo.inference.predictor import open_model

    predictor = open_model(**shared.chosen_model(FLAGS))
    serving, inputs = predictor.task.serving, predictor.task.data.inputs
    if FLAGS.top is not None:
        serving.check_top(FLAGS.top, exported=predictor.model is None)
    part = next(iter(inputs.values())).file_part if len(inputs) == 1 else None
    good = bad = 0

    def fail(message: str) -> None:
        nonlocal bad
        bad += 1
        print(message, file=sys.stderr)

    if part == "text":
        texts = _lines(paths, fail) if paths else _given_texts()
        named = _predict_texts(predictor, texts)
    elif FLAGS.text:
        raise UserError(
            f"--text is for models of texts, {predictor.origin} takes "
            f"{predictor.task.data.describe_inputs()}"
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
        answer = serving.to_json(prediction.outputs, FLAGS.top)
        if name.keys() & answer.keys():  # The text of an answer is another.
            name = {"source": name["text"]}
        print(json.dumps({**name, **answer}, ensure_ascii=False), flush=True)
    if bad and good + bad > 1:
        unit = "lines" if part == "text" else "examples"
        print(f"{bad} of {good + bad} {unit} could not be predicted", file=sys.stderr)
    return 1 if bad else 0


def check_paths(paths: Sequence[str]) -> list[str]:
    """The paths with "~" expanded; raises UserError if one does not exist, or none is given."""
    if bool(paths) == bool(FLAGS.text):
        raise UserError("name the files or folders to predict, or give texts by --text alone")
    paths = [os.path.expanduser(path) for path in paths]
    absent = [path for path in paths if path != STDIN and not os.path.exists(path)]
    if absent:
        raise UserError(f"no file or folder {absent[0]}")
    return paths


def find_files(paths: Sequence[str], suffixes: Sequence[str]) -> list[str]:
    """The files given, and those of the suffixes in the folders given, sorted within each.

    Raises:
        UserError: a folder holds no such file.
    """
    files = []
    for path in paths:
        if not os.path.isdir(path):
            files.append(path)
            continue
        found = sorted(
            str(file)
            for file in Path(path).rglob("*")
            if file.suffix.lower() in suffixes and file.is_file() and file.name[0] != "."
        )
        if not found:
            if not suffixes:
                raise UserError(f"{path} is a folder: name the files in it")
            raise UserError(f"{path} has no file that ends in {', '.join(suffixes)}")
        files += found
    return files


def _given_texts() -> Iterator[tuple[dict[str, Any], bytes]]:
    """The texts of --text."""
    for text in FLAGS.text:
        try:
            yield {"text": text}, text.encode()
        except UnicodeEncodeError:
            raise UserError(f"--text={text!r} is not UTF-8") from None


def _lines(
    paths: Sequence[str], fail: Callable[[str], None]
) -> Iterator[tuple[dict[str, Any], bytes]]:
    """The lines of files of UTF-8 text; calls `fail` for what cannot be read, then goes on."""
    for path in paths:
        try:
            # Bytes, so that a line that is not UTF-8 harms no other.
            stdin = contextlib.nullcontext(sys.stdin.buffer)
            with stdin if path == STDIN else open(path, "rb") as file:
                for number, line in enumerate(file, 1):
                    line = line.rstrip(b"\r\n").removeprefix(BOM_UTF8 if number == 1 else b"")
                    try:
                        line.decode()
                    except UnicodeDecodeError:
                        fail(f"{path}, line {number}: is not UTF-8")
                    else:
                        yield {"file": path, "line": number}, line
        except OSError as error:
            fail(f"{path}: {error.strerror}")


def _predict_texts(
    predictor: "Predictor", named: Iterable[tuple[dict[str, Any], bytes]]
) -> "Iterator[tuple[dict[str, Any], Prediction]]":
    """The predictions of named texts, with their names."""
    # The names of a batch wait here for their predictions.
    names: collections.deque[dict[str, Any]] = collections.deque()

    def texts() -> Iterator[bytes]:
        for name, text in named:
            names.append(name)
            yield text

    for prediction in predictor.predict_texts(texts(), FLAGS.batch_size):
        yield names.popleft(), prediction


if __name__ == "__main__":
    sys.exit(run(sys.modules[__name__]))
