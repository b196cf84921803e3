"""The names that languages give to languages, territories and currencies, embedded."""

import dataclasses
import functools
import hashlib
import unicodedata
from collections import Counter

import numpy as np

from modelzoo.data.splits import MissingSplitError, split_name, split_slice
from modelzoo.data.text_config import TextData, Texts
from modelzoo.data.tokenizers import Characters, Subwords, Words

# Three scripts, each with relatives, so that no language is given away by its letters.
_LATIN = ("cs", "da", "de", "en", "es", "fi", "fr", "hu", "it", "nl", "no", "pl", "pt", "ro")
_LATIN += ("sk", "sv", "tr")
_CYRILLIC = ("be", "bg", "ru", "sr", "uk")
_ARABIC = ("ar", "fa")
LANGUAGES = tuple(sorted(_LATIN + _CYRILLIC + _ARABIC))
"""What the names are written in, as CLDR's locales."""

_TENTHS = {"train": range(3, 10), "validation": range(2, 3), "test": range(2)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CldrNames(TextData):
    """Language identification over the names in Unicode's CLDR, as Babel carries it.

    Each name of a language, a territory or a currency is a text, and its class the language that
    it is written in. A name that several of the languages have tells of none and is left out.
    Names that differ in nothing but case are one. A name's split comes of a hash of the name
    itself: 70 % are to train on, 10 % to validate and 20 % to test, about 12,300, 1,700 and
    3,600 names; another version of Babel moves none from one split to another. Within a split the
    order is that of the hash.
    """

    tokenizer: Characters | Words | Subwords = dataclasses.field(default_factory=Characters)
    lengths: tuple[int, ...] = (8, 12, 16, 24, 32, 64)
    validation_split: str | None = "validation"

    def _read(self, split: str) -> Texts:
        name = split_name(split)
        if name not in _TENTHS:
            known = ", ".join(_TENTHS)
            raise MissingSplitError(f"CldrNames has no split {split!r}; it has {known}")
        rows = _rows()[name]
        texts, labels = zip(*rows[split_slice(split, len(rows))], strict=True)
        return Texts(
            where="CldrNames",
            ids=[f"{LANGUAGES[label]}/{text}" for text, label in zip(texts, labels, strict=True)],
            texts=texts,
            labels=np.array(labels, np.int64),
            class_names=LANGUAGES,
        )


@functools.cache
def _rows() -> dict[str, list[tuple[str, int]]]:
    """(name, number of its language) in each split."""
    from babel import Locale

    names = []
    for language in LANGUAGES:
        locale = Locale.parse(language)
        of_all = [*locale.languages.values(), *locale.territories.values()]
        of_all += locale.currencies.values()
        texts = sorted(unicodedata.normalize("NFC", text).strip() for text in of_all)
        names.append({text.casefold(): text for text in texts})
    owners = Counter(folded for own in names for folded in own)
    hashed = sorted(
        (hashlib.sha256(folded.encode()).digest(), text, label)
        for label, own in enumerate(names)
        for folded, text in own.items()
        if owners[folded] == 1
    )
    rows = {split: [] for split in _TENTHS}
    for digest, text, label in hashed:
        tenth = int.from_bytes(digest[:8], "big") % 10
        split = next(split for split, tenths in _TENTHS.items() if tenth in tenths)
        rows[split].append((text, label))
    return rows
