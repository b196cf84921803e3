"""Texts as an input: cells to texts, texts to tokens, truncation, serving, and bad texts."""

import json

import numpy as np
import pytest
import tensorflow as tf
from memory_source import HashedMemory, Memory

from modelzoo.data import tokenizers
from modelzoo.data.bound import BoundData
from modelzoo.data.columns import Column
from modelzoo.data.dataset import Dataset
from modelzoo.data.inputs.text import Text
from modelzoo.data.targets.class_label import ClassLabel
from modelzoo.data.tokenizers import Characters, Words
from modelzoo.fields.errors import UserError
from modelzoo.fields.input_specs import MaskSpec, TokenSpec

WORDS = "ant bee cät dog emu fox gnu hen"
TEXTS = ["ant bee cät", "", "dog emu fox gnu hen ant bee cät dog emu", "zebra ant"]
# A vocabulary from elsewhere, whose padding is not 0.
GIVEN = ["[UNK]", "bee", "[SEP]", "ant", "[PAD]", "gnu", "[CLS]"]
BERT_WORDS = Words(pad="[PAD]", unknown="[UNK]", start="[CLS]", end="[SEP]")


def source_of(form="text", **columns):
    """A source with the split "train", of columns of `form`."""
    cells = {name: Column(name, form, values) for name, values in columns.items()}
    return Memory(splits={"train": cells})


def open_texts(texts, form="text", on_bad="error", **fields):
    data = Dataset(source=source_of(form, text=texts), inputs=Text(**fields), on_bad=on_bad)
    return data.open()


@pytest.fixture
def vocabulary(tmp_path):
    """A folder with the vocabulary of `WORDS`."""
    Words().train([WORDS]).save(tmp_path / "vocabulary")
    return str(tmp_path / "vocabulary")


@pytest.fixture
def given(tmp_path):
    """Path of a vocabulary from elsewhere."""
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(GIVEN))
    return str(path)


def texts_of(split):
    raw = split.gather(np.arange(split.num_examples))
    return [text.decode() for text in raw["text"].numpy()]


def padded(row, length, pad=0):
    return [*row, *[pad] * (length - len(row))]


@pytest.mark.field("Text.keep", "Text.lengths", "VocabularyField.vocabulary")
@pytest.mark.parametrize("keep", ["start", "end", "ends"])
@pytest.mark.parametrize("longest", [7, 8])
@pytest.mark.parametrize("end", [False, True])
def test_texts_are_truncated_and_padded(vocabulary, keep, longest, end):
    fields = {"vocabulary": vocabulary, "keep": keep, "lengths": (4, longest), "end": end}
    # "\u200b" has no token, an empty text would be bad.
    data = open_texts([text or "\u200b" for text in TEXTS], **fields)
    split, bound = data.split("train"), data.bound.inputs[""]
    words, last = bound.tokenizer.vocabulary, [bound.tokenizer.vocab_size] * end
    rows = [[words.index(w) if w in words else 1 for w in text.split()] for text in TEXTS]
    room = longest - end
    half = room // 2
    rows[2] = {
        "start": rows[2][:room],
        "end": rows[2][-room:],
        "ends": rows[2][: room - half] + rows[2][-half:],
    }[keep]
    raw = split.gather([0, 1, 2, 3, -1], 1)
    assert raw["tokens"].dtype == tf.int32 and raw["padding_mask"].dtype == tf.bool
    expected = [padded(row + last, longest) for row in rows]
    assert raw["tokens"][:4].numpy().tolist() == expected
    sizes = [len(row) + end for row in rows]
    mask = [[k < size for k in range(longest)] for size in sizes]
    assert raw["padding_mask"][:4].numpy().tolist() == mask
    assert split.tokens.tolist() == [max(size, 1) for size in sizes]
    assert split.buckets.tolist() == [0, 0, 1, 0]
    assert raw["weight"].numpy().tolist() == [1, 1, 1, 1, 0]
    assert "1 of 4 examples are truncated to" in split.remarks[-1]
    # Served texts are truncated as those of training.
    served = data.bound.features({"text": raw["text"][:4]}, training=False)
    np.testing.assert_array_equal(served["tokens"], raw["tokens"][:4])
    np.testing.assert_array_equal(served["padding_mask"], raw["padding_mask"][:4])


