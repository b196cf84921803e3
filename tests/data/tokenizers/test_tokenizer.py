"""Properties of every tokenizer: odd texts, files, the exported graph, given vocabularies."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

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
    Characters(normalize="nfc", lower=True),
    Words(),
    Subwords(kind="bpe", size=90),
    Subwords(kind="unigram", size=90, lower=True),
    Subwords(kind="wordpiece", size=120, lower=True),
]


@pytest.fixture(
    scope="module", params=CONFIGS, ids=lambda c: getattr(c, "kind", f"{type(c).__name__}-{c.form}")
)
def trained(request):
    return request.param.train(TEXTS)


def tensor(texts):
    return next(tokenizer.chunks(texts))


def test_odd_texts_have_tokens(trained):
    ids = trained.ids(tensor(ODD + TEXTS))
    assert ids.dtype == tf.int32 and ids.nrows() == len(ODD + TEXTS)
    assert ids.row_lengths()[0] == 0
    flat = ids.flat_values.numpy()
    assert flat.min() >= 1 and flat.max() < trained.vocab_size
    # One text at a time, and in a graph, the ids are the same.
    graph = tf.function(trained.ids, input_signature=[tf.TensorSpec([None], tf.string)])
    for k, (text, row) in enumerate(zip(ODD + TEXTS, ids.to_list(), strict=True)):
        if k == 3:
            tf.random.set_seed(k)  # Destroys the resources that eager operations created.
        assert graph(tensor([text])).to_list() == [row]
    assert graph(tf.zeros([0], tf.string)).to_list() == []
    flat, bounds = trained.encode(ODD + TEXTS)
    np.testing.assert_array_equal(flat, ids.flat_values)
    np.testing.assert_array_equal(bounds, ids.row_splits)
    assert (flat.dtype, bounds.dtype) == (np.int32, np.int64)
    assert trained.encode([])[1].tolist() == [0]


def test_invalid_utf_8_becomes_replacement_characters(trained):
    bad = [b"caf\xe9 cat", b"\xff\xfe", b"a\xed\xa0\x80b", b"\xf0\x9f\x98"]
    good = [text.decode("utf-8", "replace") for text in bad]
    assert trained.ids(tensor(bad)).to_list() == trained.ids(tensor(good)).to_list()


def test_training_texts_are_known_and_can_be_restored(trained):
    ids = trained.ids(tensor(TEXTS))
    assert trained.unknown_id not in ids.flat_values.numpy()
    back = [text.decode() for text in trained.join(ids).numpy()]
    config = trained.config
    whole = config.normalised(tensor(TEXTS)).numpy()
    for text, again in zip(whole, back, strict=True):
        assert "".join(again.split()) == "".join(text.decode().split())


def test_equal_texts_train_equal_vocabularies(trained):
    again = trained.config.train(text.encode() for text in TEXTS)
    assert again == trained and again.vocabulary == trained.vocabulary
    assert again.vocabulary[:2] == ("<pad>", "<unk>")
    assert (again.pad_id, again.unknown_id, again.start_id, again.end_id) == (0, 1, None, None)
    assert again.fingerprint() == trained.fingerprint()
    assert len(set(again.vocabulary)) == again.vocab_size
    other = trained.config.train([*TEXTS, "quite another quaint quota"])
    assert other != trained and len({other, again, trained}) == 2
    assert other.fingerprint() != trained.fingerprint()


def test_a_saved_tokenizer_can_be_loaded(trained, tmp_path):
    trained.save(tmp_path / "new" / "folder")
    loaded = tokenizers.load(tmp_path / "new" / "folder")
    assert loaded == trained and hash(loaded) == hash(trained)
    assert loaded.vocabulary == trained.vocabulary and loaded.describe() == trained.describe()
    texts = tensor(ODD + TEXTS)
    assert loaded.ids(texts).to_list() == trained.ids(texts).to_list()


def save_graph(trained, folder):
    """Exports `ids`, padded, as the signature of a SavedModel without other objects."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def serve(text):
        return {"ids": trained.ids(text).to_tensor()}

    tf.saved_model.save(tf.Module(), str(folder), signatures=serve)


