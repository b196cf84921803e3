"""What the configs of all sources of text have in common."""

import abc
import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from modelzoo.data import folds, tokenizers
from modelzoo.data.config import Data
from modelzoo.data.source import Source
from modelzoo.data.spec import Targets, TextSpec
from modelzoo.data.text_source import text_source
from modelzoo.data.tokenizers import Characters, Subwords, Tokenizer, Words
from modelzoo.fields.errors import UserError


class Texts(NamedTuple):
    """One split as it was read: rows in their order.

    where: how messages name the place, such as a file. ids: one name per row. texts: what is
    tokenized. labels: as `TextSpec.targets` says; for "labels" one int64 `[tokens]` for each text.
    class_names: of all splits that the config names, so that they agree. skipped: (name, reason) of
    the bad examples that were left out. groups: the name of each row's group, or None.
    """

    where: str
    ids: Sequence[str]
    texts: Sequence[str]
    labels: np.ndarray | Sequence[np.ndarray]
    class_names: tuple[str, ...]
    targets: Targets = "class"
    skipped: Sequence[tuple[str, str]] = ()
    groups: Sequence[str] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextData(Data):
    """Fields that every source of text takes.

    `open(split, spec=...)` takes the vocabulary of that spec, which is the training split's;
    without it the vocabulary is trained anew, on the training split whichever is opened.

    Attributes:
        tokenizer: what the tokens are, and how their vocabulary is trained.
        vocabulary: folder of a vocabulary that `modelzoo vocab` trained, which stands for
            `tokenizer`; None trains one on the training split.
        lengths: the lengths in tokens that texts are padded to, each to the least that holds it.
            Batches are of texts of one length; a text longer than the last is cut.
        keep: what stays of a text that is cut: its "start", its "end", or half from both "ends".
        tokens_per_batch: a batch of texts of length L has as many as fit into this number of
            tokens; None takes `config.train.batch_size` texts of any length.
    """

    tokenizer: Characters | Words | Subwords = dataclasses.field(default_factory=Words)
    vocabulary: str | None = None
    lengths: tuple[int, ...] = (32, 64, 128, 256)
    keep: Literal["start", "end", "ends"] = "start"
    tokens_per_batch: int | None = None

    def __post_init__(self):
        super().__post_init__()
        rising = all(a < b for a, b in itertools.pairwise((0, *self.lengths)))
        if not self.lengths or not rising:
            raise ValueError(f"lengths must be numbers from 1 that rise, got {self.lengths}")
        if self.tokens_per_batch is not None and self.tokens_per_batch < self.lengths[-1]:
            raise ValueError(
                f"tokens_per_batch must be at least the longest of lengths, {self.lengths[-1]}, "
                f"got {self.tokens_per_batch}"
            )

    def _open(self, split: str, spec: TextSpec | None = None) -> Source:
        read = self._read(split)
        tokenizer = spec.tokenizer if spec else self._tokenizer(read, split)
        if not len(read.ids):
            raise UserError(f"{read.where}: the split {split!r} has no text")
        try:
            spec = TextSpec(
                class_names=read.class_names,
                targets=read.targets,
                lengths=self.lengths,
                keep=self.keep,
                tokenizer=tokenizer,
            )
        except ValueError as error:
            raise UserError(f"{read.where}: {error}") from None
        return text_source(
            spec, read.ids, read.texts, read.labels, skipped=read.skipped, groups=read.groups
        )

    def _tokenizer(self, read: Texts, split: str) -> Tokenizer:
        if self.vocabulary is not None:
            return tokenizers.load(self.vocabulary)
        return self.train_tokenizer(read if split == self.train_split else None)

    def train_tokenizer(self, read: Texts | None = None) -> Tokenizer:
        """The tokenizer with its vocabulary, trained on the training split; of a fold, its part."""
        read = read or self._read(self.train_split)
        texts = read.texts
        if self.fold is not None:
            rows, _ = folds.parts(
                self.fold, read.targets, read.labels, read.class_names, read.groups
            )
            texts = [texts[row] for row in rows]
        return self.tokenizer.train(texts)

    @abc.abstractmethod
    def _read(self, split: str) -> Texts:
        """Reads a split by its text. Raises UserError for what is missing or malformed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncodedTextData(TextData):
    """Fields of the sources whose texts are stored one by one, as bytes.

    Attributes:
        on_bad_text: what an empty text, or bytes that are not UTF-8, leads to: "error" names it,
            "skip" leaves it out and counts it.
    """

    on_bad_text: Literal["error", "skip"] = "error"

    def _decoded(
        self, where: str, ids: Sequence[str], stored: Iterable[bytes | OSError]
    ) -> tuple[list[int], list[str], list[tuple[str, str]]]:
        """Numbers of the good texts, these, and name and reason of the bad ones."""
        good, texts, skipped = [], [], []
        for row, data in enumerate(stored):
            try:
                if isinstance(data, OSError):
                    raise data
                text = data.decode("utf-8-sig").strip()
                reason = "" if text else "is empty"
            except UnicodeDecodeError:
                reason = "is not UTF-8"
            except OSError as error:
                reason = f"cannot be read ({error.strerror})"
            if not reason:
                good.append(row)
                texts.append(text)
            elif self.on_bad_text == "skip":
                skipped.append((ids[row], reason))
            else:
                raise UserError(
                    f"{where}: the text {ids[row]} {reason}; repair or remove it, or set "
                    "config.data.on_bad_text='skip' to leave such texts out"
                )
        return good, texts, skipped