def test_a_text_is_read_at_the_width_of_its_bucket(vocabulary):
    split = open_texts(["ant bee cät"], vocabulary=vocabulary, lengths=(3, 5, 9)).split("train")
    read = tf.function(split.gather)
    for bucket, width in enumerate((3, 5, 9)):
        raw = read(tf.constant([0, 0], tf.int64), tf.constant(bucket))
        assert raw["tokens"].numpy().tolist() == [padded([2, 3, 4], width)] * 2
    assert split.gather([0])["tokens"].shape == (1, 9)


def test_served_texts_are_padded_to_the_longest_of_the_batch(vocabulary):
    bound = open_texts([WORDS], vocabulary=vocabulary, lengths=(4,)).bound
    serve = tf.function(lambda texts: bound.features({"text": texts}, training=False))
    for texts, shape in [(["ant", "ant bee"], (2, 2)), ([""], (1, 1)), ([], (0, 1))]:
        batch = serve(tf.constant(texts, tf.string))
        assert batch["tokens"].shape == batch["padding_mask"].shape == shape
    batch = serve(tf.constant(["ant", b"ant \xff bee"]))
    assert batch["padding_mask"].numpy().tolist() == [[True, False, False], [True] * 3]
    assert batch["tokens"].numpy().tolist() == [[2, 0, 0], [2, 1, 3]]
    assert bound.serving() == {
        "serving_default": {"text": ("text", tf.TensorSpec([None], tf.string, name="text"))}
    }


@pytest.mark.field("VocabularyField.vocabulary", "Text.end")
@pytest.mark.parametrize("end", [False, True])
def test_padding_may_have_any_id(given, end, tmp_path):
    texts = ["ant bee", "zebra", "gnu ant bee ant bee"]
    fields = {"vocabulary": given, "tokenizer": BERT_WORDS, "lengths": (3, 4), "end": end}
    data = open_texts(texts, **fields)
    split = data.split("train")
    unknown, bee, last, ant, pad, gnu = range(6)
    rows = [[ant, bee], [unknown], [gnu, ant, bee, ant]]
    if end:
        rows = [[ant, bee, last], [unknown, last], [gnu, ant, bee, last]]
    raw = split.gather([0, 1, 2], 1)
    assert raw["tokens"].numpy().tolist() == [padded(row, 4, pad) for row in rows]
    assert raw["padding_mask"].numpy().sum(1).tolist() == list(map(len, rows))
    served = data.bound.features({"text": tf.constant(["", *texts])}, training=False)
    assert served["tokens"][0].numpy().tolist() == padded([last] * end, 4, pad)
    np.testing.assert_array_equal(served["tokens"][1:], raw["tokens"])
    np.testing.assert_array_equal(served["padding_mask"][1:], raw["padding_mask"])
    assert data.bound.model_specs()["tokens"].vocab_size == len(GIVEN)
    labels = Column("label", "text", ["no", "yes", "no"])
    source = Memory(splits={"train": {"text": Column("text", "text", texts), "label": labels}})
    labelled = Dataset(source=source, inputs=Text(**fields), target=ClassLabel()).open()
    batch = labelled.bound.features(labelled.split("train").gather([2, 1], 1), training=True)
    assert batch["tokens"].numpy().tolist() == [padded(rows[k], 4, pad) for k in (2, 1)]
    assert batch["label"].numpy().tolist() == [0, 1]
    # Without the file too, from what a run keeps.
    data.bound.save(tmp_path / "run")
    (tmp_path / "vocab.txt").unlink()
    loaded = BoundData.load(data.data, tmp_path / "run")
    again = loaded.features({"text": tf.constant(texts)}, training=False)
    np.testing.assert_array_equal(again["tokens"], raw["tokens"])


