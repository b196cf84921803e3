import collections
import hashlib
import unicodedata

import numpy as np
import pytest
from babel import Locale
from plain_fields import ids, read, wants

from modelzoo.data.sources import cldr_names
from modelzoo.data.sources.cldr_names import LANGUAGES, CldrNames
from modelzoo.fields.errors import UserError

PARTS = ("train", "validation", "test")


WANTED = (wants("inputs", "text", "text"), wants("target", "label", "class"))


@pytest.fixture(scope="module")
def parts():
    """Name and language of each row of each split."""
    found = {}
    for part, rows in CldrNames().open().read(WANTED, PARTS).items():
        (text,), (label,) = rows.columns["inputs"], rows.columns["target"]
        assert label.names == LANGUAGES and label.values.dtype == np.int64
        languages = [LANGUAGES[number] for number in label.values]
        found[part] = list(zip(text.values, languages, strict=True))
    return found


def test_no_name_is_in_two_parts_or_languages(parts):
    folded = [text.casefold() for rows in parts.values() for text, _ in rows]
    assert len(set(folded)) == len(folded)


def test_every_part_has_every_language(parts):
    assert len(LANGUAGES) >= 12
    for part, rows in parts.items():
        counts = [sum(language == each for _, language in rows) for each in LANGUAGES]
        assert min(counts) >= 25 and max(counts) < 0.1 * len(rows), part
    sizes = np.array([len(parts[part]) for part in PARTS])
    assert sizes.sum() > 15_000
    np.testing.assert_allclose(sizes / sizes.sum(), (0.7, 0.1, 0.2), atol=0.01)


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("Deutschland", "de"),
        ("United Kingdom", "en"),
        ("Suomi", "fi"),
        ("néerlandais", "fr"),
        ("Österrike", "sv"),
        ("Österreich", "de"),
        ("švédština", "cs"),
        ("россия", "ru"),
        ("україна", "uk"),
        ("كندا", "ar"),
    ],
)
def test_names_are_of_the_language_that_uses_them(parts, name, language):
    found = {text.casefold(): each for rows in parts.values() for text, each in rows}
    assert found[name.casefold()] == language


def test_the_names_are_those_of_cldr_but_for_the_shared(parts):
    pairs = set()
    for language in LANGUAGES:
        locale = Locale.parse(language)
        for kind in (locale.languages, locale.territories, locale.currencies):
            names = (unicodedata.normalize("NFC", name) for name in kind.values())
            pairs |= {(name.strip().casefold(), language) for name in names}
    counts = collections.Counter(name for name, _ in pairs)
    assert min(counts[name] for name in ("brasil", "angola", "euro")) > 1
    alone = {pair for pair in pairs if counts[pair[0]] == 1}
    assert {(text.casefold(), each) for rows in parts.values() for text, each in rows} == alone


def test_the_part_depends_on_the_name_alone(parts):
    for part, rows in parts.items():
        for text, _ in rows[:200]:
            digest = hashlib.sha256(text.casefold().encode()).hexdigest()
            tenth = int(digest[:16], 16) % 10
            assert part == ("test" if tenth < 2 else "validation" if tenth == 2 else "train")


def test_every_opening_is_the_same(parts):
    cldr_names._rows.cache_clear()
    again = read(CldrNames(), "validation", *WANTED)
    assert again.ids == [f"{language}/{text}" for text, language in parts["validation"]]


def test_slices_take_all_languages(parts):
    half = ids(CldrNames(), "validation[:50%]")
    rows = parts["validation"][: len(half)]
    assert len(half) == round(len(parts["validation"]) / 2)
    assert half == [f"{language}/{text}" for text, language in rows]
    assert {language for _, language in rows} == set(LANGUAGES)


def test_a_missing_split_lists_those_that_exist():
    with pytest.raises(UserError, match="no split 'dev'; it has train, validation, test"):
        ids(CldrNames(), "validation", validation_split="dev")