def test_a_saved_graph_needs_no_other_files(trained, tmp_path):
    texts = tensor(ODD + TEXTS)
    save_graph(trained, tmp_path)
    served = tf.saved_model.load(str(tmp_path)).signatures["serving_default"](text=texts)["ids"]
    np.testing.assert_array_equal(served, trained.ids(texts).to_tensor())
    # It needs the module that is named, and no other.
    graph = saved_model_pb2.SavedModel.FromString((tmp_path / "saved_model.pb").read_bytes())
    library = graph.meta_graphs[0].graph_def.library.function
    ops = {node.op for function in library for node in function.node_def}
    foreign = {op for op in ops if not hasattr(tf.raw_ops, op)}
    assert bool(foreign) == (trained.graph_module == "tensorflow_text"), foreign


def test_words_need_only_tensorflow_and_no_certain_locale(tmp_path):
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
def test_lower_makes_upper_and_lower_case_equal(kind):
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
def test_normalize_makes_equivalent_texts_equal(kind):
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
    assert Subwords().form == "nfkc"
    assert Subwords().as_written().form == Subwords(normalize="none").form == "none"
    assert Subwords(normalize="nfc").as_written().form == "nfc"


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("texts", [[], ["", " \t"]])
def test_training_without_tokens_is_an_error(config, texts):
    if isinstance(config, Characters) and texts:
        return  # A space is a character.
    with pytest.raises(UserError, match="cannot train .*: the texts are empty"):
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
def test_impossible_fields_are_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_folder_without_a_tokenizer_is_an_error(tmp_path):
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


def test_a_missing_library_is_an_error_that_names_the_extra(monkeypatch):
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
def test_a_special_string_is_one_token_anywhere_in_a_text(speaking, tmp_path):
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
    """A normalised text; the case of special strings is kept."""
    text = text.replace("\U000f0000", "\ufffd")
    if config.lower:
        # All special strings but one are lower case.
        text = text.lower()
    return text


def test_joined_ids_are_the_text_again(speaking):
    joined = [text.decode() for text in speaking.join(speaking.ids(tensor(SPOKEN))).numpy()]
    for text, again in zip(SPOKEN, joined, strict=True):
        if isinstance(speaking.config, (Characters, Subwords)):
            wanted = plain(speaking.config, text)
            if speaking.config == SPEAKING[-1]:  # Spaces surround punctuation.
                wanted, again = wanted.replace(" ", ""), again.replace(" ", "")
            assert again == wanted
        else:
            words = speaking.config.words(tensor([text])).to_list()[0]
            names = {
                code.encode(): special.encode()
                for special, code in zip(SPECIAL, speaking.config.stand_ins, strict=True)
            }
            assert again == b" ".join(names.get(word, word) for word in words).decode()


def test_joined_texts_leave_out_padding_and_mark_unknown_tokens(trained):
    size = trained.vocab_size
    ids = [[0, 0], [], [size, 5, 0, size + 9, -1], [1, 0, 1]]
    ids = tf.ragged.constant(ids, dtype=tf.int32)
    first = trained.vocabulary[5].removeprefix("\u2581").removeprefix("##")
    space = " " if isinstance(trained.config, Words) or "wordpiece" in trained.describe() else ""
    graph = tf.function(
        lambda rows: trained.join(tf.RaggedTensor.from_tensor(rows, padding=0)),
        input_signature=[tf.TensorSpec([None, None], tf.int32)],
    )
    for joined in (trained.join(ids), graph(ids.to_tensor())):
        texts = [text.decode() for text in joined.numpy()]
        assert texts == ["", "", first, f"\u2047{space}\u2047"]
    assert trained.join(tf.RaggedTensor.from_row_splits(tf.zeros(0, tf.int32), [0])).shape == (0,)


