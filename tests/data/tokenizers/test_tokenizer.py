"""What holds for every tokenizer: odd texts, folders, equality, the exported graph."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from modelzoo.data import tokenizers
from modelzoo.data.tokenizers import Characters, Subwords, Words, tokenizer
from modelzoo.fields.errors import UserError

TEXTS = [
    "The cat isn't here; THE DOG is!",
    "İstanbul'da kediler, I and İ",
    "שלום עולם 👍🏽 ❤️",
    "naïve café: a cat, a dog.",
]
ODD = ["", " ", "cat\x00dog", b"caf\xe9 \xff\xfe cat", "\ud800 cat", "👩‍👩‍👧 مرحبا", "x" * 20_000]
CONFIGS = [
    Characters(lower=True),
    Words(),
    Subwords(kind="bpe", size=90),
    Subwords(kind="unigram", size=90, lower=True),
    Subwords(kind="wordpiece", size=120, lower=True),
]


@pytest.fixture(scope="module", params=CONFIGS, ids=lambda c: getattr(c, "kind", type(c).__name__))
def trained(request):
    return request.param.train(TEXTS)


def tensor(texts):
    return next(tokenizer.chunks(texts))


def test_odd_texts_are_tokens_like_any_other(trained):
    ids = trained.ids(tensor(ODD + TEXTS))
    assert ids.dtype == tf.int32 and ids.nrows() == len(ODD + TEXTS)
    assert ids.row_lengths()[0] == 0
    flat = ids.flat_values.numpy()
    assert flat.min() >= 1 and flat.max() < trained.vocab_size
    # One after the other, and within a graph, they are the same.
    graph = tf.function(trained.ids, input_signature=[tf.TensorSpec([None], tf.string)])
    for k, (text, row) in enumerate(zip(ODD + TEXTS, ids.to_list(), strict=True)):
        if k == 3:
            tf.random.set_seed(k)  # Destroys the resources that eager operations made.
        assert graph(tensor([text])).to_list() == [row]
    assert graph(tf.zeros([0], tf.string)).to_list() == []
    flat, bounds = trained.encode(ODD + TEXTS)
    np.testing.assert_array_equal(flat, ids.flat_values)
    np.testing.assert_array_equal(bounds, ids.row_splits)
    assert (flat.dtype, bounds.dtype) == (np.int32, np.int64)
    assert trained.encode([])[1].tolist() == [0]


def test_bytes_that_are_no_utf_8_are_replacement_characters(trained):
    bad = [b"caf\xe9 cat", b"\xff\xfe", b"a\xed\xa0\x80b", b"\xf0\x9f\x98"]
    good = [text.decode("utf-8", "replace") for text in bad]
    assert trained.ids(tensor(bad)).to_list() == trained.ids(tensor(good)).to_list()


def test_what_was_trained_on_is_known_and_comes_back(trained):
    ids = trained.ids(tensor(TEXTS))
    assert tokenizer.UNKNOWN not in ids.flat_values.numpy()
    back = trained.texts(ids)
    padded = ids.to_tensor().numpy()
    assert padded.shape[1] > min(map(len, ids.to_list())) and trained.texts(padded) == back
    config = trained.config
    whole = config.normalised(tensor(TEXTS)).numpy()
    for text, again in zip(whole, back, strict=True):
        assert "".join(again.split()) == "".join(text.decode().split())


def test_the_vocabulary_is_the_same_on_each_training(trained):
    again = trained.config.train(text.encode() for text in TEXTS)
    assert again == trained and again.vocabulary == trained.vocabulary
    assert again.vocabulary[:2] == ("<pad>", "<unk>")
    assert len(set(again.vocabulary)) == again.vocab_size
    other = trained.config.train([*TEXTS, "quite another quaint quota"])
    assert other != trained and len({other, again, trained}) == 2


def test_a_folder_holds_all_of_it(trained, tmp_path):
    trained.save(tmp_path / "new" / "folder")
    loaded = tokenizers.load(tmp_path / "new" / "folder")
    assert loaded == trained and hash(loaded) == hash(trained)
    assert loaded.vocabulary == trained.vocabulary and loaded.describe() == trained.describe()
    texts = tensor(ODD + TEXTS)
    assert loaded.ids(texts).to_list() == trained.ids(texts).to_list()


def save_graph(trained, folder):
    """Exports `ids`, padded, as the signature of a SavedModel that holds nothing besides."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def serve(text):
        return {"ids": trained.ids(text).to_tensor()}

    tf.saved_model.save(tf.Module(), str(folder), signatures=serve)


