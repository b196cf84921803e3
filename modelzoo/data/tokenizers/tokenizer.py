"""What all tokenizers have in common: normalised text, the ids of padding and unknown, files."""

import abc
import dataclasses
import functools
import importlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from modelzoo.fields.errors import UserError

FILE = "tokenizer.json"
PADDING, UNKNOWN = 0, 1
SPECIAL = ("<pad>", "<unk>")
"""The first two of every vocabulary: no text has the id 0, what no id stands for has 1."""
UNKNOWN_TEXT = "\u2047"
"""What stands in a joined text for the unknown."""
# Of plane 15, whose characters nobody has given a meaning: one stands for each special string.
_FIRST_CODE, _CODES = 0xF0000, "[\\x{F0000}-\\x{FFFFD}]"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizerConfig(abc.ABC):
    """How texts are brought to one form before they are split.

    Attributes:
        lower: whether upper case becomes lower case.
        normalize: the Unicode normalisation, "none", "nfc" or "nfkc"; the latter two need
            tensorflow-text.
        special: strings such as "<de>" that are one token each wherever they stand, as they are
            written: the ids after padding and unknown, in their order.
    """

    lower: bool = False
    normalize: Literal["none", "nfc", "nfkc"] = "none"
    special: tuple[str, ...] = ()

    def __post_init__(self):
        taken = {"", *SPECIAL, *self.special}
        if len(taken) != len(SPECIAL) + len(self.special) + 1:
            raise ValueError(
                f"special must be texts that differ from each other and from {', '.join(SPECIAL)}, "
                f"got {self.special}"
            )
        # The smallest that has something beside the special ones.
        for name, least in (("size", len(self.first) + 1), ("min_count", 1)):
            value = getattr(self, name, None)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")

    @property
    def first(self) -> tuple[str, ...]:
        """The first tokens of the vocabulary: padding, unknown and the special strings."""
        return SPECIAL + self.special

    @property
    def stand_ins(self) -> tuple[str, ...]:
        """The character that stands for each special string in a normalised text."""
        return tuple(chr(_FIRST_CODE + k) for k in range(len(self.special)))

    def normalised(self, texts: tf.Tensor) -> tf.Tensor:
        """Texts `[n]` in the form that is split, in UTF-8; bytes that are none become U+FFFD."""
        texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")
        if self.special:
            texts = tf.strings.regex_replace(texts, _CODES, "\ufffd")
            # The longest first, of which another may be a part.
            for text, code in sorted(
                zip(self.special, self.stand_ins, strict=True), key=lambda pair: -len(pair[0])
            ):
                texts = tf.strings.regex_replace(texts, re.escape(text), code)
        if self.normalize != "none":
            texts = extra("tensorflow_text").normalize_utf8(texts, self.normalize.upper())
        if self.lower:
            # TensorFlow lowers by the process's locale: a Turkish one has another I.
            texts = tf.strings.regex_replace(tf.strings.lower(texts), "\u0130", "i\u0307")
            texts = tf.strings.lower(texts, encoding="utf-8")
        return texts

    def spaced(self, texts: tf.Tensor) -> tf.Tensor:
        """Normalised texts `[n]` with spaces around the special strings."""
        return tf.strings.regex_replace(texts, f"({_CODES})", r" \1 ") if self.special else texts

    @abc.abstractmethod
    def train(self, texts: Iterable[str | bytes]) -> "Tokenizer":
        """The tokenizer for texts; the same for the same. Raises UserError where there are none."""

    @abc.abstractmethod
    def load(self, vocabulary: tuple[str, ...], folder: Path) -> "Tokenizer":
        """The trained one again, from its vocabulary and whatever else it saved in the folder."""