@pytest.mark.field("Text.tokenizer")
def test_a_vocabulary_is_trained_on_the_training_texts():
    cells = {"train": ["ant bee", "Ant!"], "test": ["cät ant"]}
    source = Memory(splits={k: {"text": Column("text", "text", v)} for k, v in cells.items()})
    data = Dataset(source=source, inputs=Text(tokenizer=Words(min_count=2), lengths=(4,))).open()
    test = data.split("test")
    assert data.bound.inputs[""].words == data.bound.words == ("<pad>", "<unk>", "ant")
    assert test.gather([0])["tokens"].numpy().tolist() == [[1, 2, 0, 0]]
    assert test.remarks == ("the vocabulary of config.data.inputs lacks 50% of the tokens",)
    few = Dataset(source=source, inputs=Text(tokenizer=Words(min_count=9)))
    message = "config.data.inputs.tokenizer: cannot train .*: no token occurs min_count=9 times"
    with pytest.raises(UserError, match=message):
        few.open().split("train")


def test_unknown_tokens_are_reported_from_10_percent_on(vocabulary):
    remarks = [
        open_texts([f"zebra{' ant' * n}"], vocabulary=vocabulary).split("train").remarks
        for n in (8, 9, 10)
    ]
    assert list(map(len, remarks)) == [1, 1, 0] and "lacks 10% of" in remarks[1][0]


@pytest.mark.field("Field.columns")
def test_texts_of_several_columns_are_joined():
    source = source_of(title=["A b", "", "c "], body=["d", "e", "f"])
    data = Dataset(source=source, inputs=Text(columns=("title", "body"))).open()
    assert texts_of(data.split("train")) == ["A b\nd", "e", "c\nf"]
    stored = source_of("bytes", title=[b"\xef\xbb\xbfA\n", b""], body=[b"\nb \n", b" c"])
    data = Dataset(source=stored, inputs=Text(columns=("title", "body"))).open()
    assert texts_of(data.split("train")) == ["A\n\n\nb", "c"]


def test_lists_are_joined_to_texts():
    cells = [["Ann", 1, "ran"], ["a", " ", "b"], " one text "]
    for tokenizer, joined in [
        (Words(), ["Ann 1 ran", "a   b", "one text"]),
        (Characters(), ["Ann1ran", "a b", "one text"]),
    ]:
        data = open_texts(cells, form="list", tokenizer=tokenizer)
        assert texts_of(data.split("train")) == joined


