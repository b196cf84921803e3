import unicodedata

import numpy as np
import pytest
import tensorflow as tf

from modelzoo.data.tokenizers import Words
from modelzoo.data.tokenizers.tokenizer import Lookup
from modelzoo.fields.errors import UserError

ALPHABET = [*"ab1é ,.'\u2019\"-\t\n", "\u0301", "\u05d0", "\u4e2d", "\u00ad", "\u200d", "\u00a0"]
ALPHABET += [
    "\u3000",
    "\u2028",
    "\x00",
    "\x1d",
    "\x85",
    "\v",
    "👍",
    "🏽",
    "❤",
    "\ufe0f",
    "$",
    "\ue000",
    "²",
]


def slow_words(text):
    """Words and marks by the categories of Python's `unicodedata`."""
    text = [c for c in text if unicodedata.category(c) != "Cf"]
    kinds = [unicodedata.category(c) for c in text]
    kinds = [" " if kind[0] == "Z" or kind == "Cc" else kind[0] for kind in kinds]
    words, inside = [], " "  # In a word, in a mark, or in neither.
    for k, (c, kind) in enumerate(zip(text, kinds, strict=True)):
        beside = {*kinds[max(k - 1, 0) : k], *kinds[k + 1 : k + 2]}
        if c in "'\u2019" and 0 < k < len(text) - 1 and beside <= set("LMN"):
            c, kind = "'", "L"
        if kind == " ":
            inside = " "
        elif kind in "LMN" and (inside == "word" or (inside == "mark" and kind == "M")):
            words[-1] += c
        else:
            words.append(c)
            inside = "word" if kind in "LMN" else "mark"
    return words


@pytest.mark.parametrize(
    "text, words",
    [
        ("I don't know.", "i don't know ."),
        ("rock'n'roll 'tis dogs' 'a' ''", "rock'n'roll ' tis dogs ' ' a ' ' '"),
        ("It\u2019s 3.5%", "it's 3 . 5 %"),
        ("well-known<br />", "well - known < br / >"),
        ("co\u00adoperate\u00a0now\u3000\u200f\u05e9\u05dc", "cooperate now \u05e9\u05dc"),
        ("e\u0301t\u00e9❤\ufe0f👍🏽!", "e\u0301t\u00e9 ❤\ufe0f 👍 🏽 !"),
        ("हिन्दी नमस्ते", "हिन्दी नमस्ते"),
    ],
)
def test_words_and_punctuation_are_separated(text, words):
    assert slow_words(text.lower()) == words.split(" ")
    found = Words().words(tf.constant([text])).to_list()[0]
    assert [word.decode() for word in found] == words.split(" ")


@pytest.mark.parametrize("split, slow", [("punctuation", slow_words), ("whitespace", str.split)])
def test_words_follow_unicode_categories(split, slow):
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(ALPHABET, rng.integers(1, 30))) for _ in range(2000)]
    found = Words(lower=False, split=split).words(tf.constant(texts)).to_list()
    for text, words in zip(texts, found, strict=True):
        assert [word.decode() for word in words] == slow(text), ascii(text)


@pytest.mark.field("Words.split")
def test_split_at_whitespace_keeps_punctuation():
    text = ["Don't\tstop,\u00a0now!\n<unk> now! \u3000 don't"]
    trained = Words(split="whitespace").train(text)
    # A text cannot contain the special tokens.
    assert trained.vocabulary == ("<pad>", "<unk>", "don't", "now!", "stop,")
    assert trained.ids(tf.constant(text)).to_list() == [[2, 4, 3, 1, 3, 2]]
    assert Words().train(text).ids(tf.constant(text)).row_lengths() == 11


@pytest.mark.field("Words.size", "Words.min_count")
def test_the_most_frequent_words_come_first_ties_in_alphabetical_order():
    texts = ["b a c a", "c b d"]
    assert Words().train(texts).vocabulary == ("<pad>", "<unk>", "a", "b", "c", "d")
    assert Words(size=4).train(texts).vocabulary[2:] == ("a", "b")
    assert Words(min_count=2).train(texts).vocabulary[2:] == ("a", "b", "c")
    trained = Words(size=5, min_count=2).train(texts)
    ids = trained.ids(tf.constant(["d c", "", "a x b"]))
    assert ids.to_list() == [[1, 4], [], [2, 1, 3]]
    joined = [text.decode() for text in trained.join(ids).numpy()]
    assert joined == ["\u2047 c", "", "a \u2047 b"]
    assert trained.describe() == "5 words"
    with pytest.raises(UserError, match="no token occurs min_count=3 times"):
        Words(min_count=3).train(texts)


def test_many_texts_are_counted_once_each():
    texts = [("even", "odd")[k % 2] for k in range(5001)]
    assert Words(min_count=2500).train(iter(texts)).vocabulary[2:] == ("even", "odd")
    assert Words(min_count=2501).train(iter(texts)).vocabulary[2:] == ("even",)


def test_a_lookup_finds_the_first_and_the_last_key():
    find = Lookup(np.array([5, -3, 9]), np.array([7, 3, 0], np.int32), 1)
    assert find(tf.constant([9, -3, 5, 10, -4, 6], tf.int64)).numpy().tolist() == [0, 3, 7, 1, 1, 1]
    with pytest.raises(ValueError, match="a token twice"):
        Lookup(np.array([5, 3, 5]), np.arange(3, dtype=np.int32), 1)
