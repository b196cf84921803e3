"""Tables: forms of cells, splits and slices, groups and weights, and bad lines by place."""

import json

import numpy as np
import pytest
from plain_fields import Plain, cells, hashed_part, ids, read, wants

from modelzoo.data.dataset import Dataset
from modelzoo.data.sources.table import Table
from modelzoo.fields.errors import UserError

TEXT = wants("inputs", "text", "text")
LABEL = wants("target", "label", "class", "text")


def write(folder, lines, name="table.csv"):
    text = lines if isinstance(lines, bytes) else "\n".join(lines).encode()
    (folder / name).write_bytes(text)
    return str(folder / name)


def json_lines(folder, objects, name="table.jsonl"):
    return write(folder, list(map(json.dumps, objects)), name)


@pytest.mark.field("Table.path")
def test_texts_with_ids_and_places(tmp_path):
    path = write(tmp_path, ["text,label", "good ,a", "", '"two\nlines",b', "bad,a"])
    rows = read(Table(path), "train", TEXT, LABEL)
    assert cells(rows, "inputs") == [["good", "two\nlines", "bad"]]
    assert cells(rows, "target") == [["a", "b", "a"]]
    assert rows.ids == ["table.csv:2", "table.csv:4", "table.csv:6"]
    assert rows.place(1) == f"{path}, line 4" and rows.where == f"table {path}"
    assert rows.columns["target"][0].form == "text" and rows.columns["inputs"][0].keys is None
    assert (rows.read, rows.groups, rows.weights, rows.bad) == (None, None, None, ())
    table = Table(path).open()
    assert table.split_names == ("train",)
    assert table.default_columns(wants("inputs", (), "text")) == ("text",)


def test_numbers_are_exact_and_may_be_several_columns(tmp_path):
    path = write(tmp_path, ["a\tb", "0.1\t-1e-3", " 2 \t3"], "table.tsv")
    rows = read(Table(path), "train", wants("inputs", ("b", "a"), "number", many=True))
    assert cells(rows, "inputs") == [[-1e-3, 3.0], [0.1, 2.0]]
    assert [column.form for column in rows.columns["inputs"]] == ["number", "number"]
    objects = [{"a": 0.1, "b": "-1e-3"}, {"a": "2", "b": 3}]
    rows = read(Table(json_lines(tmp_path, objects)), "train", wants("inputs", "a", "number"))
    assert cells(rows, "inputs") == [[0.1, 2.0]]


def test_files_have_the_path_as_written_as_their_key(tmp_path):
    (tmp_path / "pictures").mkdir()
    for name in "ab":
        (tmp_path / "pictures" / name).write_text("x")
    path = write(tmp_path, ["path", "pictures/b", " pictures/a"])
    for form in (("file",), ("bytes", "file", "array", "text")):
        (column,) = read(Table(path), "train", wants("inputs", "path", *form)).columns["inputs"]
        assert column.form == "file" and list(column.keys) == ["pictures/b", "pictures/a"]
        assert column.values == [str(tmp_path / "pictures/b"), str(tmp_path / "pictures/a")]
    image = Plain(columns=("path",), accepted=("file",), split_key="id")
    assert sorted(ids(Table(path), "train", image)) == ["pictures/a", "pictures/b"]


def test_lists_of_json_and_texts_beside_them(tmp_path):
    objects = [{"x": ["a", 1]}, {"x": "b c"}, {"x": []}]
    path = json_lines(tmp_path, objects)
    for forms in (("list", "text"), ("text", "list"), ("text", "bytes", "list")):
        (column,) = read(Table(path), "train", wants("target", "x", *forms)).columns["target"]
        assert column.form == "list" and list(column.values) == [["a", 1], "b c", []]
    (column,) = read(Table(path), "train", wants("target", "x", "text")).columns["target"]
    assert column.form == "text" and list(column.values) == ['["a", 1]', "b c", "[]"]
    rows = read(Table(path), "train", wants("target", "x", "list"))
    assert cells(rows, "target") == [[["a", 1], []]]
    assert [bad.reason for bad in rows.bad] == ["has 'b c' in the column x, not a list"]
    for plain in (json_lines(tmp_path, objects[1:2]), write(tmp_path, ["x", "b c"])):
        (column,) = read(Table(plain), "train", wants("target", "x", "list", "text")).columns[
            "target"
        ]
        assert column.form == "text" and list(column.values) == ["b c"]


def test_a_form_that_a_table_lacks_is_refused(tmp_path):
    path = write(tmp_path, ["text", "a"])
    message = "target.columns: the column 'text' of table .* holds text or number or file, not list"
    with pytest.raises(UserError, match=message):
        read(Table(path), "train", wants("target", "text", "list"))


