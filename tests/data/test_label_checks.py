"""What is said of labels before training, and what is refused, of any source and target."""

import json

import numpy as np
import pytest
from memory_source import Memory

from modelzoo.data import (
    Characters,
    ClassFolders,
    ClassLabel,
    Dataset,
    Image,
    Npz,
    Series,
    Table,
    Tags,
    Text,
    TextTarget,
    TokenLabels,
    Values,
    Words,
)
from modelzoo.data.columns import Column
from modelzoo.data.label_checks import check_labels, describe_names
from modelzoo.fields.errors import UserError

ROLES = ("train", "validation", "test")
TEXT = Text(tokenizer=Words(split="whitespace"), lengths=(4,))
LETTERS = Text(tokenizer=Characters(), lengths=(4,))


def csv_files(folder, labels, text="good film"):
    for split, column in labels.items():
        rows = "".join(f'{text},"{label}"\n' for label in column)
        (folder / f"{split}.csv").write_text(f"text,label\n{rows}")
    return Table(str(folder / "{split}.csv"))


def json_files(folder, labels):
    for split, column in labels.items():
        rows = [json.dumps({"text": "good film", "label": label}) for label in column]
        (folder / f"{split}.jsonl").write_text("\n".join(rows))
    return Table(str(folder / "{split}.jsonl"))


def class_folders(folder, labels):
    for split, column in labels.items():
        for k, label in enumerate(column):
            (folder / "texts" / split / label).mkdir(parents=True, exist_ok=True)
            (folder / "texts" / split / label / f"{k}.txt").write_text("good film")
    return ClassFolders(str(folder / "texts"))


def archive(folder, labels, names=None, **more):
    names = names or sorted({label for column in labels.values() for label in column})
    arrays = {"class_names": names, **more}
    for split, column in labels.items():
        arrays[f"x_{split}"] = np.array(["good film"] * len(column))
        arrays[f"y_{split}"] = np.array([names.index(label) for label in column])
    np.savez(folder / "data.npz", **arrays)
    return Npz(str(folder / "data.npz"))


def memory(labels, names=None, form="class", lazy=False, weights=None):
    splits = {}
    for split, column in labels.items():
        values = np.array(column) if form in ("class", "array") else column
        splits[split] = {
            "text": Column("text", "text", ["good film"] * len(column)),
            "x": Column("x", "array", np.zeros((len(column), 2, 2), np.uint8)),
            "label": Column("label", form, values, names),
        }
    return Memory(splits=splits, lazy=lazy, weights=weights)


def remarks(source, target=None, inputs=TEXT, roles=ROLES):
    data = Dataset(source=source, inputs=inputs, target=target or ClassLabel())
    opened = data.open()
    splits = {role: opened.split(role) for role in roles if opened.has(role)}
    return list(check_labels(splits)), splits["train"]


SOURCES = [csv_files, json_files, class_folders, archive]


@pytest.mark.parametrize("make", SOURCES)
@pytest.mark.parametrize("others", [{}, {"validation": ["cat", "dog"]}])
def test_a_single_class_is_refused(make, others, tmp_path):
    source = make(tmp_path, {"train": ["cat"] * 3, **others})
    with pytest.raises(UserError, match="^all labels of the training split are 'cat': there is no"):
        remarks(source)


@pytest.mark.parametrize(
    "target, inputs, cells, shown",
    [
        (Tags(separator=";"), TEXT, ["a; b", "b;a"], "'a', 'b'"),
        (TokenLabels(), TEXT, ["N N", "N N"], "'N'"),
        (TokenLabels(), LETTERS, [" ".join("N" * 9)] * 2, "'N'"),
    ],
)
def test_equal_tags_and_labels_of_tokens_are_refused(target, inputs, cells, shown, tmp_path):
    with pytest.raises(UserError, match=f"^all labels of the training split are {shown}: there"):
        remarks(csv_files(tmp_path, {"train": cells}), target, inputs)


@pytest.mark.parametrize("columns", [[[0, 0], [0, 0]], [[0, 1], [0, 1]], [[1, 1], [1, 1]]])
def test_tags_that_never_change_are_refused(columns):
    source = memory({"train": columns}, ("a", "b"), "array")
    with pytest.raises(UserError, match="^all labels of the training split are ('a'|'b'|empty)"):
        remarks(source, Tags())


@pytest.mark.parametrize("lazy", [False, True])
def test_what_is_read_with_the_inputs_is_refused_by_its_names(lazy):
    image = Image(columns=("x",))
    with pytest.raises(UserError, match="are 'cat'"):
        remarks(memory({"train": [0, 0]}, ("cat",), lazy=lazy), inputs=image)
    said, split = remarks(memory({"train": [0, 1, 0]}, ("cat", "dog"), lazy=lazy), inputs=image)
    assert said == []
    assert describe_names(split) == ("cat, dog" if lazy else "cat: 2, dog: 1")