def test_the_graph_is_saved_with_all_it_needs(trained, tmp_path):
    texts = tensor(ODD + TEXTS)
    save_graph(trained, tmp_path)
    served = tf.saved_model.load(str(tmp_path)).signatures["serving_default"](text=texts)["ids"]
    np.testing.assert_array_equal(served, trained.ids(texts).to_tensor())


def test_words_are_served_by_tensorflow_alone_and_by_any_locale(tmp_path):
    words = Words().train(TEXTS)
    save_graph(words, tmp_path)
    code = """
import sys, tensorflow as tf
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
print(serve(text=tf.constant(["I THINK INSIDE", "I and İ"]))["ids"].numpy().tolist())
assert "tensorflow_text" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "LC_ALL": "tr_TR.UTF-8"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    i, dotted = map(words.vocabulary.index, ("i", "i\u0307"))
    assert json.loads(done.stdout) == [[i, 1, 1], [i, words.vocabulary.index("and"), dotted]]


@pytest.mark.field("TokenizerConfig.lower", "Words.lower")
@pytest.mark.parametrize("kind", [Characters, Words, Subwords])
def test_lower_makes_upper_case_the_same(kind):
    text = ["Ein MÄDCHEN İst Σοφός ΣΟΦΟΣ"]
    size = {"size": 60} if kind is Subwords else {}
    lowered = kind(lower=True, **size).train(text)
    assert not any(c.isupper() for token in lowered.vocabulary[2:] for c in token)
    same = lowered.ids(tensor([text[0], text[0].lower()])).to_list()
    assert same[0] == same[1] and 1 not in same[0]
    kept = kind(lower=False, **size).train(text).ids(tensor([text[0], text[0].lower()])).to_list()
    assert kept[0] != kept[1] and 1 in kept[1]


@pytest.mark.field("TokenizerConfig.normalize", "Subwords.normalize")
@pytest.mark.parametrize("kind", [Characters, Words, Subwords])
def test_normalize_brings_equal_texts_to_one_form(kind):
    import unicodedata

    texts = ["cafe\u0301 \ufb01 ²", "caf\u00e9 \ufb01 ²", "caf\u00e9 fi 2"]
    size = {"size": 60} if kind is Subwords else {}
    for form, different in (("none", 3), ("nfc", 2), ("nfkc", 1)):
        config = kind(normalize=form, **size)
        ids = config.train(texts).ids(tensor(texts)).to_list()
        assert len(set(map(tuple, ids))) == different, form
        ours = [text.decode() for text in config.normalised(tensor(texts)).numpy()]
        theirs = [
            text if form == "none" else unicodedata.normalize(form.upper(), text) for text in texts
        ]
        assert ours == theirs
    assert Subwords().normalize == "nfkc"


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("texts", [[], ["", " \t"]])
def test_nothing_to_train_on_is_told(config, texts):
    if isinstance(config, Characters) and texts:
        return  # A space is a character.
    with pytest.raises(UserError, match="the texts hold nothing"):
        config.train(texts)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Words(size=2), "^size must be at least 3, got 2"),
        (lambda: Characters(size=0), "^size must be at least 3, got 0"),
        (lambda: Words(min_count=0), "^min_count must be at least 1, got 0"),
        (lambda: Subwords(size=2), "^size must be at least 3, got 2"),
        (
            lambda: Subwords(kind="wordpiece", byte_fallback=True),
            "^byte_fallback must be false for kind='wordpiece', got True",
        ),
        (
            lambda: Subwords(character_coverage=0.5),
            "^character_coverage must be from 0.98 to 1, got 0.5",
        ),
    ],
)
def test_impossible_fields_are_told(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_folder_without_a_tokenizer_is_told(tmp_path):
    with pytest.raises(UserError, match=r"no tokenizer in .*: tokenizer.json: No such file"):
        tokenizers.load(tmp_path)
    path = tmp_path / "tokenizer.json"
    Words().train(TEXTS).save(tmp_path)
    whole = path.read_text()
    for text in (whole[:-40], "[]", whole.replace("Words", "Wards"), whole.replace("split", "cut")):
        path.write_text(text)
        with pytest.raises(UserError, match="tokenizer in .* is corrupt, or of another version"):
            tokenizers.load(tmp_path)
    Subwords(size=90).train(TEXTS).save(tmp_path)
    (tmp_path / "sentencepiece.model").unlink()
    with pytest.raises(UserError, match=r"no tokenizer in .*: sentencepiece.model: No such file"):
        tokenizers.load(tmp_path)


def test_a_library_that_is_missing_is_told_with_the_command_that_brings_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_text", None)
    with pytest.raises(UserError, match=r"needs tensorflow-text .*: pip install 'modelzoo\[subw"):
        Subwords().train(TEXTS)


SPECIAL = ("<de>", "<en>", "<de", "[a.c]", "##x", "<0x41>")
SPOKEN = [
    "<de> Ein Haus, ein Baum am See",
    "<en> a house, a tree<de>by the [a.c]<de lake ##x <0x41>",
    "<DE> abc \U000f0000 <de><en>\u0301",
]
SPEAKING = [
    Characters(special=SPECIAL),
    Words(special=SPECIAL),
    Words(special=SPECIAL, split="whitespace", lower=True),
    Subwords(kind="bpe", size=90, special=SPECIAL),
    Subwords(kind="bpe", size=400, special=SPECIAL, byte_fallback=True, lower=True),
    Subwords(kind="unigram", size=90, special=SPECIAL),
    Subwords(kind="wordpiece", size=150, special=SPECIAL),
]


@pytest.fixture(scope="module", params=SPEAKING, ids=range(len(SPEAKING)))
def speaking(request):
    return request.param.train(SPOKEN)


@pytest.mark.field("TokenizerConfig.special")
def test_a_special_string_is_one_token_wherever_it_stands(speaking, tmp_path):
    assert speaking.vocabulary[: 2 + len(SPECIAL)] == ("<pad>", "<unk>", *SPECIAL)
    assert len(speaking.split_tokens) == len(set(speaking.split_tokens)) == speaking.vocab_size
    rows = speaking.ids(tensor(SPOKEN)).to_list()
    found = [[speaking.vocabulary[k] for k in row if 2 <= k < 2 + len(SPECIAL)] for row in rows]
    assert found[:2] == [["<de>"], ["<en>", "<de>", "[a.c]", "<de", "##x", "<0x41>"]]
    # Not in other case; nor is the character that stands for it within the graph.
    assert found[2] == ["<de>", "<en>"]
    assert 1 not in rows[1] and speaking.vocab_size not in rows[1]
    # An accent behind it is a token of its own.
    assert speaking.ids(tensor(["x<en>y"])).to_list()[0].count(3) == 1
    speaking.save(tmp_path)
    loaded = tokenizers.load(tmp_path)
    assert loaded == speaking and loaded.ids(tensor(SPOKEN)).to_list() == rows


def plain(config, text):
    """What a text is but for its special strings' case: normalised, on one line."""
    text = text.replace("\U000f0000", "\ufffd")
    if config.lower:
        # The special strings are lower case but for one.
        text = text.lower()
    return text


