"""Names of languages, territories and currencies in many languages, embedded."""

import dataclasses
import functools
import hashlib
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np

from modelzoo.data.columns import Column
from modelzoo.data.sources.embedded import EmbeddedSource, split_of

# Three scripts with several languages each, so that letters alone identify no language.
_LATIN = ["cs", "da", "de", "en", "es", "fi", "fr", "hu", "it", "nl", "no", "pl", "pt", "ro"]
_LATIN += ["sk", "sv", "tr"]
_CYRILLIC = ["be", "bg", "ru", "sr", "uk"]
_ARABIC = ["ar", "fa"]
LANGUAGES = tuple(sorted(_LATIN + _CYRILLIC + _ARABIC))
"""The languages of the names, as CLDR's locales."""

_TENTHS = {"train": range(3, 10), "validation": range(2, 3), "test": range(2)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CldrNames(EmbeddedSource):
    """Names of languages, territories and currencies in Unicode's CLDR, which Babel carries.

    The columns are "text", a name, and "label", the language that it is written in. A name that
    several languages share is left out; names that differ only in case are one. A hash of the
    name decides its split: 70 % are to train on, 10 % to validate and 20 % to test, about 12,300,
    1,700 and 3,600 names. Another version of Babel never moves a name between splits. Within a
    split, the names are in the order of their hashes.

    Example:
        >>> from modelzoo.data.sources.cldr_names import CldrNames
        >>> CldrNames().open().split_names
        ('train', 'validation', 'test')
    """

    where = "CldrNames"
    split_names = tuple(_TENTHS)
    defaults = ("text", "label")

    def load(self, split: str) -> tuple[Sequence[str], Sequence[Column]]:
        texts, labels = zip(*_rows()[split], strict=True)
        columns = [
            Column("text", "text", texts),
            Column("label", "class", np.array(labels, np.int64), names=LANGUAGES),
        ]
        return [f"{LANGUAGES[label]}/{text}" for text, label in _rows()[split]], columns


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
    rows: dict[str, list[tuple[str, int]]] = {split: [] for split in _TENTHS}
    for digest, text, label in hashed:
        rows[split_of(digest, _TENTHS)].append((text, label))
    return rows
