"""What the configs of all sources of pairs of texts have in common."""

import abc
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

from modelzoo.data import folds, tokenizers
from modelzoo.data.config import Data
from modelzoo.data.pair_source import pair_source
from modelzoo.data.source import Source
from modelzoo.data.spec import PairSpec
from modelzoo.data.tokenizers import Characters, Subwords, Tokenizer, Words
from modelzoo.fields.errors import UserError

Side = Literal["source", "target"]


class Pairs(NamedTuple):
    """One split as it was read: rows in their order.

    where: how messages name the place, such as a file. ids: one name per row. sources: the source
    texts. references: the target texts of each row, of which the first is trained on. skipped:
    (name, reason) of the bad pairs that were left out. groups: the name of each row's group, or
    None.
    """

    where: str
    ids: Sequence[str]
    sources: Sequence[str]
    references: Sequence[tuple[str, ...]]
    skipped: Sequence[tuple[str, str]] = ()
    groups: Sequence[str] | None = None

    @property
    def targets(self) -> list[str]:
        """The target texts that are trained on."""
        return [texts[0] for texts in self.references]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairData(Data):
    """Fields that every source of pairs of texts takes.

    `open(split, spec=...)` takes the vocabularies of that spec, which are the training split's;
    without it they are trained anew, on the training split whichever is opened. Folds of
    cross-validation are random parts.

    Attributes:
        tokenizer: what the tokens are, and how their vocabulary is trained.
        target_tokenizer: the same for the target; None shares the source's, which is then trained
            on both sides.
        vocabulary: folder of a vocabulary that `modelzoo vocab` trained, which stands for
            `tokenizer`; None trains one on the training split.
        target_vocabulary: the same for the target, for a vocabulary that is not shared.
        lengths: the lengths in tokens, with the end token, that sources are padded to. Batches are
            of pairs of one length: the least with which both sides of a pair are held.
        target_lengths: those of the targets, one beside each of `lengths`; None for the same.
        tokens_per_batch: a batch has as many pairs as fit into this number of tokens by the longer
            of its two lengths; None takes `config.train.batch_size` pairs of any length.
        on_long_pair: what a side longer than the longest of its lengths leads to in the training
            split: "cut" cuts it, "skip" leaves the pair out and counts it. Other splits are cut;
            references never are.
    """

    tokenizer: Characters | Words | Subwords = dataclasses.field(default_factory=Subwords)
    target_tokenizer: Characters | Words | Subwords | None = None
    vocabulary: str | None = None
    target_vocabulary: str | None = None
    lengths: tuple[int, ...] = (16, 32, 64, 128)
    target_lengths: tuple[int, ...] | None = None
    tokens_per_batch: int | None = None
    on_long_pair: Literal["cut", "skip"] = "cut"

    def __post_init__(self):
        super().__post_init__()
        # A token beside the end at least.
        if not self.lengths or not all(a < b for a, b in itertools.pairwise((1, *self.lengths))):
            raise ValueError(f"lengths must be numbers from 2 that rise, got {self.lengths}")
        beside = self._target_lengths
        falls = not all(a <= b for a, b in itertools.pairwise((2, *beside)))
        if falls or len(beside) != len(self.lengths):
            raise ValueError(
                "target_lengths must be None or numbers from 2 that do not fall, one for each of "
                f"the {len(self.lengths)} of lengths, got {beside}"
            )
        longest = max(self.lengths[-1], beside[-1])
        if self.tokens_per_batch is not None and self.tokens_per_batch < longest:
            raise ValueError(
                f"tokens_per_batch must be at least the longest of the lengths, {longest}, "
                f"got {self.tokens_per_batch}"
            )
        if self.on_long_pair == "skip" and self.fold is not None:
            raise ValueError(
                "on_long_pair must be 'cut' where fold holds out a part of the training split, "
                f"got {self.on_long_pair!r}"
            )

    @property
    def _target_lengths(self) -> tuple[int, ...]:
        return self.lengths if self.target_lengths is None else self.target_lengths

    @property
    def shared(self) -> bool:
        """Whether both sides share one vocabulary."""
        return self.target_tokenizer is None and self.target_vocabulary is None

    def _open(self, split: str, spec: PairSpec | None = None) -> Source:
        read = self._read(split)
        if not len(read.ids):
            raise UserError(f"{read.where}: the split {split!r} has no pair")
        if spec:
            tokenizer, target_tokenizer = spec.tokenizer, spec.target_tokenizer
        else:
            tokenizer, target_tokenizer = self._tokenizers(read, split)
        spec = PairSpec(
            lengths=self.lengths,
            target_lengths=self._target_lengths,
            tokenizer=tokenizer,
            target_tokenizer=target_tokenizer,
        )
        source = pair_source(
            spec,
            read.ids,
            read.sources,
            read.targets,
            read.references,
            skipped=read.skipped,
            groups=read.groups,
            skip_long=self.on_long_pair == "skip" and split == self.train_split,
        )
        if not source.num_examples:
            raise UserError(
                f"{read.where}: all pairs of {split!r} are longer than config.data.lengths holds"
            )
        return source

    def _tokenizers(self, read: Pairs, split: str) -> tuple[Tokenizer, Tokenizer]:
        """Those of source and target: loaded, or trained on the training split."""
        trained_on = read if split == self.train_split else None
        folders = (self.vocabulary, self.target_vocabulary)
        sides: tuple[Side, ...] = ("source",) if self.shared else ("source", "target")
        found = []
        for side, folder in zip(sides, folders, strict=False):
            if folder is not None:
                found.append(tokenizers.load(folder))
            else:
                trained_on = trained_on or self._read(self.train_split)
                of = None if self.shared else side
                found.append(self.tokenizer_of(of).train(self.train_texts(of, trained_on)[1]))
        return found[0], found[-1]

    def tokenizer_of(self, side: Side | None) -> Characters | Words | Subwords:
        """The config of a side's tokenizer, or of both sides' with None."""
        return (self.target_tokenizer if side == "target" else None) or self.tokenizer

    def train_texts(
        self, side: Side | None, read: Pairs | None = None
    ) -> tuple[list[str], list[str]]:
        """Names and texts of a side of the training split, or pair by pair of both with None.

        Of a fold, those of its part that is trained on.
        """
        read = read or self._read(self.train_split)
        rows = range(len(read.ids))
        if self.fold is not None:
            rows, _ = folds.parts(self.fold, "text", read.ids, (), read.groups)
        texts = {"source": read.sources, "target": read.targets}
        chosen = texts if side is None else {side: texts[side]}
        names = [f"{read.ids[row]} {name}" for row in rows for name in chosen]
        return names, [each[row] for row in rows for each in chosen.values()]

    @abc.abstractmethod
    def _read(self, split: str) -> Pairs:
        """Reads a split by its text. Raises UserError for what is missing or malformed."""


