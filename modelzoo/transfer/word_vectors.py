"""Initial embeddings from files of word vectors in the text format of GloVe or word2vec."""

import gzip
import os
import zlib
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from modelzoo.fields.errors import UserError

EMBEDDINGS = "embedding/embeddings"
"""Path of the variable with one row per token of the vocabulary."""
_LARGEST = float(np.finfo(np.float32).max)


def initialise_embeddings(model: keras.Model, path: str, vocabulary: Sequence[str]) -> int:
    """Sets the embeddings of the words in a file; the other embeddings keep their values.

    Args:
        model: a model with the variable `EMBEDDINGS`.
        path: path of the file, see `read_vectors`.
        vocabulary: the token of each row.

    Returns:
        The number of embeddings set.

    Raises:
        UserError: the model has no word embeddings, or `read_vectors` raises it.
    """
    variable = next((v for v in model.weights if v.path == EMBEDDINGS), None)
    if variable is None:
        raise UserError(
            f"config.train.init_embeddings={path} needs a model with word embeddings, a variable "
            f"{EMBEDDINGS!r}; {model.name} has none"
        )
    rows, vectors = read_vectors(path, vocabulary, variable.shape[-1])
    values = variable.numpy()
    values[rows] = vectors
    variable.assign(values)
    return len(rows)


def read_vectors(path: str, words: Sequence[str], dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Reads the vectors of some words.

    Each line of the file is a word and `dim` numbers, separated by single spaces. The first line
    may be word2vec's header of two numbers. The file may be compressed with gzip. Memory holds only
    the vectors of `words`. If a word occurs twice, its first vector is used.

    Args:
        path: path of the file.
        words: the words whose vectors are read.
        dim: dimensions of the vectors.

    Returns:
        Indices in `words` of the `n` words in the file, int64 `[n]`, and their vectors, float32
        `[n, dim]`.

    Raises:
        UserError: the file cannot be read, a line is malformed, the vectors have other dimensions,
            or the file has no vector for any of `words`.
    """
    wanted = {word.encode(): number for number, word in enumerate(words)}
    vectors = {}
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
            if count > dim and not _is_finite(line.split(b" ")[-dim - 1]):
                continue
            raise UserError(f"{path}, line {number}: {count} numbers after the word, not {dim}")
        index = wanted.get(word)
        if index is None or index in vectors:
            continue
        values = line.split(b" ")[1:]
        try:
            vector = np.array(list(map(float, values)))
        except ValueError:
            vector = np.array(np.nan)
        if not (abs(vector) <= _LARGEST).all():
            bad = next(
                value.decode("utf-8", "replace") for value in values if not _is_finite(value)
            )
            raise UserError(f"{path}, line {number}: {bad!r} is not a finite float32 number")
        vectors[index] = vector.astype(np.float32)
    if not vectors:
        raise UserError(
            f"{path} has no vector for any of the {len(wanted)} words of the vocabulary: check "
            "that config.data.inputs.tokenizer lowercases and splits words as the file does"
        )
    return np.array(list(vectors)), np.stack(list(vectors.values()))


def _check_dimensions(path: str, got: int, dim: int) -> None:
    if got < 2:
        raise UserError(
            f"{path}, line 1: no vector; the file must be in the text format of GloVe or word2vec"
        )
    if got != dim:
        raise UserError(
            f"the vectors of {path} have {got} dimensions, the model's embedding has {dim}: "
            f"set config.model.embedding_dim={got}"
        )


def _is_finite(text: bytes) -> bool:
    """Whether the text is a finite float32 number."""
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
