"""Parallel files: which lines belong together, in which split, and bad ones by their place."""

import pytest
from plain_fields import Plain, cells, hashed_part, ids, read, wants

from modelzoo.data.sources.parallel_text import ParallelText
from modelzoo.fields.errors import UserError

EN = ["a house", "the tree", "a house by the tree", "two trees"]
DE = ["ein Haus", "der Baum", "ein Haus am Baum", "zwei Bäume"]
WANTED = (wants("inputs", "source", "text"), wants("target", "target", "list", "text"))
SOURCE = Plain(columns=("source",))


def write(folder, **files):
    for name, lines in files.items():
        data = lines if isinstance(lines, bytes) else ("\n".join(lines) + "\n").encode()
        (folder / name.replace("_", ".")).write_bytes(data)
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path, train_en=EN, train_de=DE, test_en=["a tree"], test_de=["ein Baum"])


def source(folder):
    return ParallelText(f"{folder}/{{split}}.en", f"{folder}/{{split}}.de")


@pytest.mark.field("ParallelText.source_path", "ParallelText.target_path")
def test_the_lines_of_one_number_belong_together(folder):
    rows = read(source(folder), "train", *WANTED)
    assert cells(rows, "inputs") == [EN] and cells(rows, "target") == [DE]
    assert rows.ids == [f"train.en:{k}" for k in range(1, 5)]
    assert rows.place(2) == f"{folder}/train.en and {folder}/train.de, line 3"
    turned = ParallelText(f"{folder}/{{split}}.de", f"{folder}/{{split}}.en")
    assert cells(read(turned, "test", *WANTED), "inputs") == [["ein Baum"]]
    opened = source(folder).open()
    assert opened.split_names == ("test", "train")
    assert opened.default_columns(wants("inputs", (), "text")) == ("source",)
    assert opened.default_columns(wants("target", (), "text")) == ("target",)
    write(folder, dev_en=["blind"])
    with pytest.raises(UserError, match=r"has no split 'dev'; it has test, train"):
        ids(source(folder), "dev", SOURCE)


@pytest.mark.parametrize("first, last", [(0, 70), (70, 100)])
def test_a_slice_is_a_range_of_hashes_of_the_source_in_the_order_of_the_file(tmp_path, first, last):
    lines = [f"text {k // 3}" for k in range(90)]
    write(tmp_path, all_en=lines, all_de=[f"Text {k}" for k in range(90)])
    whole = ParallelText(f"{tmp_path}/all.en", f"{tmp_path}/all.de")
    expected = [f"all.en:{k + 1}" for k in sorted(hashed_part(lines, first, last))]
    assert expected and ids(whole, f"train[{first}%:{last}%]", SOURCE) == expected
    with pytest.raises(UserError, match=r"has no split 'dev'; it has train, and slices"):
        ids(whole, "dev", SOURCE)


@pytest.mark.parametrize("side, name", [("inputs", "train_en"), ("target", "train_de")])
def test_a_line_that_is_not_utf8_is_left_out(folder, side, name):
    lines = [line.encode() for line in {"inputs": EN, "target": DE}[side]]
    write(folder, **{name: b"\n".join([lines[0], b"caf\xe9", *lines[2:]])})
    rows = read(source(folder), "train", *WANTED)
    assert cells(rows, "inputs") == [[EN[0], *EN[2:]]]
    assert cells(rows, "target") == [[DE[0], *DE[2:]]]
    place = f"{folder}/{name.replace('_', '.')}, line 2"
    assert rows.bad == (("train", place, "is not UTF-8"),)
    assert rows.ids == ["train.en:1", "train.en:3", "train.en:4"]
    assert rows.bad_before.tolist() == [0, 1, 1] and rows.place(1).endswith("line 3")
    # Only the columns that are read can be bad.
    (other,) = [one for one in WANTED if one.key != side]
    assert len(read(source(folder), "train", other)) == 4


def test_an_empty_line_keeps_its_number(folder):
    write(folder, train_en=b"a house\n \nc\nd")
    rows = read(source(folder), "train", *WANTED)
    assert cells(rows, "inputs") == [["a house", "", "c", "d"]]
    with pytest.raises(UserError, match=r"train\.de, line 2: is empty; .*config.data.on_bad=skip"):
        ids(source(folder), "train", SOURCE)
    kept = ids(source(folder), "train", SOURCE, on_bad="skip")
    assert kept == ["train.en:1", "train.en:3", "train.en:4"]


@pytest.mark.parametrize("on_bad", ["error", "skip"])
@pytest.mark.parametrize("name, numbers", [("train_de", (4, 3)), ("train_en", (3, 4))])
def test_files_of_different_line_counts_are_an_error(folder, on_bad, name, numbers):
    write(folder, **{name: {"train_en": EN, "train_de": DE}[name][:3]})
    message = r"train\.en has {} lines and .*train\.de has {}: both need the same".format(*numbers)
    with pytest.raises(UserError, match=message):
        ids(source(folder), "train", SOURCE, on_bad=on_bad)


def test_only_a_line_feed_ends_a_line(folder):
    write(folder, test_en="\ufeffone\u2028two\r\nthree\x0cfour".encode(), test_de=["1", "2"])
    rows = read(source(folder), "test", *WANTED)
    assert cells(rows, "inputs") == [["one\u2028two", "three\x0cfour"]]


def test_missing_files_columns_and_rows_are_errors(folder):
    with pytest.raises(UserError, match="cannot read .*none.en: No such file"):
        ids(ParallelText(f"{folder}/none.en", f"{folder}/train.de"), "train", SOURCE)
    with pytest.raises(UserError, match=r"no split has .*en has test, train and .*none has none;"):
        ParallelText(f"{folder}/{{split}}.en", f"{folder}/{{split}}.none").open()
    with pytest.raises(UserError, match="no column 'text' for config.data.inputs.columns; its"):
        read(source(folder), "train", wants("inputs", "text", "text"))
    with pytest.raises(UserError, match="the column 'target' of .* holds text, not class"):
        read(source(folder), "train", wants("target", "target", "class"))
    write(folder, test_en=b"", test_de=b"")
    assert len(read(source(folder), "test", *WANTED)) == 0
    with pytest.raises(ValueError, match="^target_path must contain {split} if source_path"):
        ParallelText("{split}.en", "train.de")