def test_files_are_texts(tmp_path):
    contents = {
        "0.txt": b"one\n",
        "1.txt": b"\xef\xbb\xbftwo",
        "2.txt": b" \n",
        "3.txt": b"caf\xe9",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    paths = [str(tmp_path / name) for name in (*contents, "none.txt")]
    split = open_texts(paths, form="file", on_bad="skip").split("train")
    assert texts_of(split) == ["one", "two"]
    assert [(bad.place, bad.reason) for bad in split.skipped] == [
        ("memory, train/2", "is empty"),
        ("memory, train/3", "is not UTF-8"),
        ("memory, train/4", "cannot be read (No such file or directory)"),
    ]


BAD = [
    ("text", "", "has no text in the column text"),
    ("text", None, "has no text in the column text"),
    ("list", [" "], "has no text in the column text"),
    ("list", [b"\xff"], "is not UTF-8"),
    ("bytes", b" \n", "is empty"),
    ("bytes", b"caf\xe9", "is not UTF-8"),
]


@pytest.mark.parametrize("form, cell, reason", BAD)
def test_a_bad_text_is_reported_or_skipped(form, cell, reason):
    cells = {"text": "one", "list": ["one"], "bytes": b"one"}[form], cell
    with pytest.raises(UserError, match=f"memory, train/1: {reason}; .*config.data.on_bad=skip"):
        open_texts(cells, form).split("train")
    split = open_texts(cells, form, on_bad="skip").split("train")
    assert texts_of(split) == ["one"] and [bad.reason for bad in split.skipped] == [reason]


def test_slices_never_part_equal_texts():
    texts = [f"text {k % 40}" for k in range(120)]
    splits = {"train": {"text": Column("text", "text", texts)}}
    parts = [
        texts_of(Dataset(source=HashedMemory(splits=splits), inputs=Text()).open().split(part))
        for part in ("train[:70%]", "train[70%:]")
    ]
    assert len(parts[0]) + len(parts[1]) == 120 and not set(parts[0]) & set(parts[1])
    assert len(parts[0]) % 3 == 0 and 60 < len(parts[0]) < 108


def test_specs_and_descriptions(vocabulary):
    bound = open_texts([WORDS], vocabulary=vocabulary, lengths=(4, 8)).bound
    specs = bound.model_specs()
    assert specs == {
        "tokens": TokenSpec(
            vocab_size=10,
            mask="padding_mask",
            length=8,
            vocabulary=specs["tokens"].vocabulary,
        ),
        "padding_mask": MaskSpec(),
    }
    assert specs["tokens"].vocabulary
    assert bound.describe() == "texts of up to 8 tokens, 10 words"
    ended = open_texts([WORDS], vocabulary=vocabulary, lengths=(4, 8), end=True).bound
    assert ended.model_specs()["tokens"].vocab_size == 11
    other = open_texts(["ant bee"], lengths=(4, 8)).bound
    assert len({one.fingerprint() for one in (bound, ended, other)}) == 3


def test_several_texts_have_names_and_vocabularies_of_their_own(tmp_path):
    source = source_of(question=["who ran"], context=["Ann ran"])
    inputs = {name: Text(columns=(name,), lengths=(2,)) for name in ("question", "context")}
    data = Dataset(source=source, inputs=inputs).open()
    raw = data.split("train").gather([0])
    assert {"question/tokens", "context/padding_mask", "context/text"} <= set(raw)
    specs = data.bound.model_specs()
    assert specs["question/tokens"].mask == "question/padding_mask"
    assert specs["question/tokens"].vocabulary != specs["context/tokens"].vocabulary
    data.bound.save(tmp_path)
    loaded = BoundData.load(data.data, tmp_path)
    assert loaded == data.bound and loaded.inputs["context"].words[2:] == ("ann", "ran")


def test_bound_texts_can_be_loaded(tmp_path):
    data = open_texts([WORDS, "ant"], lengths=(4,), end=True)
    data.bound.save(tmp_path)
    assert json.loads((tmp_path / "data.json").read_text())["inputs"] == {"": {"end": True}}
    assert tokenizers.load(tmp_path / "inputs") == data.bound.inputs[""].tokenizer
    loaded = BoundData.load(data.data, tmp_path)
    assert loaded == data.bound and loaded.fingerprint() == data.bound.fingerprint()
    # A run's vocabulary is one that other data can be read by.
    again = open_texts(["hen zebra"], vocabulary=str(tmp_path / "inputs"), lengths=(2,))
    assert again.split("train").gather([0])["tokens"].numpy().tolist() == [[9, 1]]


@pytest.mark.field("Text.lengths", "Text.end")
@pytest.mark.parametrize(
    "fields, message",
    [
        ({"lengths": ()}, r"lengths must be rising numbers of at least 1, got \(\)"),
        ({"lengths": (0, 4)}, "lengths must be rising numbers of at least 1"),
        ({"lengths": (4, 4)}, "lengths must be rising numbers"),
        ({"lengths": (1, 4), "end": True}, "lengths must be rising numbers of at least 2"),
    ],
)
def test_impossible_lengths_are_errors(fields, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        Text(**fields)


@pytest.mark.field("VocabularyField.vocabulary")
def test_a_vocabulary_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no tokenizer in none: tokenizer.json: No such file"):
        open_texts([WORDS], vocabulary="none").split("train")
    (tmp_path / "vocab.txt").write_text("[PAD]\na")
    with pytest.raises(UserError, match="vocab.txt: has no token '<pad>': set pad to its name"):
        open_texts([WORDS], vocabulary=str(tmp_path / "vocab.txt")).split("train")