class BadPairError(Exception):
    """One pair cannot be used; says where, and why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncodedPairData(PairData):
    """Fields of the sources whose pairs are stored as bytes.

    Attributes:
        on_bad_pair: what a pair leads to of which a side is missing, empty or not UTF-8: "error"
            names it, "skip" leaves it out and counts it.
    """

    on_bad_pair: Literal["error", "skip"] = "error"

    def _decoded(
        self,
        pairs: Iterable[tuple[bytes, Sequence[bytes]]],
        name: Callable[[int, Side], str],
    ) -> tuple[list[int], list[str], list[tuple[str, ...]], list[tuple[str, str]]]:
        """Numbers of the good pairs, their sources, references, and place and reason of bad ones.

        pairs: the source and the references of each; without any the target is missing. name: how
        messages name a side of the pair of a number.
        """
        good, sources, references, skipped = [], [], [], []
        for row, (source, targets) in enumerate(pairs):
            side = "source"
            try:
                text = _text(source)
                side = "target"
                texts = tuple(_text(target) for target in targets or (None,))
            except BadPairError as error:
                if self.on_bad_pair == "error":
                    raise UserError(
                        f"{name(row, side)} {error}; repair or remove the pair, or set "
                        "config.data.on_bad_pair='skip' to leave such pairs out"
                    ) from None
                skipped.append((name(row, side), str(error)))
            else:
                good.append(row)
                sources.append(text)
                references.append(texts)
        return good, sources, references, skipped


def _text(stored: bytes | None) -> str:
    """A side as text, which is not empty."""
    if stored is None:
        raise BadPairError("is missing")
    try:
        text = stored.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise BadPairError("is not UTF-8") from None
    if not text:
        raise BadPairError("is empty")
    return text