def test_ids_are_joined_to_the_text_that_they_are_of(speaking):
    joined = [text.decode() for text in speaking.join(speaking.ids(tensor(SPOKEN))).numpy()]
    for text, again in zip(SPOKEN, joined, strict=True):
        if isinstance(speaking.config, (Characters, Subwords)):
            wanted = plain(speaking.config, text)
            if speaking.config == SPEAKING[-1]:  # Punctuation is parted.
                wanted, again = wanted.replace(" ", ""), again.replace(" ", "")
            assert again == wanted
        else:
            words = speaking.config.words(tensor([text])).to_list()[0]
            names = {
                code.encode(): special.encode()
                for special, code in zip(SPECIAL, speaking.config.stand_ins, strict=True)
            }
            assert again == b" ".join(names.get(word, word) for word in words).decode()


def test_joined_texts_leave_out_what_is_no_token_and_tell_the_unknown(trained):
    size = trained.vocab_size
    ids = [[0, 0], [], [size, 5, 0, size + 9, -1], [1, 0, 1]]
    ids = tf.ragged.constant(ids, dtype=tf.int32)
    first = trained.texts([[5]])[0]
    space = " " if isinstance(trained.config, Words) or "wordpiece" in trained.describe() else ""
    if "wordpiece" in trained.describe():
        first = first.removeprefix("##")
    graph = tf.function(
        lambda rows: trained.join(tf.RaggedTensor.from_tensor(rows, padding=0)),
        input_signature=[tf.TensorSpec([None, None], tf.int32)],
    )
    for joined in (trained.join(ids), graph(ids.to_tensor())):
        texts = [text.decode() for text in joined.numpy()]
        assert texts == ["", "", first, f"\u2047{space}\u2047"]
    assert trained.join(tf.RaggedTensor.from_row_splits(tf.zeros(0, tf.int32), [0])).shape == (0,)


