"""Word vectors of GloVe or word2vec, in their text formats, as initial embeddings."""

import gzip
import os
import zlib
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from modelzoo.fields.errors import UserError

EMBEDDINGS = "embedding/embeddings"
"""Path of the variable of a model of tokens that has a row for each of the vocabulary."""
_LARGEST = float(np.finfo(np.float32).max)


def initialise_embeddings(model: keras.Model, path: str, vocabulary: Sequence[str]) -> int:
    """Sets the rows of the words that the file has a vector for; returns how many they are.

    The other rows keep their values. Raises UserError where the model has no embeddings or they
    have other dimensions, and as `read`.
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
    """The vectors of some words: their numbers, int64 `[found]`, and values, `[found, dim]`.

    The file has a line for each word, it and `dim` numbers parted by single spaces; word2vec's
    first line, of two numbers, may stand before them. It may be packed by gzip. Only the vectors
    of `words` are kept in memory; of a word that stands there twice the first. Raises UserError
    where the file cannot be read, a line is malformed, the vectors have other dimensions or none
    is of `words`.
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
            # A name may have spaces.
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
            raise UserError(f"{path}, line {number}: {bad!r} is no finite number of float32")
        found[place] = vector.astype(np.float32)
    if not found:
        raise UserError(
            f"{path} has a vector for none of the {len(wanted)} words of the vocabulary: are these "
            "lower-cased and split as there (config.data.tokenizer)?"
        )
    return np.array(list(found)), np.stack(list(found.values()))


def _check_dimensions(path: str, theirs: int, dim: int) -> None:
    if theirs < 2:
        raise UserError(
            f"{path}, line 1: no vector; the text formats of GloVe and word2vec are read"
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
                raise UserError(f"config.train.init_embeddings={path} is a zip archive: unpack it")
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
