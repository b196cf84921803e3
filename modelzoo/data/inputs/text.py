"""Texts as tokens."""

import abc
import dataclasses
import functools
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tensorflow as tf

from modelzoo.data import tokenizers
from modelzoo.data.bound import TARGET
from modelzoo.data.columns import BadExample, Rows, Tensors, View
from modelzoo.data.inputs.input import BoundInput, Field, Input
from modelzoo.data.inputs.token_store import TokenStore, kept_ends
from modelzoo.data.text_files import not_utf8, other_format, read_content
from modelzoo.data.tokenizers import Characters, Subwords, Tokenizer, TokenizerConfig, Words
from modelzoo.data.tokenizers.tokenizer import SpecialIds
from modelzoo.fields.errors import FieldError, UserError
from modelzoo.fields.input_specs import InputSpec, MaskSpec, TokenSpec

if TYPE_CHECKING:
    from modelzoo.data.targets.target import Target


@dataclasses.dataclass(frozen=True, kw_only=True)
class VocabularyField(Field):
    """An input or a target whose texts are split by a vocabulary, trained or given.

    Attributes:
        tokenizer: what the tokens are, and how their vocabulary is trained.
        vocabulary: a vocabulary in place of a trained one: a folder that `modelzoo vocab` wrote,
            which has its own tokenizer, or a file from elsewhere, such as BERT's vocab.txt, which
            `tokenizer` reads; None trains one on the training split.
    """

    tokenizer: Characters | Words | Subwords | None = None
    vocabulary: str | None = None

    @abc.abstractmethod
    def vocabulary_texts(
        self, train: View, key: str, target: "Target | None"
    ) -> dict[str, Sequence[str]]:
        """By the key of their field, the texts that the vocabulary is trained on.

        There is one text per training example and key; `target` is the config's target.
        """

    def _chosen_tokenizer(self, key: str, target: "Target | None") -> TokenizerConfig | None:
        """The config of the tokenizer; that of generated texts keeps them as they are written."""
        generated = target is not None and (key == TARGET or target.shares_vocabulary)
        if self.tokenizer is None or not generated:
            return self.tokenizer
        return self.tokenizer.as_written()

    def inherit_tokenizer(
        self, trained: Tokenizer, train: View, key: str, target: "Target | None"
    ) -> tuple[Tokenizer, str | None]:
        """Keeps the vocabulary of the initial weights, unless the config has another tokenizer."""
        if self.vocabulary is None and self._chosen_tokenizer(key, target) == trained.config:
            words = f"the vocabulary of config.data.{key} is that of the initial weights"
            return trained, f"{words}, {trained.describe()}"
        tokenizer = self.make_tokenizer(train, key, target)
        if tokenizer == trained:
            return tokenizer, None
        return tokenizer, (
            f"the vocabulary of config.data.{key} is not that of the initial weights, whose "
            "embeddings are of other tokens: use theirs, or skip the embeddings by "
            "config.train.init_skip=embedding"
        )

    def make_tokenizer(self, train: View, key: str, target: "Target | None") -> Tokenizer:
        """Reads or trains the tokenizer."""
        tokenizer = self._chosen_tokenizer(key, target)
        if self.vocabulary is not None:
            path = os.path.expanduser(self.vocabulary)
            if not os.path.isfile(path):
                return tokenizers.load(path)
            if tokenizer is None:
                raise UserError(
                    f"config.data.{key}.tokenizer must be the tokenizer for the vocabulary file "
                    f"{path}, got none"
                )
            return tokenizer.read(path)
        assert tokenizer is not None  # One of both is set, or the input's is shared.
        texts = self.vocabulary_texts(train, key, target).values()
        try:
            return tokenizer.train(itertools.chain.from_iterable(zip(*texts, strict=True)))
        except UserError as error:
            raise UserError(f"config.data.{key}.tokenizer: {error}") from None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Text(VocabularyField, Input):
    r"""Texts as tokens, with a padding mask.

    Texts are stripped. The texts of several columns are joined by line feeds; a list, such as the
    words of a sentence in JSON lines, is joined by spaces, or without anything for `Characters`.

    Attributes:
        tokenizer: what the tokens are, and how their vocabulary is trained.
        lengths: the lengths in tokens that texts are padded to, each to the least that holds it;
            they include the end token. A longer text is truncated to the last.
        keep: which part survives truncation: the "start", the "end", or half from both "ends".
        end: whether each text ends with an end token; None lets the target decide: `TextTarget`
            needs one.

    Example:
        >>> Text(columns=("title", "body"), tokenizer=Words(size=10_000), lengths=(64, 256)).end
    """

    kind = "tokens"
    file_argument = "TEXT_FILE"
    forms = ("text", "list", "bytes", "file")
    default_column = "text"
    noun = "texts"
    suffixes = (".txt",)
    many = True

    tokenizer: Characters | Words | Subwords = Words()
    lengths: tuple[int, ...] = (32, 64, 128, 256)
    keep: Literal["start", "end", "ends"] = "start"
    end: bool | None = None

    def __post_init__(self):
        least = 2 if self.end else 1  # One token beside the end token.
        if not self.lengths or not all(
            a < b for a, b in itertools.pairwise((least - 1, *self.lengths))
        ):
            raise FieldError(
                "lengths", f"must be rising numbers of at least {least}, got {self.lengths}"
            )

    @property
    def split_key(self) -> Literal["value", "id", "time"]:
        return "value"

    def parse(self, rows: Rows, key: str) -> Sequence[str | BadExample]:
        """The stripped text of each row, or a BadExample."""
        columns = rows.columns[key]
        cells = []
        for column in columns:
            values = rows.values(column)
            if column.form == "file":
                with ThreadPoolExecutor(8) as pool:
                    values = list(pool.map(read_content, values))
            cells.append(values)
        names = ", ".join(column.name for column in columns)
        return [self._parsed(row, names) for row in zip(*cells, strict=True)]

    def _parsed(self, cells: Sequence[Any], names: str) -> str | BadExample:
        try:
            if all(isinstance(cell, bytes) for cell in cells):
                return decoded(b"\n".join(cells))
            parts = [cell_text(cell, self.tokenizer.separator) for cell in cells]
            if text := "\n".join(part for part in parts if part.strip()):
                return text
        except BadExample as bad:
            return bad
        return BadExample(f"has no text in the column {names}")

    def vocabulary_texts(
        self, train: View, key: str, target: "Target | None"
    ) -> dict[str, Sequence[str]]:
        parsed = train.rows.parsed_by(key)
        found: dict[str, Sequence[str]] = {key: [parsed[row] for row in train.last]}
        return found if target is None else found | target.shared_texts(train)

    def fit(self, train: View, key: str, target: "Target | None") -> "BoundText":
        return self._bound(self.make_tokenizer(train, key, target), target)

    def inherit(
        self, trained: BoundInput | None, train: View, key: str, target: "Target | None"
    ) -> tuple["BoundText", str | None]:
        """Keeps the vocabulary, unless the config has another tokenizer."""
        if not isinstance(trained, BoundText):
            return self.fit(train, key, target), None
        tokenizer, remark = self.inherit_tokenizer(trained.tokenizer, train, key, target)
        return self._bound(tokenizer, target), remark

    def _bound(self, tokenizer: Tokenizer, target: "Target | None") -> "BoundText":
        end = self.end
        if end is None:
            end = target is not None and target.ends_texts
        return BoundText(self, tokenizer, end)

    def load(self, learned: Mapping[str, Any], folder: Path) -> "BoundText":
        return BoundText(self, tokenizers.load(folder), bool(learned["end"]))


