"""Texts of tables: columns, groups, labels of tokens, and every bad line by its number."""

import json

import numpy as np
import pytest
from modelzoo.data.text_table import TextTable

from modelzoo.data.tokenizers import Characters, Subwords, Words
from modelzoo.fields.errors import UserError

SPACED = Words(split="whitespace")


def write(folder, lines, name="table.csv"):
    lines = [line if isinstance(line, bytes) else line.encode() for line in lines]
    (folder / name).write_bytes(b"\n".join(lines))
    return str(folder / name)


def write_json(folder, objects):
    return write(folder, map(json.dumps, objects), "table.jsonl")


def texts_of(source):
    raw = source.gather(np.arange(source.num_examples))
    return [text.decode() for text in raw["text"].numpy()]


def labels_of(source):
    """Text to label."""
    raw = source.gather(np.arange(source.num_examples))
    return dict(zip(texts_of(source), raw["label"].numpy().tolist(), strict=True))


@pytest.mark.field("TextTable.text_columns")
def test_texts_labels_and_ids_of_columns(tmp_path):
    path = write(tmp_path, ["title,body,label", "A b,c,x", '"q ""d"", e", ,y', "", ",f,x"])
    source = TextTable(path, text_columns=("title", "body")).open("train")
    assert source.spec.class_names == ("x", "y") and source.spec.targets == "class"
    assert labels_of(source) == {"A b\nc": 0, 'q "d", e': 1, "f": 0}
    lines = dict(zip(texts_of(source), source.ids, strict=True))
    assert lines == {"A b\nc": "table.csv:2", 'q "d", e': "table.csv:3", "f": "table.csv:5"}
    assert source.groups is None and source.skipped == []


def test_tags_and_values(tmp_path):
    path = write_json(tmp_path, [{"text": "one", "label": ["b", "a"]}, {"text": "2", "label": []}])
    source = TextTable(path, targets="tags").open("train")
    assert source.spec.class_names == ("a", "b")
    assert labels_of(source) == {"one": [1, 1], "2": [0, 0]}
    path = write(tmp_path, ["text\thigh\tlow", "one\t1.5\t-2", "two\t0\t1e3"], "table.tsv")
    source = TextTable(path, targets="values", target_columns=("low", "high")).open("train")
    assert labels_of(source) == {"one": [-2, 1.5], "two": [1000, 0]}


def test_splits_by_files_share_classes_and_the_training_vocabulary(tmp_path):
    write(tmp_path, ["label\tsentence", "x\tthe one", "y\tthe two"], "train.tsv")
    write(tmp_path, ["label\tcontent", "z\tthe three"], "dev.tsv")
    config = TextTable(
        str(tmp_path / "{split}.tsv"),
        columns=("label", "text"),
        validation_split="dev",
        test_split=None,
    )
    train, dev = config.open("train"), config.open("validation")
    assert train.spec.class_names == dev.spec.class_names == ("x", "y", "z")
    assert train.spec.tokenizer == dev.spec.tokenizer
    assert labels_of(dev) == {"the three": 2} and dev.ids == ["dev.tsv:2"]
    known = train.spec.tokenizer.ids(["the"]).to_list()[0][0]
    assert dev.gather([0])["tokens"][0, :2].numpy().tolist() == [known, 1]


def test_slices_are_random_parts_that_no_text_is_in_twice(tmp_path):
    # Sorted by class, each text three times.
    lines = [f"text {k % 40},{'xy'[k % 40 // 20]}" for k in range(120)]
    path = write(tmp_path, ["text,label", *sorted(lines, key=lambda line: line[-1])])
    config = TextTable(path, train_split="train[:70%]", test_split="train[70%:]")
    train, test = (texts_of(config.open(role)) for role in ("train", "test"))
    assert len(train) + len(test) == 120 and len(set(train) | set(test)) == 40
    assert not set(train) & set(test) and len(train) % 3 == 0 and 60 < len(train) < 108
    assert len(set(labels_of(config.open("test")).values())) == 2
    write(tmp_path, ["text,label", *lines[::-1], *(f"more {k},x" for k in range(40))])
    later = texts_of(config.open("train"))
    assert [text for text in later if text[0] == "t"] == train


