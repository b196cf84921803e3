import collections
import datetime
import hashlib
import re
import unicodedata

import pytest
from babel.dates import format_date
from plain_fields import Plain, ids, read, wants

from modelzoo.data.sources import cldr_dates
from modelzoo.data.sources.cldr_dates import LANGUAGES, LENGTHS, CldrDates
from modelzoo.fields.errors import UserError

WANTED = (wants("inputs", "source", "text"), wants("target", "target", "text"))
PARTS = ("train", "validation", "test")
SIZES = {"train": 131_000, "validation": 1_950, "test": 1_950}

# How the languages write dates in numbers, of which babel knows nothing here.
NUMBERS = ("%-m/%-d/%y", "%-d/%-m/%y", "%d/%m/%y", "%d/%m/%Y", "%d.%m.%y", "%d.%m.%Y", "%-d.%m.%Y")
NUMBERS += ("%d-%m-%Y", "%Y-%m-%d", "%Y. %m. %d.", "%Y/%m/%d")


@pytest.fixture(scope="module")
def parts():
    """Date, length, languages, source and target of each row of each split."""
    found = {}
    for part in PARTS:
        rows = read(CldrDates(), part, *WANTED)
        (source,), (target,) = rows.columns["inputs"], rows.columns["target"]
        rows = zip(rows.ids, source.values, target.values, strict=True)
        found[part] = [(*name.split("/"), text, same) for name, text, same in rows]
    return found


def test_no_date_is_in_two_parts(parts):
    dates = [{date for date, *_ in parts[part]} for part in PARTS]
    assert not dates[0] & dates[1] and not dates[0] & dates[2] and not dates[1] & dates[2]
    texts = [{text for *_, text, _ in parts[part]} for part in PARTS]
    assert not texts[0] & texts[1] and not texts[0] & texts[2] and not texts[1] & texts[2]
    first, last = min(map(min, dates)), max(map(max, dates))
    assert "1969-01-01" <= first < "1969-02" and "2068-12" <= last <= "2068-12-31"


def test_the_part_depends_on_the_date_alone(parts):
    for part, rows in parts.items():
        for date, *_ in rows[:300]:
            tenth = int(hashlib.sha256(date.encode()).hexdigest()[:16], 16) % 10
            assert part == {0: "test", 1: "validation"}.get(tenth, "train")


def test_every_part_has_every_pair_of_languages_and_length(parts):
    assert len(LANGUAGES) >= 10
    unread = {("ja", "short"), ("ru", "short")}
    for part, rows in parts.items():
        assert SIZES[part] < len(rows) < 1.02 * SIZES[part]
        found = collections.Counter((length, *both.split("-")) for _, length, both, *_ in rows)
        for source in LANGUAGES:
            targets = set(LANGUAGES) - {source}
            for length in LENGTHS:
                read = {target for target in targets if found[length, source, target]}
                if part == "train":
                    assert read == (set() if (source, length) in unread else targets)
                each = 200 if part == "train" else 3
                assert all(found[length, source, target] <= each for target in targets)
        assert {source for _, source, _ in found} == {target for *_, target in found}
        assert {(source, target) for _, source, target in found} == {
            (source, target) for source in LANGUAGES for target in LANGUAGES if source != target
        }


@pytest.mark.parametrize("part", PARTS)
def test_texts_are_those_of_babel(parts, part):
    rows = parts[part]
    for date, length, both, text, same in rows[:: len(rows) // 400]:
        source, target = both.split("-")
        day = datetime.date.fromisoformat(date)
        written = [format_date(day, length, locale) for locale in (source, target)]
        written = [unicodedata.normalize("NFKC", each) for each in written]
        assert [text, same] == [f"<{target}>{written[0]}", written[1]]


@pytest.mark.parametrize(
    ("language", "length", "text"),
    [
        ("de", "long", "7. März 2009"),
        ("en", "full", "Saturday, March 7, 2009"),
        ("en", "short", "3/7/09"),
        ("fr", "medium", "7 mars 2009"),
        ("hu", "full", "2009. március 7., szombat"),
        ("ja", "full", "2009年3月7日土曜日"),
        ("ru", "long", "7 марта 2009 г."),  # noqa: RUF001
        ("sv", "short", "2009-03-07"),
        ("tr", "full", "7 Mart 2009 Cumartesi"),
        ("el", "long", "7 Μαρτίου 2009"),
    ],
)
def test_dates_are_written_as_their_language_does(language, length, text):
    assert cldr_dates._writer(language, length)([datetime.date(2009, 3, 7)]) == [text]


def test_a_text_means_one_date_and_one_length(parts):
    meanings = collections.defaultdict(set)
    for rows in parts.values():
        for date, length, _, text, _ in rows:
            meanings[text.partition(">")[2]].add((date, length))
    assert all(len(each) == 1 for each in meanings.values())
    numbers = [text for text in meanings if not any(map(str.isalpha, text))]
    assert len(numbers) > 10_000
    for text in numbers[::5]:
        assert _readings(text) == {date for date, _ in meanings[text]}, text


def _readings(text):
    """Dates as which the languages read a text in numbers."""
    found = set()
    for form in NUMBERS:
        try:
            day = datetime.datetime.strptime(text, form.replace("%-", "%"))
        except ValueError:
            continue
        if day.strftime(form) == text:
            found.add(f"{day:%Y-%m-%d}")
    return found


def test_what_is_read_in_two_ways_is_left_out(parts):
    texts = {text.partition(">")[2] for rows in parts.values() for *_, text, _ in rows}
    short = {text for text in texts if text.count("/") == 2 and len(text) <= 8}
    days = [tuple(map(int, text.split("/")[:2])) for text in short]
    # Only the Italian has a zero before a day and a month, only the American the month first.
    apart = [
        text for text, (a, b) in zip(short, days, strict=True) if a <= 12 and b <= 12 and a != b
    ]
    assert apart and all("0" in (text[0], text[3]) for text in apart)


def test_the_longer_of_two_lengths_counts(parts):
    of = {text: length for rows in parts.values() for _, length, _, text, _ in rows}
    assert {of[text] for text in of if re.fullmatch(r"<fr>\d\d\.\d\d\.\d{4}", text)} == {"medium"}
    french = {of[text] for text in of if " mars " in text and text[-4:].isdigit()}
    assert french == {"long", "full"}


def test_every_opening_is_the_same(parts):
    assert cldr_dates._rows.__wrapped__("validation") == cldr_dates._rows("validation")
    (source,) = read(CldrDates(), "validation", *WANTED).columns["inputs"]
    assert list(source.values) == [text for *_, text, _ in parts["validation"]]


def test_slices_take_all_languages_and_lengths(parts):
    tenth = ids(CldrDates(), "train[:5%]", Plain(columns=("source",)))
    rows = parts["train"][: len(tenth)]
    assert [tuple(name.split("/")) for name in tenth] == [tuple(row[:3]) for row in rows]
    assert len({(length, both) for _, length, both, *_ in rows}) > 14 * 13 * 4 * 0.9


def test_the_default_columns_are_source_and_target():
    data = CldrDates().open()
    assert data.default_columns(wants("inputs", (), "text")) == ("source",)
    assert data.default_columns(wants("target", (), "text")) == ("target",)


def test_a_missing_split_lists_those_that_exist():
    with pytest.raises(UserError, match="no split 'dev'; it has train, validation, test"):
        ids(CldrDates(), "dev", Plain(columns=("source",)))