class Tokenizer(abc.ABC):
    """Texts to ids by a fixed vocabulary, the same way in training, evaluation and serving.

    Attributes:
        config: how texts are split.
        vocabulary: the token of each id, `config.first` first.
    """

    _space = " "  # What stands before a token where nothing else is known.

    def __init__(self, config: TokenizerConfig, vocabulary: tuple[str, ...]):
        self.config = config
        self.vocabulary = vocabulary

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple:
        return (self.config, self.vocabulary)

    @property
    def vocab_size(self) -> int:
        """How many ids there are."""
        return len(self.vocabulary)

    @property
    def split_tokens(self) -> tuple[str, ...]:
        """The tokens as they are split off a normalised text."""
        config = self.config
        return SPECIAL + config.stand_ins + self.vocabulary[len(config.first) :]

    @abc.abstractmethod
    def ids(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Ids int32 `[n, None]` of texts, strings `[n]`; runs eagerly and inside a graph.

        A graph has nothing that a SavedModel would have to track beside it. Any bytes are text:
        those that are no UTF-8 become U+FFFD. An empty text has no ids.
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

        Padding and ids that are not in the vocabulary are left out; an unknown is U+2047. What no
        token keeps, such as the spaces around a word, is as people write it or one space.
        """
        ids = tf.ragged.boolean_mask(ids, (ids > PADDING) & (ids < self.vocab_size))
        pieces = ids.with_flat_values(tf.gather(self._surfaces, ids.flat_values))
        return self._cleaned(tf.strings.reduce_join(pieces, -1))

    @functools.cached_property
    def _surfaces(self) -> list[bytes]:
        """What each id adds to a joined text."""
        first = [self._space + text for text in ("", UNKNOWN_TEXT, *self.config.special)]
        found = first + [self._surface(token) for token in self.vocabulary[len(first) :]]
        return [text.encode() if isinstance(text, str) else text for text in found]

    def _surface(self, token: str) -> str | bytes:
        """What a token of the vocabulary adds to a joined text."""
        return self._space + token

    def _cleaned(self, joined: tf.Tensor) -> tf.Tensor:
        """Joined texts without the first word's space."""
        return tf.strings.regex_replace(joined, "^ ", "")

    def texts(self, ids: tf.RaggedTensor | Iterable[Sequence[int]]) -> list[str]:
        """Rows of ids as text for people, without the padding."""
        rows = ids.to_list() if isinstance(ids, tf.RaggedTensor) else ids
        return [self._text([k for k in row if k != PADDING]) for row in rows]

    def _text(self, ids: list[int]) -> str:
        """Ids without padding as one text."""
        return " ".join(self.vocabulary[k] for k in ids)

    def describe(self) -> str:
        """One line for people, such as `30000 words`."""
        return f"{self.vocab_size} {type(self.config).__name__.lower()}"

    def save(self, folder: str | Path) -> None:
        """Writes the tokenizer's files to a folder, which is made; see `load`."""
        config = dataclasses.asdict(self.config)
        if not self.config.special:
            del config["special"]
        saved = {
            "type": type(self.config).__name__,
            "config": config,
            "vocabulary": self.vocabulary,
        }
        Path(folder).mkdir(parents=True, exist_ok=True)
        text = json.dumps(saved, ensure_ascii=False, indent=0)
        Path(folder, FILE).write_text(text + "\n", encoding="utf-8")


def chunks(texts: Iterable[str | bytes] | tf.Tensor, size: int = 1000) -> Iterator[tf.Tensor]:
    """The texts as string tensors `[size]`, the last one shorter."""
    rows = iter(texts.numpy() if isinstance(texts, tf.Tensor) else texts)
    while part := list(itertools.islice(rows, size)):
        # Half a surrogate pair, which str may hold, becomes bytes that are no UTF-8.
        yield tf.constant(
            [t.encode("utf-8", "surrogatepass") if isinstance(t, str) else t for t in part]
        )


def frequent(counts: dict[Any, int], config: TokenizerConfig) -> list[Any]:
    """The keys that fit into a vocabulary, the most frequent first, ties in the keys' order.

    config: has `size`, of the vocabulary with the special ones, and `min_count`.
    Raises UserError where none is left.
    """
    size, min_count = config.size, config.min_count
    found = sorted((-count, key) for key, count in counts.items() if count >= min_count)
    if not found:
        raise UserError(
            "no vocabulary can be made: the texts hold nothing"
            + (f" that occurs config.data.tokenizer.min_count={min_count} times" if counts else "")
        )
    return [key for _, key in found[: None if size is None else size - len(config.first)]]


class Lookup:
    """From numbers to ids without a table, which a SavedModel would have to track."""

    def __init__(self, keys: np.ndarray):
        """keys: `[vocabulary - 2]` numbers, each once; the first has the first id that is free."""
        order = np.argsort(keys, kind="stable")
        self._keys = keys[order]
        self._ids = (order + len(SPECIAL)).astype(np.int32)
        if (self._keys[1:] == self._keys[:-1]).any():
            raise ValueError("two tokens of the vocabulary are the same")

    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        """Ids int32 `[n]` of values `[n]`."""
        places = tf.minimum(tf.searchsorted(self._keys, values), len(self._keys) - 1)
        known = tf.gather(self._keys, places) == values
        return tf.where(known, tf.gather(self._ids, places), UNKNOWN)


@tf.autograph.experimental.do_not_convert
def extra(module: str) -> ModuleType:
    """A module of the extra `subwords`; UserError where it cannot be imported."""
    try:
        return importlib.import_module(module)
    except (ImportError, tf.errors.OpError) as error:  # The latter: built for another TensorFlow.
        reason = " ".join(str(error).split())
        raise UserError(
            f"this tokenizer needs {module.partition('.')[0].replace('_', '-')} ({reason}): "
            "pip install 'modelzoo[subwords]'"
        ) from None