def test_joining_can_be_served_without_other_files(speaking, tmp_path):
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
    # SentencePiece leaves out more spaces at the start.
    for row, text in zip(rows.tolist(), ours, strict=True):
        assert text.decode().strip() == theirs.decode(row).strip()
    bytewise = Subwords(kind=kind, size=400, byte_fallback=True).train(TEXTS)
    new = ["naïve 🙂 שלום\u0301 中文", "👩‍👩‍👧"]
    assert [text.decode() for text in bytewise.join(bytewise.ids(tensor(new))).numpy()] == new


def test_default_special_tokens_are_not_saved(trained, tmp_path):
    trained.save(tmp_path)
    config = json.loads((tmp_path / "tokenizer.json").read_text())["config"]
    assert not {"special", "pad", "unknown", "start", "end"} & set(config)


@pytest.mark.parametrize("special", [("",), ("a", "a"), ("<pad>",)])
def test_special_strings_must_differ(special):
    with pytest.raises(ValueError, match="^special must be texts that differ"):
        Words(special=special)
    with pytest.raises(ValueError, match="^size must be at least 5, got 4"):
        Words(special=("<de>", "<en>"), size=4)


NAMES = {"pad": "[PAD]", "unknown": "[UNK]", "start": "[CLS]", "end": "[SEP]"}
MARKED = {"special": ("[MASK]",), **NAMES}
GIVEN = [
    (Characters(**MARKED), ("a", "[CLS]", "b", "[UNK]", "[MASK]", "[PAD]", " ", "[SEP]")),
    (Words(**MARKED), ("[SEP]", "a", "[UNK]", "[MASK]", "b", "[PAD]", "[CLS]")),
    (
        Subwords(kind="wordpiece", lower=True, **MARKED),
        ("[UNK]", "a", "##b", "b", "[CLS]", "[SEP]", "[MASK]", "[PAD]"),
    ),
]


@pytest.mark.field(
    "TokenizerConfig.pad", "TokenizerConfig.unknown", "TokenizerConfig.start", "TokenizerConfig.end"
)
@pytest.mark.parametrize("config, vocabulary", GIVEN)
def test_a_vocabulary_from_elsewhere_may_have_its_special_tokens_anywhere(
    config, vocabulary, tmp_path
):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(vocabulary) + "\n")
    given = config.read(path)
    assert given.vocabulary == vocabulary
    for name, token in NAMES.items():
        assert getattr(given, f"{name}_id") == vocabulary.index(token)
    mask, unknown = vocabulary.index("[MASK]"), given.unknown_id
    a, b = vocabulary.index("a"), vocabulary.index("b")
    rows = given.ids(tensor(["a b", "", "[MASK]a", "x [PAD]"])).to_list()
    rows = [[k for k in row if vocabulary[k] != " "] for row in rows]
    assert rows[:3] == [[a, b], [], [mask, a]]
    # A text cannot contain the named tokens.
    assert set(rows[3]) <= {unknown, a}
    special = given.special_ids(end=True)
    assert special == (given.pad_id, given.start_id, given.end_id, len(vocabulary))
    assert given.special_ids(end=False) == (given.pad_id, None, None, len(vocabulary))
    ids = [given.start_id, a, given.pad_id, unknown, given.end_id, given.pad_id]
    joined = given.join(
        tf.constant([ids]) + tf.RaggedTensor.from_tensor(tf.zeros([1, 6], tf.int32))
    )
    assert joined.numpy()[0].decode().replace(" ", "") == "a\u2047"
    given.save(tmp_path / "saved")
    assert tokenizers.load(tmp_path / "saved") == given


