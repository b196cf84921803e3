"""Tables by column: JSON lines, names for columns, and what every table refuses."""

import json

import numpy as np
import pytest
from PIL import Image

from modelzoo.data.table import ImageTable
from modelzoo.fields.errors import UserError


def write(folder, text, name):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


@pytest.fixture
def folder(tmp_path):
    for k in range(4):
        Image.fromarray(np.full((3, 3), k, np.uint8)).save(tmp_path / f"{k}.png")
    return tmp_path


def rows_of(source):
    raw = source.gather(np.arange(source.num_examples))
    return dict(zip(source.ids, raw["label"].numpy().tolist(), strict=True))


def json_lines(folder, objects, name="rows.jsonl"):
    return write(folder, "\n".join(["", *map(json.dumps, objects), " "]), name)


def test_json_lines_read_as_csv_does(folder):
    objects = [{"path": f"{k}.png", "label": k % 3, "more": None} for k in range(4)]
    path = json_lines(folder, objects, "rows.json")
    expected = "path,label\n" + "".join(f"{k}.png,{k % 3}\n" for k in range(4))
    for targets in ("class", "values"):
        source = ImageTable(path, targets=targets).open("train")
        table = ImageTable(write(folder, expected, "rows.csv"), targets=targets).open("train")
        assert rows_of(source) == rows_of(table) and source.spec == table.spec
    assert source.spec.targets == "values" and table.spec.class_names == ("label",)


def test_tags_of_json_lines_are_lists_or_parted_texts(folder):
    tags = {"0.png": ["b", "a"], "1.png": [], "2.png": ["c", 7], "3.png": [" a "]}
    path = json_lines(folder, [{"path": name, "label": tags[name]} for name in tags])
    source = ImageTable(path, targets="tags").open("train")
    assert source.spec.class_names == ("7", "a", "b", "c")
    expected = [[0, 1, 1, 0], [0, 0, 0, 0], [1, 0, 0, 1], [0, 1, 0, 0]]
    assert rows_of(source) == dict(zip(tags, expected, strict=True))
    lines = [{"path": name, "label": ";".join(map(str, tags[name]))} for name in tags]
    parted = ImageTable(json_lines(folder, lines), targets="tags", tag_separator=";").open("train")
    assert rows_of(parted) == rows_of(source)


BAD = {
    "no object": (b"[1]", "is no JSON object"),
    "torn": (b'{"path": "2.png", ', "is no JSON object"),
    "too deep": (b"[" * 100_000, "is no JSON object"),
    "no column": (b'{"path": "2.png"}', "has no column 'label'"),
    "null": (b'{"path": "2.png", "label": null}', "has nothing in the column label"),
    "not UTF-8": (b'{"path": "2.png", "label": "\xff"}', "is not UTF-8"),
    "half a character": (rb'{"path": "2.png", "label": "\ud83d"}', "is not UTF-8"),
}


@pytest.mark.parametrize("line, reason", BAD.values(), ids=BAD)
def test_a_bad_json_line_is_named_or_skipped(folder, line, reason):
    good = [b'{"path": "%d.png", "label": "x"}' % k for k in range(2)]
    path = write(folder, b"\n".join([good[0], b"", line, good[1]]), "rows.jsonl")
    with pytest.raises(UserError, match=rf"rows\.jsonl, line 3: {reason}; .*on_bad_image='skip'"):
        ImageTable(path).open("train")
    source = ImageTable(path, on_bad_image="skip").open("train")
    assert rows_of(source) == {"0.png": 0, "1.png": 0}
    assert source.skipped == [(f"{path}, line 3", reason)]


def test_a_json_line_whose_split_cannot_be_read_counts_in_all(folder):
    lines = [{"path": f"{k}.png", "label": "x", "part": "train"} for k in range(2)]
    path = json_lines(folder, [*lines, {"path": "2.png", "label": "x"}])
    with pytest.raises(UserError, match=r"line 4: has no column 'part'"):
        ImageTable(path, split_column="part").open("train")
    source = ImageTable(path, split_column="part", on_bad_image="skip").open("train")
    assert source.num_examples == 2 and len(source.skipped) == 1


def test_one_column_of_json_is_no_tag_of_0_or_1(folder):
    path = json_lines(folder, [{"path": "0.png", "label": 1}])
    with pytest.raises(UserError, match="line 2: has '1' in the column label, no list of tags"):
        ImageTable(path, targets="tags").open("train")


@pytest.mark.field("Lines.columns", "Lines.header")
def test_columns_are_named_without_a_header_or_in_its_place(folder):
    rows = "".join(f"{'xy'[k % 2]},  {k}.png\n" for k in range(4))
    expected = {f"{k}.png": k % 2 for k in range(4)}
    named = {"columns": ("label", "path")}
    plain = ImageTable(write(folder, rows, "rows.csv"), header=False, **named)
    assert rows_of(plain.open("train")) == expected
    headed = ImageTable(write(folder, "what,where\n" + rows, "rows.csv"), **named)
    assert rows_of(headed.open("train")) == expected
    with pytest.raises(UserError, match="no column 'path' .*columns are what, where"):
        ImageTable(headed.path).open("train")
    with pytest.raises(UserError, match="has 2 columns and config.data.columns names 3"):
        ImageTable(headed.path, columns=("label", "path", "more")).open("train")
    torn = ImageTable(write(folder, rows + "x\n", "rows.csv"), header=False, **named)
    with pytest.raises(UserError, match="line 5: has 1 columns, config.data.columns names 2"):
        torn.open("train")


def test_a_cell_may_be_longer_than_csv_takes_by_itself(folder):
    path = write(folder, f'path,label,text\n0.png,x,"{"a" * 2**18}"\n', "rows.csv")
    assert ImageTable(path).open("train").num_examples == 1


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"header": False}, "columns must name all columns without a header, got None"),
        ({"path": "x.jsonl", "columns": ("a",)}, "columns must be None .* got .*'a'"),
        ({"path": "x.JSON", "header": False}, "columns must be None and header true"),
        ({"targets": "labels"}, "targets must be 'class', 'tags' or 'values', got 'labels'"),
    ],
)
def test_fields_that_do_not_fit_each_other_are_refused(fields, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        ImageTable(**{"path": "x.csv", **fields})