def test_joined_texts_are_served_from_a_graph_that_holds_nothing_besides(speaking, tmp_path):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def serve(text):
        return {"text": speaking.join(speaking.ids(text))}

    tf.saved_model.save(tf.Module(), str(tmp_path), signatures=serve)
    texts = tensor([*SPOKEN, *ODD])
    served = tf.saved_model.load(str(tmp_path)).signatures["serving_default"](text=texts)["text"]
    np.testing.assert_array_equal(served, speaking.join(speaking.ids(texts)))


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_pieces_are_joined_as_sentencepiece_joins_them(kind):
    import sentencepiece

    trained = Subwords(kind=kind, size=90).train(TEXTS)
    theirs = sentencepiece.SentencePieceProcessor(model_proto=trained.model)
    rng = np.random.default_rng(0)
    rows = rng.integers(2, trained.vocab_size, (200, 9))
    ours = trained.join(tf.RaggedTensor.from_tensor(tf.constant(rows, tf.int32))).numpy()
    # Of spaces alone at the start it leaves out more.
    for row, text in zip(rows.tolist(), ours, strict=True):
        assert text.decode().strip() == theirs.decode(row).strip()
    bytewise = Subwords(kind=kind, size=400, byte_fallback=True).train(TEXTS)
    new = ["naïve 🙂 שלום\u0301 中文", "👩‍👩‍👧"]
    assert [text.decode() for text in bytewise.join(bytewise.ids(tensor(new))).numpy()] == new


def test_a_tokenizer_without_special_strings_is_saved_without_them(trained, tmp_path):
    trained.save(tmp_path)
    assert "special" not in (tmp_path / "tokenizer.json").read_text()


@pytest.mark.parametrize("special", [("",), ("a", "a"), ("<pad>",)])
def test_special_strings_must_differ(special):
    with pytest.raises(ValueError, match="^special must be texts that differ"):
        Words(special=special)
    with pytest.raises(ValueError, match="^size must be at least 5, got 4"):
        Words(special=("<de>", "<en>"), size=4)