@dataclasses.dataclass(frozen=True)
class BoundText(BoundInput):
    """`Text` with its vocabulary.

    Raw tensors: `tokens` (int32 `[n, width]`), `padding_mask` (bool, True for a token) and `text`,
    whole (string `[n]`). A text without tokens has one padding token.

    Attributes:
        tokenizer: splits the texts.
        end: whether each text ends with an end token.
    """

    config: Text
    tokenizer: Tokenizer
    end: bool

    file_part = "text"
    layer = "embedding"

    @functools.cached_property
    def ids(self) -> SpecialIds:
        return self.tokenizer.special_ids(self.end)

    @property
    def graph_module(self) -> str | None:
        return self.tokenizer.graph_module

    def model_specs(self) -> dict[str, InputSpec]:
        return token_specs(self.tokenizer, self.ids, self.widths[-1])

    def open(self, view: View, key: str, on_bad: str, whole: bool = False) -> TokenStore:
        parsed = view.rows.parsed_by(key)
        texts = [parsed[row] for row in view.last]
        longest, keep = self.widths[-1], self.config.keep
        return TokenStore(
            self.tokenizer, texts, end=self.end, longest=longest, keep=keep, key=key, with_text=True
        )

    def features(
        self, raw: Tensors, training: bool, seeds: tf.Tensor | None, weight: tf.Tensor | None
    ) -> tuple[Tensors, None]:
        """`tokens` (int32 `[n, length]`) and `padding_mask` (bool).

        `raw` holds them, or `text` (string `[n]`), which is truncated to the longest length and
        padded to the longest of the batch.
        """
        if "tokens" in raw:
            return {name: raw[name] for name in ("tokens", "padding_mask")}, None
        head, tail = kept_ends(self.widths[-1] - self.end, self.config.keep)
        ids = self.tokenizer.ids(raw["text"])
        last = ids[:, head:]
        last = last[:, -tail:] if tail else last[:, :0]
        parts = [ids[:, :head], last]
        if self.end:
            parts.append(tf.fill([tf.shape(raw["text"])[0], 1], self.ids.end))
        ids = tf.concat(parts, axis=1)
        tokens = ids.to_tensor(self.ids.pad)
        # At least one token, which is padding if no text has any.
        missing = tf.maximum(1 - tf.shape(tokens)[1], 0)
        tokens = tf.pad(tokens, [[0, 0], [0, missing]], constant_values=self.ids.pad)
        mask = tf.sequence_mask(ids.row_lengths(), tf.shape(tokens)[1])
        return {"tokens": tokens, "padding_mask": mask}, None

    def serving(self) -> dict[str, tuple[str, tf.TensorSpec]]:
        return {"serving_default": ("text", tf.TensorSpec([None], tf.string, name="text"))}

    def from_files(self, paths: Iterable[str | Path]) -> Iterator[tuple[str, Any]]:
        for path, content in super().from_files(paths):
            try:
                yield path, cell_text(content).encode()
            except BadExample as bad:
                yield path, bad

    def describe(self) -> str:
        return f"texts of up to {self.widths[-1]} tokens, {self.tokenizer.describe()}"

    def save(self, folder: Path) -> dict[str, Any]:
        self.tokenizer.save(folder)
        return {"end": self.end}

    def fingerprint(self) -> bytes:
        return f"{self.tokenizer.fingerprint()} {self.end}".encode()

    @property
    def widths(self) -> tuple[int, ...]:
        return self.config.lengths

    @property
    def words(self) -> Sequence[str]:
        return self.tokenizer.vocabulary