@pytest.mark.field("Table.columns", "Table.header", "Table.delimiter")
def test_columns_header_and_delimiter(tmp_path):
    path = write(tmp_path, ["x;y", "1;2"])
    assert cells(read(Table(path), "train", wants("inputs", "y", "text")), "inputs") == [["2"]]
    named = Table(path, columns=("text", "label"), header=False)
    assert cells(read(named, "train", TEXT), "inputs") == [["x", "1"]]
    named = Table(path, columns=("text",), header=False, delimiter="|")
    assert cells(read(named, "train", TEXT), "inputs") == [["x;y", "1;2"]]


@pytest.mark.field("Table.split_column")
def test_splits_by_a_column_or_by_files(tmp_path):
    lines = [f"text {k},{'xyz'[k % 3]},{('train', 'test')[k % 2]}" for k in range(12)]
    path = write(tmp_path, ["text,label,part", *lines, "unused,x,"])
    for name, part in (("train", lines[::2]), ("test", lines[1::2])):
        write(tmp_path, ["text,label,part", *part], f"part_{name}.csv")
    column, files = Table(path, split_column="part"), Table(str(tmp_path / "part_{split}.csv"))
    assert column.open().split_names == files.open().split_names == ("test", "train")
    for name, first in (("train", 0), ("test", 1)):
        texts = [f"text {k}" for k in range(first, 12, 2)]
        for source in (column, files):
            assert cells(read(source, name, TEXT), "inputs") == [texts]
        order = hashed_part(texts)
        expected = [f"table.csv:{order[k] * 2 + first + 2}" for k in range(6)]
        assert ids(column, name) == expected
        expected = [f"part_{name}.csv:{k + 2}" for k in order]
        assert ids(files, name) == expected
    both = column.open().read([TEXT], ["test", "train"])
    assert [len(both[name]) for name in ("test", "train")] == [6, 6]
    for source in (column, files):
        with pytest.raises(UserError, match=r"no split 'dev'; it has test, train, and slices"):
            ids(source, "dev")
    none = Table(str(tmp_path / "none_{split}.csv"))
    with pytest.raises(UserError, match=r"no split 'train'; it has none.*config.data.train_split"):
        ids(none, "train")


@pytest.mark.parametrize("first, last", [(0, 40), (40, 100), (30, 35)])
def test_slices_are_ranges_of_hashes_of_the_text(tmp_path, first, last):
    texts = [f"text {k // 2}" for k in range(80)]
    path = write(tmp_path, ["text", *texts])
    expected = [f"table.csv:{k + 2}" for k in hashed_part(texts, first, last)]
    assert expected and ids(Table(path), f"train[{first}%:{last}%]") == expected
    whole = [f"table.csv:{k + 2}" for k in hashed_part(texts)]
    assert ids(Table(path), "train[5:-20]") == whole[5:-20]


@pytest.mark.field("Dataset.split_by")
def test_columns_of_split_by_are_hashed_in_place_of_the_input(tmp_path):
    rows = [(f"text {k}", f"{k // 3}") for k in range(60)]
    path = write(tmp_path, ["text,who", *map(",".join, rows)])
    expected = [f"table.csv:{k + 2}" for k in hashed_part([who for _, who in rows], 0, 50)]
    assert ids(Table(path), "train[:50%]", split_by=("who",)) == expected
    with pytest.raises(UserError, match="no column 'x' for config.data.split_by; its columns are"):
        ids(Table(path), "train", split_by=("x",))


@pytest.mark.field("Table.group")
def test_a_slice_parts_no_group(tmp_path):
    people = [f"p{k % 9}" for k in range(90)]
    path = write(tmp_path, ["text,who", *(f"text {k},{who}" for k, who in enumerate(people))])
    source = Table(path, group="who")
    assert read(source, "train", TEXT).groups == people
    parts = [
        Dataset(source=source, inputs=Plain()).open().split(f"train[{cut}]")
        for cut in (":40%", "40%:")
    ]
    for part, (first, last) in zip(parts, ((0, 40), (40, 100)), strict=True):
        expected = hashed_part(people, first, last)
        assert part.ids == [f"table.csv:{k + 2}" for k in expected]
        assert part.groups == [people[k] for k in expected]
    assert not set(parts[0].groups) & set(parts[1].groups)
    with pytest.raises(UserError, match="line 2: has nothing in the column who"):
        ids(Table(write(tmp_path, ["text,who", "a, "]), group="who"), "train")


@pytest.mark.field("Table.weight")
def test_weights_are_numbers_of_at_least_0(tmp_path):
    path = write(tmp_path, ["text,w", "a,0.5", "b,-1", "c,2", "d,x"])
    rows = read(Table(path, weight="w"), "train", TEXT)
    assert rows.weights.dtype == np.float32 and rows.weights.tolist() == [0.5, 2.0]
    assert [bad.reason for bad in rows.bad] == [
        "has -1.0 in the column w, not a weight of at least 0",
        "has 'x' in the column w, not a number of float32",
    ]


