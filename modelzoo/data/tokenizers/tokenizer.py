"""What all tokenizers have in common: normalised text, the ids of special tokens, files."""

import abc
import dataclasses
import functools
import hashlib
import importlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self

import numpy as np
import tensorflow as tf

from modelzoo.fields.errors import FieldError, UserError

FILE = "tokenizer.json"
UNKNOWN_TEXT = "\u2047"
"""The character that an unknown token becomes in a joined text."""
# Private use characters of plane 15: one replaces each special string while a text is split.
_FIRST_CODE, _CODES = 0xF0000, "[\\x{F0000}-\\x{FFFFD}]"
_NAMED = ("pad", "unknown", "start", "end")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizerConfig(abc.ABC):
    """How texts are normalised before they are split, and the names of special tokens.

    No text contains the tokens `pad`, `unknown`, `start` and `end`: their names in a text are split
    like any other word.

    Attributes:
        lower: whether upper case becomes lower case.
        normalize: the Unicode normalisation, "none", "nfc" or "nfkc"; the latter two need
            tensorflow-text.
        special: strings such as "<de>" that become one token each wherever a text contains them.
        pad: token that fills a batch; None for none.
        unknown: token for everything that is not in the vocabulary.
        start: token that a decoder reads first; None for the end token.
        end: token that ends a text; None for the id after the vocabulary.
    """

    lower: bool | None = False
    normalize: Literal["none", "nfc", "nfkc"] | None = "none"
    special: tuple[str, ...] = ()
    pad: str | None = "<pad>"
    unknown: str = "<unk>"
    start: str | None = None
    end: str | None = None

    default_form: ClassVar[Literal["none", "nfkc"]] = "none"
    """The Unicode normalisation if `normalize` is None."""

    def __post_init__(self):
        if not self.unknown or self.unknown in (self.pad, self.start, self.end):
            raise FieldError(
                "unknown", f"must be a token other than pad, start and end, got {self.unknown!r}"
            )
        if len({"", *self.named, *self.special}) != 1 + len(self.named) + len(self.special):
            raise FieldError(
                "special",
                f"must be texts that differ from each other and from "
                f"{', '.join(self.named)}, got {self.special}",
            )
        # The smallest size has one token beside the special ones.
        for name, least in (("size", len(self.first) + 1), ("min_count", 1)):
            value = getattr(self, name, None)
            if value is not None and value < least:
                raise FieldError(name, f"must be at least {least}, got {value}")

    def as_written(self) -> Self:
        """The config for texts that a model generates: a field that is None changes no text."""
        lower = False if self.lower is None else self.lower
        return dataclasses.replace(self, lower=lower, normalize=self.normalize or "none")

    @property
    def form(self) -> Literal["none", "nfc", "nfkc"]:
        """The Unicode normalisation."""
        return self.default_form if self.normalize is None else self.normalize

    @property
    def named(self) -> tuple[str, ...]:
        """The tokens that no text contains: padding, unknown, start and end."""
        tokens = (getattr(self, name) for name in _NAMED)
        return tuple(dict.fromkeys(token for token in tokens if token is not None))

    @property
    def first(self) -> tuple[str, ...]:
        """The first tokens of a trained vocabulary: the named ones and the special strings."""
        return self.named + self.special

    @property
    def stand_ins(self) -> tuple[str, ...]:
        """The character that replaces each special string in a normalised text."""
        return tuple(chr(_FIRST_CODE + k) for k in range(len(self.special)))

    @property
    def separator(self) -> str:
        """What joins the tokens of a list to a text that is split into them again."""
        return " "

    def count_tokens(self, text: str) -> int | None:
        """Number of tokens of a text; None if only the vocabulary determines it."""
        return None

    def normalised(self, texts: tf.Tensor) -> tf.Tensor:
        """Normalised texts `[n]` in UTF-8, ready to be split; invalid bytes become U+FFFD."""
        texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")
        if self.special:
            texts = tf.strings.regex_replace(texts, _CODES, "\ufffd")
            # The longest first, because it may contain another.
            for text, code in sorted(
                zip(self.special, self.stand_ins, strict=True), key=lambda pair: -len(pair[0])
            ):
                texts = tf.strings.regex_replace(texts, re.escape(text), code)
        if self.form != "none":
            texts = extra("tensorflow_text").normalize_utf8(texts, self.form.upper())
        if self.lower is not False:
            # TensorFlow lowers by the locale of the process: a Turkish one has another I.
            texts = tf.strings.regex_replace(tf.strings.lower(texts), "\u0130", "i\u0307")
            texts = tf.strings.lower(texts, encoding="utf-8")
        return texts

    def spaced(self, texts: tf.Tensor) -> tf.Tensor:
        """Normalised texts `[n]` with spaces around the special strings."""
        return tf.strings.regex_replace(texts, f"({_CODES})", r" \1 ") if self.special else texts

    @abc.abstractmethod
    def train(self, texts: Iterable[str | bytes]) -> "Tokenizer":
        """Trains a tokenizer; equal texts give equal ones. UserError if they hold no token."""

    @abc.abstractmethod
    def load(self, vocabulary: tuple[str, ...], folder: Path) -> "Tokenizer":
        """The tokenizer of a vocabulary, and of whatever else it saved in the folder.

        Raises ValueError if the vocabulary lacks a special token or has a token twice.
        """

    def read(self, path: str | Path) -> "Tokenizer":
        """The tokenizer of a vocabulary from elsewhere, a text file with one token per line.

        The id of a token is the number of its line, from 0. Raises UserError if the file does not
        hold such a vocabulary.
        """
        try:
            lines = Path(path).read_bytes().decode("utf-8-sig").replace("\r\n", "\n").split("\n")
            tokens = tuple(lines[:-1] if not lines[-1] else lines)
            if "" in tokens:
                raise ValueError(f"line {tokens.index('') + 1} is empty")
            return self.load(tokens, Path(path).parent)
        except OSError as error:
            raise UserError(f"cannot read the vocabulary {path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise UserError(f"the vocabulary {path} is not UTF-8") from None
        except ValueError as error:
            raise UserError(f"the vocabulary {path}: {error}") from None


class SpecialIds(NamedTuple):
    """The special ids of tokenized texts.

    pad: fills what the padding mask hides. start: what a decoder reads first. end: the last of each
    text; None if texts have no end token. size: all ids are below it.
    """

    pad: int
    start: int | None
    end: int | None
    size: int


class Tokenizer(abc.ABC):
    """Texts to ids by a fixed vocabulary, the same way in training, evaluation and serving.

    Attributes:
        config: how texts are split.
        vocabulary: the token of each id.
        pad_id: id of padding; None if the vocabulary has none.
        unknown_id: id of everything that is not in the vocabulary.
        start_id: id of what a decoder reads first; None if the vocabulary has none.
        end_id: id of the end of a text; None if the vocabulary has none.
    """

    _space = " "  # What precedes a token in a joined text.

    def __init__(self, config: TokenizerConfig, vocabulary: tuple[str, ...]):
        self.config, self.vocabulary = config, vocabulary
        self.pad_id = None if config.pad is None else self._find("pad")
        self.unknown_id = self._find("unknown")
        self.start_id = None if config.start is None else self._find("start")
        self.end_id = None if config.end is None else self._find("end")
        absent = next((text for text in config.special if text not in vocabulary), None)
        if absent is not None:
            raise ValueError(f"has no token {absent!r}, which special names")

    def _find(self, name: str) -> int:
        """The id of a named token."""
        token = getattr(self.config, name)
        if token not in self.vocabulary:
            raise ValueError(f"has no token {token!r}: set {name} to its name there")
        return self.vocabulary.index(token)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple:
        return (self.config, self.vocabulary)

    def fingerprint(self) -> str:
        """Distinguishes tokenizers that give other ids, 16 hexadecimal digits."""
        return hashlib.sha256(repr(self._key()).encode(errors="surrogatepass")).hexdigest()[:16]

    @property
    def graph_module(self) -> str | None:
        """The Python module that has operations of `ids`; None for TensorFlow's own."""
        return None if self.config.form == "none" else "tensorflow_text"

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        return len(self.vocabulary)

    def special_ids(self, end: bool) -> SpecialIds:
        """The special ids of texts with or without an end token.

        If the vocabulary has no end token, it is the id after the vocabulary; if it has no start
        token, a decoder reads the end token first. Without a padding token any id can fill a
        batch, as the mask hides it.
        """
        end_id = start_id = None
        if end:
            end_id = self.vocab_size if self.end_id is None else self.end_id
            start_id = end_id if self.start_id is None else self.start_id
        fill = 0 if end_id is None else end_id
        size = max(self.vocab_size, 0 if end_id is None else end_id + 1)
        return SpecialIds(fill if self.pad_id is None else self.pad_id, start_id, end_id, size)

    @functools.cached_property
    def split_tokens(self) -> tuple[str, ...]:
        """The tokens as they occur in a normalised text."""
        tokens = list(self.vocabulary)
        for text, code in zip(self.config.special, self.config.stand_ins, strict=True):
            tokens[self.vocabulary.index(text)] = code
        return tuple(tokens)

    def _lookup_of(self, tokens: Iterable[Any], kind: Any) -> "Lookup":
        """A lookup by one number for each of `split_tokens`, without the named tokens."""
        named = {self.pad_id, self.unknown_id, self.start_id, self.end_id}
        ids = [k for k in range(self.vocab_size) if k not in named]
        return Lookup(np.asarray(tokens, kind)[ids], np.array(ids, np.int32), self.unknown_id)

    @abc.abstractmethod
    def ids(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Ids int32 `[n, None]` of texts, strings `[n]`; runs eagerly and inside a graph.

        The graph holds no resource that a SavedModel would have to track. Any bytes are a text:
        invalid UTF-8 becomes U+FFFD. An empty text has no ids.
        """

    def encode(self, texts: Iterable[str | bytes] | tf.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Ids of all texts on end, int32 `[tokens]`, and where each begins, int64 `[n + 1]`."""
        parts, lengths = [np.zeros(0, np.int32)], [np.zeros(1, np.int64)]
        for chunk in chunks(texts):
            ids = self.ids(chunk)
            parts.append(ids.flat_values.numpy())
            lengths.append(ids.row_lengths().numpy())
        return np.concatenate(parts), np.cumsum(np.concatenate(lengths))

    def join(self, ids: tf.RaggedTensor) -> tf.Tensor:
        """Texts, strings `[n]`, of ids int32 `[n, None]`; runs eagerly and inside a graph.

        Padding, start and end tokens and ids outside of the vocabulary are left out; an unknown
        token is U+2047. Spaces that no token keeps, such as those around a word, become one space
        or none, as people write them.
        """
        flat = ids.flat_values
        known = (flat >= 0) & (flat < self.vocab_size)
        named = {self.pad_id, self.start_id, self.end_id}
        for left_out in sorted(token for token in named if token is not None):
            known &= flat != left_out
        ids = tf.ragged.boolean_mask(ids, ids.with_flat_values(known))
        pieces = ids.with_flat_values(tf.gather(self._surfaces, ids.flat_values))
        return self._cleaned(tf.strings.reduce_join(pieces, -1))

    @functools.cached_property
    def _surfaces(self) -> list[bytes]:
        """What each id adds to a joined text."""
        found = [self._surface(token) for token in self.vocabulary]
        found[self.unknown_id] = self._space + UNKNOWN_TEXT
        for text in self.config.special:
            found[self.vocabulary.index(text)] = self._space + text
        return [text.encode() if isinstance(text, str) else text for text in found]

    def _surface(self, token: str) -> str | bytes:
        """What a token of the vocabulary adds to a joined text."""
        return self._space + token

    def _cleaned(self, joined: tf.Tensor) -> tf.Tensor:
        """Joined texts without the space before the first word."""
        return tf.strings.regex_replace(joined, "^ ", "")

    def describe(self) -> str:
        """Such as `30000 words`."""
        return f"{self.vocab_size} {type(self.config).__name__.lower()}"

    def save(self, folder: str | Path) -> None:
        """Writes the tokenizer's files to a folder, which is created; see `load`."""
        config = dataclasses.asdict(self.config)
        for field in dataclasses.fields(TokenizerConfig):
            if field.name in ("special", *_NAMED) and config[field.name] == field.default:
                del config[field.name]
        kind = type(self.config).__name__
        saved = {"type": kind, "config": config, "vocabulary": self.vocabulary}
        Path(folder).mkdir(parents=True, exist_ok=True)
        text = json.dumps(saved, ensure_ascii=False, indent=0)
        Path(folder, FILE).write_text(text + "\n", encoding="utf-8")


def chunks(texts: Iterable[str | bytes] | tf.Tensor, size: int = 1000) -> Iterator[tf.Tensor]:
    """The texts as string tensors `[size]`, the last one shorter."""
    rows = iter(texts.numpy() if isinstance(texts, tf.Tensor) else texts)
    while part := list(itertools.islice(rows, size)):
        # A lone surrogate, which str may hold, becomes bytes that are not UTF-8.
        yield tf.constant(
            [t.encode("utf-8", "surrogatepass") if isinstance(t, str) else t for t in part]
        )


class Trainable(Protocol):
    """The config of a tokenizer whose vocabulary has the most frequent tokens."""

    @property
    def size(self) -> int | None: ...
    @property
    def min_count(self) -> int: ...
    @property
    def first(self) -> tuple[str, ...]: ...


def frequent(counts: Mapping[Any, int], config: Trainable) -> list[Any]:
    """The most frequent keys that fit a vocabulary, ties in the order of the keys; or UserError."""
    size, min_count = config.size, config.min_count
    found = sorted((-count, key) for key, count in counts.items() if count >= min_count)
    if not found:
        raise UserError(
            "cannot train a vocabulary: "
            + (f"no token occurs min_count={min_count} times" if counts else "the texts are empty")
        )
    return [key for _, key in found[: None if size is None else size - len(config.first)]]


class Lookup:
    """Maps numbers to ids without a table, which a SavedModel would have to track."""

    def __init__(self, keys: np.ndarray, ids: np.ndarray, unknown_id: int):
        """keys: `[n]`, all different. ids: int32 `[n]`. unknown_id: the id of all other numbers."""
        order = np.argsort(keys, kind="stable")
        self._keys, self._ids, self._unknown_id = keys[order], ids[order], unknown_id
        if not len(keys):
            raise ValueError("has no token beside the special ones")
        if (self._keys[1:] == self._keys[:-1]).any():
            raise ValueError("has a token twice")

    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        """Ids int32 `[n]` of values `[n]`."""
        places = tf.minimum(tf.searchsorted(self._keys, values), len(self._keys) - 1)
        known = tf.gather(self._keys, places) == values
        return tf.where(known, tf.gather(self._ids, places), self._unknown_id)


@tf.autograph.experimental.do_not_convert
def extra(module: str) -> ModuleType:
    """A module of the extra `subwords`; raises UserError if it cannot be imported."""
    try:
        return importlib.import_module(module)
    except (ImportError, tf.errors.OpError) as error:  # OpError: built for another TensorFlow.
        reason = " ".join(str(error).split())
        raise UserError(
            f"this tokenizer needs {module.partition('.')[0].replace('_', '-')} ({reason}): "
            "pip install 'modelzoo[subwords]'"
        ) from None