@pytest.mark.parametrize("kind", [Characters, Words, Subwords])
def test_trained_vocabularies_may_have_start_and_end_tokens(kind):
    config = kind(end="</s>", **({"size": 60} if kind is Subwords else {}))
    trained = config.train(["low lower", "</s> low"])
    assert trained.vocabulary[:3] == ("<pad>", "<unk>", "</s>") and trained.end_id == 2
    assert trained.special_ids(end=True) == (0, 2, 2, trained.vocab_size)
    assert 2 not in trained.ids(tensor(["</s> low"])).flat_values.numpy()
    # Without them the id after the vocabulary ends a text.
    plain = kind(**({"size": 60} if kind is Subwords else {})).train(["low lower"])
    size = plain.vocab_size
    assert plain.special_ids(end=True) == (0, size, size, size + 1)
    assert plain.special_ids(end=False) == (0, None, None, size)


def test_a_vocabulary_may_have_no_padding_token():
    trained = Words(pad=None, end="</s>").train(["a b"])
    assert trained.vocabulary == ("<unk>", "</s>", "a", "b") and trained.pad_id is None
    # Any id can fill a batch.
    assert trained.special_ids(end=True).pad == 1
    assert 0 <= trained.special_ids(end=False).pad < 4


def test_a_sentencepiece_model_from_elsewhere_is_read(tmp_path):
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["low lower lowest", "new newer newest"]),
        model_prefix=str(tmp_path / "spiece"),
        vocab_size=16,
        pad_id=2,
        unk_id=0,
        bos_id=-1,
        eos_id=1,
        minloglevel=2,
    )
    path = tmp_path / "spiece.model"
    given = Subwords(kind="unigram", end="</s>", normalize="none").read(path)
    assert (given.pad_id, given.unknown_id, given.end_id, given.start_id) == (2, 0, 1, None)
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(path))
    assert given.ids(tensor(["lower news x"])).to_list() == [theirs.encode("lower news x")]
    given.save(tmp_path / "saved")
    assert tokenizers.load(tmp_path / "saved") == given
    with pytest.raises(UserError, match=r"spiece.model: set unknown to '<unk>', its name there"):
        Subwords(kind="unigram", unknown="[UNK]").read(path)
    with pytest.raises(UserError, match=r"spiece.model: special must be \(\)"):
        Subwords(kind="unigram", special=("<de>",)).read(path)
    (tmp_path / "broken").write_bytes(b"no model")
    with pytest.raises(UserError, match="the vocabulary .*broken: "):
        Subwords(kind="unigram").read(tmp_path / "broken")


@pytest.mark.parametrize(
    "config, lines, message",
    [
        (Words(), "<pad>\n<unk>\n\na", "vocab.txt: line 3 is empty"),
        (Words(), "<unk>\na", "has no token '<pad>': set pad to its name there"),
        (Words(end="</s>"), "<pad>\n<unk>\na", "has no token '</s>': set end to"),
        (Words(special=("<de>",)), "<pad>\n<unk>\na", "has no token '<de>', which special names"),
        (Words(), "<pad>\n<unk>\na\na", "has a token twice"),
        (Words(), "<pad>\n<unk>", "has no token beside the special ones"),
        (Characters(), "<pad>\n<unk>\nab", "has the token 'ab', which is not one character"),
        (Words(), b"<pad>\n<unk>\n\xff", "vocab.txt is not UTF-8"),
        (Words(), None, "cannot read the vocabulary .*: No such file"),
        (Subwords(), None, "cannot read the vocabulary .*: No such file"),
    ],
)
def test_a_vocabulary_that_does_not_fit_is_an_error(config, lines, message, tmp_path):
    path = tmp_path / "vocab.txt"
    if lines is not None:
        path.write_bytes(lines if isinstance(lines, bytes) else lines.encode())
    with pytest.raises(UserError, match=message):
        config.read(path)


@pytest.mark.parametrize("fields", [{"unknown": ""}, {"unknown": "x", "pad": "x"}])
def test_the_unknown_token_must_be_one_of_its_own(fields):
    with pytest.raises(ValueError, match="^unknown must be a token other than"):
        Words(**fields)
