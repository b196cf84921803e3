"""Dates as languages write them, from one language into another, embedded."""

import dataclasses
import datetime
import functools
import hashlib
import itertools
import operator
import re
import unicodedata
from collections.abc import Sequence

from modelzoo.data.pair_config import PairData, Pairs
from modelzoo.data.splits import MissingSplitError, split_name, split_slice
from modelzoo.data.tokenizers import Characters, Subwords, Words

LANGUAGES = ("de", "el", "en", "es", "fr", "hu", "it", "ja", "nl", "pl", "pt", "ru", "sv", "tr")
"""What the dates are written in, as CLDR's locales."""

LENGTHS = ("short", "medium", "long", "full")
"""How CLDR writes dates, from numbers alone up to the name of the weekday."""

Dates = Sequence[datetime.date]

_DATES = tuple(datetime.date(1969, 1, 1) + datetime.timedelta(day) for day in range(36_525))
_DATES_2000 = tuple(date for date in _DATES if date.year == 2000)
_TENTHS = {"train": range(2, 10), "validation": range(1, 2), "test": range(1)}
# How many dates each pair of languages has in each length.
_EACH = {"train": 200, "validation": 3, "test": 3}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CldrDates(PairData):
    """Translation of dates between 14 languages, as Unicode's CLDR, in Babel, writes them.

    A source text is the token of the language that is asked for, such as `<de>`, before a date as
    another language writes it. The target is that date in the language asked for, in the same one
    of CLDR's four lengths. All spaces are plain ones.

    Each date that is read means one day. Days are of the hundred years that two digits stand for
    in POSIX, 1969 to 2068. What two languages read as different days, such as 1/2/26, is left out.
    What is written in two lengths, such as 07.03.2009, a medium date in German and a short one in
    Russian, is of the longer; Japanese and Russian have no short dates but as targets.

    A day is in one split alone, by a hash of it that no version of Babel changes: 80 % are to train
    on, 10 % to validate and 10 % to test. Each pair of languages in each length takes 200, 3 and 3
    of them, without what is left out: about 131,000, 2,000 and 2,000 examples. All take turns, so
    that a slice of a split has them all.
    """

    tokenizer: Characters | Words | Subwords = dataclasses.field(
        default_factory=lambda: Characters(special=tuple(map(language_token, LANGUAGES)))
    )
    lengths: tuple[int, ...] = (12, 16, 20, 24, 32, 40)
    validation_split: str | None = "validation"

    def _read(self, split: str) -> Pairs:
        name = split_name(split)
        if name not in _TENTHS:
            known = ", ".join(_TENTHS)
            raise MissingSplitError(f"CldrDates has no split {split!r}; it has {known}")
        rows = _rows(name)
        ids, sources, targets = zip(*rows[split_slice(split, len(rows))], strict=True)
        return Pairs("CldrDates", ids, sources, [(text,) for text in targets])


def language_token(language: str) -> str:
    """What a source begins with that is to be translated into the language."""
    return f"<{language}>"


@functools.cache
def _rows(split: str) -> list[tuple[str, str, str]]:
    """Id, source and target of each example of a split."""
    dates, each, readings = _split_dates()[split], _EACH[split], _readings()
    columns = []
    for source, target in itertools.permutations(LANGUAGES, 2):
        for length in LENGTHS:
            # The next dates, round and round: none hangs on which others are left out.
            first = len(columns) * each
            own = [dates[k % len(dates)] for k in range(first, first + each)]
            read, write = _writer(source, length), _writer(target, length)
            column = []
            texts = zip(read(own), write(own), strict=True)
            for date, key, (text, same) in zip(own, read.keys(own), texts, strict=True):
                row = (f"{date}/{length}/{source}-{target}", language_token(target) + text, same)
                column.append(row if readings[key] == length else None)
            columns.append(column)
    return [row for turn in zip(*columns, strict=True) for row in turn if row]


@functools.cache
def _split_dates() -> dict[str, Dates]:
    """The dates of each split, in the order of their hashes."""
    dates = {split: [] for split in _TENTHS}
    for digest, date in sorted((hashlib.sha256(str(d).encode()).digest(), d) for d in _DATES):
        tenth = int.from_bytes(digest[:8], "big") % 10
        dates[next(split for split, tenths in _TENTHS.items() if tenth in tenths)].append(date)
    return dates


@functools.cache
def _readings() -> dict[str, str | None]:
    """The length of each of `_Writer.keys`' texts, None for what is of more than one date."""
    found = {}
    for length in LENGTHS:
        for language in LANGUAGES:
            writer = _writer(language, length)
            dates = _DATES if writer.short_year else _DATES_2000
            for date, key in zip(dates, writer.keys(dates), strict=True):
                other, _ = found.get(key, (date, None))
                found[key] = (date if other == date else None, length)
    return {key: length if date else None for key, (date, length) in found.items()}


class _Writer:
    """Writes dates in one language and length as Babel does, each part of a date once."""

    _PARTS = {
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
        self._written = {}
        self.short_year = "yy" in self._fields

    def __call__(self, dates: Dates) -> list[str]:
        columns = [self._column(field, dates) for field in self._fields]
        return [self._pattern % parts for parts in zip(*columns, strict=True)]

    def keys(self, dates: Dates) -> list[str]:
        """The dates as `_readings` knows them: in the year 2000 where four digits write a year.

        What is written alike has one key: four digits are nothing but a year, whichever it is.
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
    """The text in Unicode's form NFKC, whose spaces all are plain ones."""
    return unicodedata.normalize("NFKC", text)