def test_examples_without_a_weight_do_not_count(tmp_path):
    weights = np.float32([1, 1, 0, 1])
    with pytest.raises(UserError, match="are 'cat'"):
        remarks(memory({"train": [0, 0, 1, 0]}, ("cat", "dog"), weights=weights))
    source = memory({"train": [0, 1, 2, 0]}, ("cat", "dog", "emu"), weights=weights)
    said, split = remarks(source)
    assert said == ["no training example of 1 of 3 classes ('emu'): the model cannot learn them"]
    assert describe_names(split) == "cat: 2, dog: 1, emu: 0"


@pytest.mark.parametrize("make", SOURCES)
def test_classes_that_a_split_lacks_are_named(make, tmp_path):
    labels = {
        "train": ["cat", "dog", "cat", "fox"],
        "validation": ["cat", "emu", "fox"],
        "test": ["dog", "cat", "fox"],
    }
    said, split = remarks(make(tmp_path, labels))
    assert said == [
        "no training example of 1 of 4 classes ('emu'): the model cannot learn them",
        "validation split: no example of 1 of 4 classes ('dog'): their metrics are undefined",
    ]
    assert describe_names(split) == "cat: 2, dog: 1, emu: 0, fox: 1"


@pytest.mark.parametrize(
    "target, train, other, said",
    [
        (
            Tags(separator=";"),
            ["a;b", "b", ""],
            ["b;c"],
            [
                "no training example of 1 of 3 tags ('c'): the model cannot learn them",
                "validation split: no example of 1 of 3 tags ('a'): their metrics are undefined",
            ],
        ),
        (
            TokenLabels(),
            ["N V", "V V"],
            ["V X"],
            [
                "no training example of 1 of 3 classes ('X'): the model cannot learn them",
                "validation split: no example of 1 of 3 classes ('N'): their metrics are undefined",
            ],
        ),
        (Values(), ["1", "1"], ["2"], []),
        (TextTarget(columns=("label",), lengths=(4,)), ["a b", "a b"], ["c"], []),
    ],
)
def test_other_targets(target, train, other, said, tmp_path):
    source = csv_files(tmp_path, {"train": train, "validation": other})
    assert remarks(source, target)[0] == said


@pytest.mark.parametrize("make", SOURCES)
@pytest.mark.parametrize(
    "names, shown",
    [
        (["Pos", "pos", "neg"], "'Pos', 'pos'"),
        (["0", "0.0", "1"], "'0', '0.0'"),
        (["very good", "bad", "very  good"], "'very  good', 'very good'"),
        (["a", "A", "b", "B", "c"], "'A', 'a'; 'B', 'b'"),
    ],
)
def test_labels_that_differ_in_notation_only_are_named(make, names, shown, tmp_path):
    said, _ = remarks(make(tmp_path, {"train": names * 2}))
    assert said == [f"classes that differ by case, space or notation only: {shown}"]


@pytest.mark.parametrize("make", SOURCES)
def test_labels_of_their_own_for_each_row_are_noticed(make, tmp_path):
    labels = [f"id{k}" for k in range(24)]
    labels[-3:] = labels[:3]  # Nearly.
    said, split = remarks(make(tmp_path, {"train": labels, "test": ["id2", "id99"]}))
    assert len(said) == 1 and said[0].startswith(
        "train split: 21 classes of 24 labels: if they are"
    )
    assert describe_names(split).endswith(", id17: 1, 12 more")


def test_many_classes_with_several_examples_each_are_no_ids(tmp_path):
    labels = [f"c{k % 12}" for k in range(36)]
    assert remarks(csv_files(tmp_path, {"train": labels}))[0] == []


@pytest.mark.parametrize("name, shown", [("line\nfeed", "line feed"), ("x" * 50, "x" * 29 + "…")])
def test_names_are_shown_in_one_short_line(name, shown, tmp_path):
    said, split = remarks(archive(tmp_path, {"train": ["cat", "dog"] * 2}, ["cat", "dog", name]))
    assert said == [
        f"no training example of 1 of 3 classes ('{shown}'): the model cannot learn them"
    ]
    assert describe_names(split) == f"cat: 2, dog: 2, {shown}: 0"


def test_values_are_shown_with_their_scale():
    data = Dataset(
        source=Memory(splits={"train": {"v": Column("v", "number", np.array([1.0, 2, 6]))}}),
        inputs=Series(columns=("v",)),
        target=Values(columns=("v",)),
    )
    split = data.open().split("train")
    assert describe_names(split) == "v: mean 3 and standard deviation 2.16"
    assert list(check_labels({"train": split})) == []


@pytest.mark.parametrize("target", [ClassLabel(), TextTarget(columns=("label",), lengths=(4,))])
def test_a_text_of_unknown_words_is_answered_with_advice(target, tmp_path):
    source = csv_files(tmp_path, {"train": ["yes", "no"]}, text="good film")
    csv_files(tmp_path, {"validation": ["yes", "no"]}, text="好电影")
    opened = Dataset(source=source, inputs=TEXT, target=target).open()
    assert opened.split("train").remarks == ()
    (remark,) = opened.split("validation").remarks
    assert remark.startswith("the vocabulary of config.data.inputs lacks 100% of the tokens: set")
    assert "Characters() or Subwords()" in remark