@pytest.mark.field("Lines.group_column")
def test_groups_are_kept_and_not_parted(tmp_path):
    lines = [f"text {k},x,person {k % 10}" for k in range(60)]
    path = write(tmp_path, ["text,label,who", *lines])
    config = TextTable(path, group_column="who")
    parts = [config.open(split) for split in ("train[:50%]", "train[50%:]")]
    for source in parts:
        expected = [f"person {int(text[5:]) % 10}" for text in texts_of(source)]
        assert list(source.groups) == expected
    first, second = (set(source.groups) for source in parts)
    assert first and second and not first & second and len(first | second) == 10
    with pytest.raises(UserError, match="line 2: has nothing in the column who"):
        TextTable(write(tmp_path, ["text,label,who", "a,x, "]), group_column="who").open("train")


def test_labels_of_words_and_of_characters(tmp_path):
    path = write(tmp_path, ["text,label", "Anna sees  Bo,N O N", "no one,O O"])
    source = TextTable(path, targets="labels", tokenizer=SPACED, lengths=(2, 4)).open("train")
    assert source.spec.class_names == ("N", "O") and source.spec.targets == "labels"
    assert labels_of(source) == {"Anna sees  Bo": [0, 1, 0, -1], "no one": [1, 1, -1, -1]}
    assert sorted(source.lengths) == [2, 3]
    objects = [{"text": ["é", " ", "b"], "label": ["v", "", "c"]}, {"text": "a", "label": "v"}]
    config = TextTable(
        write_json(tmp_path, objects), targets="labels", tokenizer=Characters(), lengths=(3,)
    )
    assert labels_of(config.open("train")) == {"é b": [2, 0, 1], "a": [2, -1, -1]}


BAD = {
    "too few columns": (b"some text", "has 1 columns, the header has 2"),
    "too many columns": (b"some,text,x", "has 3 columns, the header has 2"),
    "no text": (b'"  ",x', "has no text in the column text"),
    "no target": (b"some text,", "has nothing in the column label"),
    "not UTF-8": (b"some \xfftext,x", "is not UTF-8"),
    "a torn quote": (b'"some" text,x', "is no line of columns"),
}


@pytest.mark.field("TextTable.on_bad_line")
@pytest.mark.parametrize("line, reason", BAD.values(), ids=BAD)
def test_a_bad_line_is_named_or_skipped(tmp_path, line, reason):
    path = write(tmp_path, ["text,label", "one,x", b"", line, "two,y"])
    with pytest.raises(UserError, match=rf"table\.csv, line 4: {reason}.*data.on_bad_line='skip'"):
        TextTable(path).open("train")
    source = TextTable(path, on_bad_line="skip").open("train")
    assert labels_of(source) == {"one": 0, "two": 1}
    [(where, why)] = source.skipped
    assert where.endswith("table.csv, line 4") and why.startswith(reason)


@pytest.mark.parametrize(
    "tokenizer, line", [(SPACED, "a b,x y z"), (SPACED, "a b,"), (Characters(), "a b,x y")]
)
def test_another_number_of_labels_than_of_tokens_is_a_bad_line(tmp_path, tokenizer, line):
    path = write(tmp_path, ["text,label", "a,x", line])
    with pytest.raises(UserError, match=r"line 3: has \d tokens and \d labels"):
        TextTable(path, targets="labels", tokenizer=tokenizer).open("train")


def test_a_tokenizer_that_makes_other_tokens_is_told(tmp_path):
    path = write(tmp_path, ["text,label", "a,x", "\u0130,y"])  # Lower case has a dot of its own.
    config = TextTable(path, targets="labels", tokenizer=Characters(lower=True))
    with pytest.raises(UserError, match=r"table\.csv:3 has 2 tokens and 1 labels"):
        config.open("train")


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"text_columns": ()}, "text_columns must name columns"),
        (
            {"targets": "labels", "tokenizer": SPACED, "text_columns": ("a", "b")},
            "text_columns must name one column where targets is 'labels'",
        ),
        ({"targets": "labels"}, r"tokenizer must be Characters\(\) or Words\(split='whitespace'\)"),
        ({"targets": "labels", "tokenizer": Subwords()}, "tokenizer must be"),
        (
            {"targets": "labels", "tokenizer": SPACED, "target_columns": ("a", "b")},
            "target_columns must name one column",
        ),
        ({"lengths": ()}, "lengths must"),
    ],
)
def test_fields_that_do_not_fit_each_other_are_refused(fields, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        TextTable(**{"path": "x.csv", **fields})