BAD = {
    "too few columns": (b"x", "has 1 columns, the header has 2"),
    "no number": (b"x,many", "has 'many' in the column label, not a number of float32"),
    "no finite number": (b"x,1e39", "has '1e39' in the column label, not a number of float32"),
    "not UTF-8": (b"\xff,1", "is not UTF-8"),
}


@pytest.mark.parametrize("line, reason", BAD.values(), ids=BAD)
def test_a_bad_line_is_named_or_skipped_as_a_whole(tmp_path, line, reason):
    path = write(tmp_path, b"\n".join([b"text,label", b"a,1.5", b"", line, b"b,2"]))
    number = wants("target", "label", "number")
    rows = read(Table(path), "train", TEXT, number)
    assert cells(rows, "inputs") == [["a", "b"]] and cells(rows, "target") == [[1.5, 2.0]]
    assert rows.bad == (("train", f"{path}, line 4", reason),)
    assert rows.bad_before.tolist() == [0, 1]
    plain = Plain(columns=("text", "label"), accepted=("number", "text"))
    text = Plain(columns=("label",), accepted=("number",))
    with pytest.raises(UserError, match=r"table\.csv, line \d: .*config\.data\.on_bad=skip"):
        ids(Table(path), "train", {"a": plain, "b": text})


def test_a_missing_file_is_a_bad_line(tmp_path):
    path = write(tmp_path, ["path", "none.png", "", ".", '" "'])
    rows = read(Table(path), "train", wants("inputs", "path", "file"))
    assert not len(rows) and [bad.reason for bad in rows.bad] == [
        f"there is no file {name!r} in {tmp_path}" for name in ("none.png", ".", "")
    ]


def test_a_missing_key_of_json_is_a_bad_line(tmp_path):
    path = json_lines(tmp_path, [{"text": "a"}, {"label": "b"}, {"text": None}])
    rows = read(Table(path), "train", TEXT)
    assert cells(rows, "inputs") == [["a", ""]]
    assert rows.bad == (("train", f"{path}, line 2", "has no column 'text'"),)


def test_a_bad_line_counts_in_its_split_or_in_all_if_it_names_none(tmp_path):
    lines = ["a,1,train", "b,x,train", "c,1,test", "d,x,test", "e,x,dev", "torn"]
    path = write(tmp_path, ["text,label,part", *lines])
    number = wants("target", "label", "number")
    table = Table(path, split_column="part")
    for split, line in (("train", 3), ("test", 5)):
        places = [bad.place for bad in read(table, split, TEXT, number).bad]
        assert places == [f"{path}, line {line}", f"{path}, line 7"]
    objects = [{"text": "a", "part": "train"}, {"text": "b"}]
    rows = read(Table(json_lines(tmp_path, objects), split_column="part"), "train", TEXT)
    assert [(bad.split, bad.reason) for bad in rows.bad] == [(None, "has no column 'part'")]


def test_breaks_count_bad_lines_and_rows_of_the_group_in_other_splits(tmp_path):
    lines = ["0,a,train", "1,b,train", "2,a,test", "3,a,train", "4,b,train", "x,b,test"]
    lines += ["6,a,train", "7,b,train"]
    path = write(tmp_path, ["n,who,part", *lines])
    source = Table(path, split_column="part", group="who")
    rows = read(source, "train", wants("inputs", "n", "number"))
    assert rows.bad_before.tolist() == [0, 0, 1, 0, 2, 1]


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"header": False}, "columns must name all columns without a header, got None"),
        ({"path": "x.jsonl", "columns": ("a",)}, "columns must be None, .* got .*'a'"),
        ({"path": "x.JSON", "header": False}, "columns must be None, header true and"),
        ({"path": "x.ndjson", "delimiter": ";"}, "columns must be None, header true and"),
        ({"path": "x_{split}.csv", "split_column": "part"}, "split_column must be None"),
        ({"delimiter": ""}, "delimiter must be None, 'tab' or one character, got ''"),
        ({"delimiter": "::"}, "delimiter must be None"),
        ({"delimiter": '"'}, "delimiter must be None"),
    ],
)
def test_fields_that_do_not_fit_each_other_are_refused(fields, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        Table(**{"path": "x.csv", **fields})


def test_a_missing_or_misread_table_is_an_error(tmp_path):
    path = write(tmp_path, ["text,label"])
    with pytest.raises(UserError, match=r"table\.csv has no good example in 'train'"):
        ids(Table(path), "train")
    with pytest.raises(UserError, match="no column 'part' for config.data.source.split_column"):
        Table(path, split_column="part").open()
    with pytest.raises(UserError, match="no column 'who' for config.data.source.group"):
        read(Table(path, group="who"), "train", TEXT)
    with pytest.raises(UserError, match=r"cannot read the table .*none\.csv: No such file"):
        ids(Table(str(tmp_path / "none.csv")), "train")


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    write(tmp_path, ["text", "a"])
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ids(Table("~/table.csv"), "train") == ["table.csv:2"]