def token_specs(
    tokenizer: Tokenizer, ids: SpecialIds, length: int, prefix: str = ""
) -> dict[str, InputSpec]:
    """Tokens and their padding mask as inputs of a model; those of a decoder have a prefix."""
    tokens = TokenSpec(
        vocab_size=ids.size,
        mask=f"{prefix}padding_mask",
        length=length,
        # Equal if tokens have the same ids and there are equally many.
        vocabulary=f"{tokenizer.fingerprint()}/{ids.size}",
        decoder=bool(prefix),
    )
    return {f"{prefix}tokens": tokens, f"{prefix}padding_mask": MaskSpec()}


def text_inputs(inputs: Mapping[str, Input]) -> dict[str, Text]:
    """The inputs that are texts, by name."""
    return {name: one for name, one in inputs.items() if isinstance(one, Text)}


def cell_text(cell: Any, separator: str = " ") -> str:
    """The text of a cell of a form that `Text` accepts, "" if it has none; or raises BadExample."""
    if isinstance(cell, bytes):
        return decoded(cell)
    if isinstance(cell, BadExample):
        raise cell
    if isinstance(cell, list | tuple):
        return separator.join(map(item_text, cell))
    if isinstance(cell, str):
        return cell.strip()
    return "" if cell is None else json.dumps(cell)


def item_text(item: Any) -> str:
    """The text of an item of a list, not stripped; BadExample if bytes are not UTF-8."""
    try:
        return item.decode() if isinstance(item, bytes) else str(item)
    except UnicodeDecodeError:
        raise BadExample("is not UTF-8") from None


def decoded(stored: bytes) -> str:
    """Bytes as a stripped text; BadExample if they are not UTF-8, or empty."""
    if reason := not_utf8(stored):
        raise BadExample(other_format(stored) or reason)
    if not (text := stored.decode("utf-8-sig").strip()):
        raise BadExample("is empty")
    return text
