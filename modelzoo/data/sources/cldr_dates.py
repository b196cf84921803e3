"""Dates in many languages, to translate from one into another, embedded."""

import dataclasses
import datetime
import functools
import hashlib
import itertools
import operator
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from modelzoo.data.columns import Column
from modelzoo.data.sources.embedded import EmbeddedSource, split_of

LANGUAGES = ("de", "el", "en", "es", "fr", "hu", "it", "ja", "nl", "pl", "pt", "ru", "sv", "tr")
"""The languages of the dates, as CLDR's locales."""

LENGTHS = ("short", "medium", "long", "full")
"""CLDR's lengths of dates, from numbers alone to one with the weekday."""

Dates = Sequence[datetime.date]

_DATES = tuple(datetime.date(1969, 1, 1) + datetime.timedelta(day) for day in range(36_525))
_DATES_2000 = tuple(date for date in _DATES if date.year == 2000)
_TENTHS = {"train": range(2, 10), "validation": range(1, 2), "test": range(1)}
# Number of dates of each pair of languages in each length.
_EACH = {"train": 200, "validation": 3, "test": 3}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CldrDates(EmbeddedSource):
    """Dates in 14 languages as Unicode's CLDR, which Babel carries, writes them, for translation.

    The columns are "source" and "target". A source text is the token of the wanted language, such
    as `<de>`, followed by a date in another language. The target is the same date in the wanted
    language and in the same one of CLDR's four lengths. All spaces are plain ones.

    Each source text means one day. Days are of the hundred years that two digits mean in POSIX,
    1969 to 2068. A text that two languages read as different days, such as 1/2/26, is left out. A
    text that is written in two lengths, such as 07.03.2009, a medium date in German and a short one
    in Russian, counts as the longer one; so Japanese and Russian have short dates only as targets.

    Each day is in one split, by a hash that no version of Babel changes: 80 % are to train on, 10 %
    to validate and 10 % to test. Each pair of languages in each length has 200, 3 and 3 of them,
    minus the texts that are left out: about 131,000, 2,000 and 2,000 examples. Pairs and lengths
    alternate, so that a slice of a split has them all.

    Example:
        >>> from modelzoo.data.sources.cldr_dates import CldrDates
        >>> CldrDates().open().split_names
        ('train', 'validation', 'test')
    """

    where = "CldrDates"
    split_names = tuple(_TENTHS)
    defaults = ("source", "target")

    def load(self, split: str) -> tuple[Sequence[str], Sequence[Column]]:
        ids, sources, targets = zip(*_rows(split), strict=True)
        return ids, [Column("source", "text", sources), Column("target", "text", targets)]


def language_token(language: str) -> str:
    """The token that begins a source text to be translated into the language."""
    return f"<{language}>"


@functools.cache
def _rows(split: str) -> list[tuple[str, str, str]]:
    """Id, source and target of each example of a split."""
    dates, each, readings = _split_dates()[split], _EACH[split], _readings()
    columns: list[list[tuple[str, str, str] | None]] = []
    for source, target in itertools.permutations(LANGUAGES, 2):
        for length in LENGTHS:
            # The next dates, cyclically: independent of which others are left out.
            first = len(columns) * each
            own = [dates[k % len(dates)] for k in range(first, first + each)]
            read, write = _writer(source, length), _writer(target, length)
            column: list[tuple[str, str, str] | None] = []
            texts = zip(read(own), write(own), strict=True)
            for date, key, (text, same) in zip(own, read.keys(own), texts, strict=True):
                row = (f"{date}/{length}/{source}-{target}", language_token(target) + text, same)
                column.append(row if readings[key] == length else None)
            columns.append(column)
    return [row for turn in zip(*columns, strict=True) for row in turn if row]


@functools.cache
def _split_dates() -> Mapping[str, Dates]:
    """The dates of each split, in the order of their hashes."""
    dates: dict[str, list[datetime.date]] = {split: [] for split in _TENTHS}
    for digest, date in sorted((hashlib.sha256(str(d).encode()).digest(), d) for d in _DATES):
        dates[split_of(digest, _TENTHS)].append(date)
    return dates


@functools.cache
def _readings() -> dict[str, str | None]:
    """The length of each text of `_Writer.keys`; None for a text that means several dates."""
    found: dict[str, tuple[datetime.date | None, str | None]] = {}
    for length in LENGTHS:
        for language in LANGUAGES:
            writer = _writer(language, length)
            dates = _DATES if writer.short_year else _DATES_2000
            for date, key in zip(dates, writer.keys(dates), strict=True):
                other, _ = found.get(key, (date, None))
                found[key] = (date if other == date else None, length)
    return {key: length if date else None for key, (date, length) in found.items()}


class _Writer:
    """Writes dates in one language and length as Babel does, formatting each part once."""

    _PARTS: ClassVar[dict[str, Callable[[datetime.date], int]]] = {
        "y": operator.attrgetter("year"),
        "M": operator.attrgetter("month"),
        "L": operator.attrgetter("month"),
        "d": operator.attrgetter("day"),
        "E": datetime.date.weekday,
        "c": datetime.date.weekday,
    }

    def __init__(self, language: str, length: str):
        from babel import Locale

        self._locale = Locale.parse(language)
        pattern = self._locale.date_formats[length].format
        self._fields = re.findall(r"%\((\w+)\)s", pattern)
        self._pattern = _plain(re.sub(r"%\(\w+\)s", "%s", pattern))
        self._written: dict[tuple[str, int], str] = {}
        self.short_year = "yy" in self._fields

    def __call__(self, dates: Dates) -> list[str]:
        columns = [self._column(field, dates) for field in self._fields]
        return [self._pattern % parts for parts in zip(*columns, strict=True)]

    def keys(self, dates: Dates) -> list[str]:
        """The dates as `_readings` has them: in the year 2000 if four digits write the year.

        Four digits can only be a year, so the year need not be in the key.
        """
        return self(dates if self.short_year else [date.replace(year=2000) for date in dates])

    def _column(self, field: str, dates: Dates) -> list[str]:
        """A field of CLDR's patterns, such as `MMMM`, of each date."""
        from babel.dates import DateTimeFormat

        written, part = self._written, self._PARTS[field[0]]
        column = []
        for date in dates:
            key = (field, part(date))
            if key not in written:
                written[key] = _plain(DateTimeFormat(date, self._locale)[field])
            column.append(written[key])
        return column


_writer = functools.cache(_Writer)


def _plain(text: str) -> str:
    """The text in Unicode's form NFKC, which has only plain spaces."""
    return unicodedata.normalize("NFKC", text)
