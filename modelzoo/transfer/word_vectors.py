"""Word vectors of GloVe or word2vec, in their text formats, as initial embeddings."""

import gzip
import os
import zlib
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from modelzoo.fields.errors import UserError

EMBEDDINGS = "embedding/embeddings"
"""Path of the variable that has a row for each token of the vocabulary."""
_LARGEST = float(np.finfo(np.float32).max)


def initialise_embeddings(model: keras.Model, path: str, vocabulary: Sequence[str]) -> int:
    """Sets the rows of the words that a file has vectors for, and returns their number.

    The other rows keep their values.

    Args:
        model: has the variable `EMBEDDINGS`.
        path: of the file, see `read`.
        vocabulary: the token of each row.

    Raises:
        UserError: the model has no word embeddings, or `read` raises it.
    """
    variable = next((v for v in model.weights if v.path == EMBEDDINGS), None)
    if variable is None:
        raise UserError(
            f"config.train.init_embeddings={path} needs a model with word embeddings, a variable "
            f"{EMBEDDINGS!r}: {model.name} has none"
        )
    rows, vectors = read(path, vocabulary, variable.shape[-1])
    values = variable.numpy()
    values[rows] = vectors
    variable.assign(values)
    return len(rows)


def read(path: str, words: Sequence[str], dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Reads the vectors of some words.

    Each line of the file is a word and `dim` numbers, separated by single spaces. The first line
    may have two numbers, as word2vec writes it. The file may be compressed by gzip. Memory holds
    only the vectors of `words`, and the first one of a word that occurs twice.

    Args:
        path: of the file.
        words: the words whose vectors are wanted.
        dim: dimensions of the vectors.

    Returns:
        Places in `words`, int64 `[found]`, and vectors, float32 `[found, dim]`.

    Raises:
        UserError: the file cannot be read, a line is malformed, the vectors have other dimensions,
            or no vector is one of `words`.
    """
    wanted = {word.encode(): number for number, word in enumerate(words)}
    found = {}
    for number, line in enumerate(_lines(path), 1):
        line = line.rstrip(b" \r\n")
        word, count = line.partition(b" ")[0], line.count(b" ")
        if number == 1:
            if count == 1 and line.replace(b" ", b"").isdigit():
                _check_dimensions(path, int(line.split()[1]), dim)
                continue
            _check_dimensions(path, count, dim)
        if count != dim:
            # A word may contain spaces.
            if count > dim and not _finite(line.split(b" ")[-dim - 1]):
                continue
            raise UserError(f"{path}, line {number}: {count} numbers after the word, not {dim}")
        place = wanted.get(word)
        if place is None or place in found:
            continue
        values = line.split(b" ")[1:]
        try:
            vector = np.array(list(map(float, values)))
        except ValueError:
            vector = np.array(np.nan)
        if not (abs(vector) <= _LARGEST).all():
            bad = next(value.decode("utf-8", "replace") for value in values if not _finite(value))
            raise UserError(f"{path}, line {number}: {bad!r} is not a finite float32 number")
        found[place] = vector.astype(np.float32)
    if not found:
        raise UserError(
            f"{path} has a vector for none of the {len(wanted)} words of the vocabulary: check "
            "that config.data.inputs.tokenizer lowers and splits words as the file does"
        )
    return np.array(list(found)), np.stack(list(found.values()))


def _check_dimensions(path: str, theirs: int, dim: int) -> None:
    if theirs < 2:
        raise UserError(
            f"{path}, line 1: no vector; the file must be in the text format of GloVe or word2vec"
        )
    if theirs != dim:
        raise UserError(
            f"the vectors of {path} have {theirs} dimensions, the model's embedding has {dim}: "
            f"set config.model.embedding_dim={theirs}"
        )


def _finite(text: bytes) -> bool:
    """Whether a text is a finite number of float32."""
    try:
        return abs(float(text)) <= _LARGEST
    except ValueError:
        return False


def _lines(path: str) -> Iterator[bytes]:
    try:
        with open(os.path.expanduser(path), "rb") as raw:
            begin = raw.peek(2)[:2]
            if begin == b"PK":
                raise UserError(f"config.train.init_embeddings={path} is a zip archive: extract it")
            with gzip.open(raw) if begin == b"\x1f\x8b" else raw as file:
                empty = True
                for line in file:
                    empty = False
                    yield line
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"config.train.init_embeddings={path} cannot be read: {reason}") from None
    if empty:
        raise UserError(f"config.train.init_embeddings={path} is empty")
