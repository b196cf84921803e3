"""Predicts classes, tags or values of images, texts or series, or other texts: one JSON line each.

A model of images takes files of them and folders; one of texts takes files of UTF-8 text, of which
each line is a text ("-" is the standard input), or --text; one of series takes CSV files.
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
shared.trained_model(FLAGS)
flags.DEFINE_integer(
    "top",
    None,
    "Also give that many of the best classes, tags or texts, with their probabilities or scores.",
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
    """Prints the predictions; 1 where a file or line could not be read, which stderr names."""
    paths = check_paths(argv[1:])

    from modelzoo.inference.predictor import TEXTUAL, open_model

    predictor = open_model(**shared.chosen_model(FLAGS))
    if FLAGS.top is not None:
        predictor.task.check_top(FLAGS.top, exported=predictor.model is None)
    kind = predictor.spec.kind
    textual = kind in TEXTUAL
    good = bad = 0

    def failed(message: str) -> None:
        nonlocal bad
        bad += 1
        print(message, file=sys.stderr)

    if textual:
        # What is made of a text is called so, too.
        given = (
            _lines(paths, failed) if paths else _given_texts("source" if kind == "pair" else "text")
        )
        named = _predicted_texts(predictor, given)
    elif FLAGS.text:
        raise UserError(f"--text is for a model of texts, {predictor.origin} takes {kind} data")
    else:
        files = find_images(paths) if kind == "image" else paths
        named = (({"file": p.file}, p) for p in predictor.predict_files(files, FLAGS.batch_size))
    for name, prediction in named:
        if prediction.error is not None:
            failed(f"{prediction.file}: {prediction.error}")
            continue
        good += 1
        answer = predictor.task.answer(prediction.outputs, FLAGS.top)
        print(json.dumps({**name, **answer}, ensure_ascii=False), flush=True)
    if bad and good + bad > 1:
        unit = "lines" if textual else "files"
        print(f"{bad} of {good + bad} {unit} could not be predicted", file=sys.stderr)
    return 1 if bad else 0


def check_paths(paths: Sequence[str]) -> list[str]:
    """The paths, "~" expanded; UserError where one does not exist, or there is nothing to do."""
    if bool(paths) == bool(FLAGS.text):
        raise UserError("name the files or folders to predict, or give texts by --text alone")
    paths = [os.path.expanduser(path) for path in paths]
    absent = [path for path in paths if path != STDIN and not os.path.exists(path)]
    if absent:
        raise UserError(f"no file or folder {absent[0]}")
    return paths


def find_images(paths: Sequence[str]) -> list[str]:
    """The files given and the images in the folders given, at any depth, sorted within each.

    Raises UserError where a folder holds no image.
    """
    from modelzoo.data.images import SUFFIXES

    files = []
    for path in paths:
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


def _given_texts(name: str) -> Iterator[tuple[dict[str, Any], bytes]]:
    """The texts of --text, each under this name."""
    for text in FLAGS.text:
        try:
            yield {name: text}, text.encode()
        except UnicodeEncodeError:
            raise UserError(f"--text={text!r} is not UTF-8") from None


def _lines(
    paths: Sequence[str], failed: Callable[[str], None]
) -> Iterator[tuple[dict[str, Any], bytes]]:
    """The lines of files of UTF-8 text; what cannot be read is told, and the rest goes on."""
    for path in paths:
        try:
            # Bytes, so that one that is not UTF-8 harms no other line.
            stdin = contextlib.nullcontext(sys.stdin.buffer)
            with stdin if path == STDIN else open(path, "rb") as file:
                for number, line in enumerate(file, 1):
                    line = line.rstrip(b"\r\n").removeprefix(BOM_UTF8 if number == 1 else b"")
                    try:
                        line.decode()
                    except UnicodeDecodeError:
                        failed(f"{path}, line {number}: is not UTF-8")
                    else:
                        yield {"file": path, "line": number}, line
        except OSError as error:
            failed(f"{path}: {error.strerror}")


def _predicted_texts(
    predictor: "Predictor", named: Iterable[tuple[dict[str, Any], bytes]]
) -> "Iterator[tuple[dict[str, Any], Prediction]]":
    """The predictions of named texts, with their names."""
    # Names of the texts of one batch wait here for their predictions.
    names: collections.deque[dict[str, Any]] = collections.deque()

    def texts() -> Iterator[bytes]:
        for name, text in named:
            names.append(name)
            yield text

    for prediction in predictor.predict_texts(texts(), FLAGS.batch_size):
        yield names.popleft(), prediction


if __name__ == "__main__":
    sys.exit(run(sys.modules[__name__]))
