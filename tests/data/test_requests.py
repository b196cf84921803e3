"""Prediction reads files as training did, for all sources and inputs."""

import dataclasses
import io
import json
import types

import numpy as np
import pytest
from PIL import Image as Picture

from modelzoo.data import (
    ClassFolders,
    ClassLabel,
    Dataset,
    Image,
    ParallelText,
    Series,
    Table,
    Text,
    TextTarget,
    Values,
    Words,
)
from modelzoo.data.bound import BoundData
from modelzoo.data.columns import BadExample
from modelzoo.data.inputs.image import BoundImage
from modelzoo.data.inputs.series import BoundSeries
from modelzoo.data.requests import RequestReader
from modelzoo.fields.errors import UserError

ROWS = [(k, 100 + 10 * (k % 7), 15 + k % 3) for k in range(6)]
NAMES = ("time", "load", "heat")


def joined(delimiter, quote="", header=True, end="\n"):
    rows = [NAMES, *ROWS][not header :]
    return end.join(delimiter.join(f"{quote}{cell}{quote}" for cell in row) for row in rows)


TABLES = {
    "comma": ("a.csv", joined(","), {}),
    "comma and space": ("a.csv", joined(", "), {}),
    "semicolon": ("a.csv", joined(";"), {}),
    "bar": ("a.csv", joined("|"), {}),
    "tab": ("a.tsv", joined("\t"), {}),
    "tab by another name": ("a.txt", joined("\t"), {}),
    "quoted": ("a.csv", joined(",", '"'), {}),
    "quoted after spaces": ("a.csv", joined(", ", '"'), {}),
    "mark": ("a.csv", "\ufeff" + joined(","), {}),
    "carriage returns": ("a.csv", joined(",", end="\r"), {}),
    "both ends": ("a.csv", joined(",", end="\r\n") + "\r\n", {}),
    "given delimiter": ("a.csv", joined("/"), {"delimiter": "/"}),
    "no header": ("a.csv", joined(",", header=False), {"columns": NAMES, "header": False}),
    "other header": ("a.csv", "x" + joined(","), {"columns": NAMES}),
    "JSON": (
        "a.jsonl",
        "\n".join(json.dumps(dict(zip(NAMES, row, strict=True))) for row in ROWS),
        {},
    ),
}


def values(requests, part):
    return requests.split.gather(np.arange(len(requests.places)))[part].numpy()


def series(source, inputs=None):
    """Trains on a table, in which no target of a forecast is beyond the last row."""
    inputs = inputs or Series(columns=("load", "heat"), length=3, horizon=1)
    data = Dataset(source=source, inputs=inputs, target=Values(columns=("load",)))
    return RequestReader(data, data.open().bound)


@pytest.mark.parametrize("name, text, fields", TABLES.values(), ids=TABLES)
def test_a_table_is_predicted_as_one_of_its_format_was_trained_on(tmp_path, name, text, fields):
    (tmp_path / name).write_text(text)
    reader = series(Table(str(tmp_path / name), **fields))
    found = reader.from_table(str(tmp_path / name))
    assert values(found, "series").tolist() == [[list(row[1:]) for row in ROWS[-3:]]]
    line = len(ROWS) + fields.get("header", name != "a.jsonl")
    place = {"file": str(tmp_path / name), "line": line, "horizon": 1}
    assert (found.places, found.bad) == ([place], []) and reader.is_table(str(tmp_path / name))


@pytest.mark.parametrize("trained", ["comma", "tab", "JSON", "given delimiter"])
@pytest.mark.parametrize("given", ["comma and space", "semicolon", "tab", "JSON", "quoted"])
def test_formats_of_training_and_prediction_may_differ(tmp_path, trained, given):
    (_, text, fields), (name, other, _) = TABLES[trained], TABLES[given]
    suffix = ".dat" if trained == "given delimiter" else TABLES[trained][0][1:]
    (tmp_path / f"train{suffix}").write_text(text)
    (tmp_path / name).write_text(other)
    reader = series(Table(str(tmp_path / f"train{suffix}"), **fields))
    found = values(reader.from_table(str(tmp_path / name)), "series")
    assert found.tolist() == [[list(row[1:]) for row in ROWS[-3:]]]


def bound_series(columns, length=1, names=None, layout="rows_are_steps", **fields):
    config = Series(layout=layout, length=length if layout == "rows_are_steps" else 1, **fields)
    names = names or columns
    scale = (0.0,) * len(names), (1.0,) * len(names)
    bound = BoundSeries(config, columns, length, names, *scale)
    return RequestReader(
        Dataset(source=Table("none.csv"), inputs=config), BoundData({"": bound}, None)
    )


def test_each_row_is_a_series_if_a_row_was_an_example(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("a,b,c\n1,2,3\n4,x,6\n7,8,9\n1,2\n")
    across = bound_series(("a", "b", "c"), 3, ("value",), "columns_are_steps").from_table(str(path))
    assert values(across, "series").tolist() == [[[1], [2], [3]], [[7], [8], [9]]]
    assert across.places == [{"file": str(path), "line": line} for line in (2, 4)]
    assert [bad.place for bad in across.bad] == [f"{path}, line {line}" for line in (3, 5)]
    path.write_text("a,c\n1,2\n3,4\n5,6\n")
    single = bound_series(("c", "a"), layout="rows_are_examples").from_table(str(path))
    assert values(single, "series").tolist() == [[[2, 1]], [[4, 3]], [[6, 5]]]
    # Arrays [length, features] come as rows of steps.
    whole = bound_series(("c", "a"), 2, layout="rows_are_examples").from_table(str(path))
    assert values(whole, "series").tolist() == [[[4, 3], [6, 5]]]


LAST = {
    "good": ("1\n2\n3\n", [[2], [3]], ""),
    "bad before": ("no\n2\n3\n", [[2], [3]], ""),
    "bad within": ("1\n2\nno\n3\n", None, "{path}, line 4: has 'no' in the column x"),
    "bad at the end": ("1\n2\n3\nno\n", None, "{path}, line 5: has 'no' in the column x"),
    "too short": ("1\n", None, "table {path}: has 1 rows, the model needs 2"),
    "header alone": ("", None, "table {path}: has 0 rows, the model needs 2"),
    "all bad": ("no\n\nno\n", None, "{path}, line 4: has 'no' in the column x"),
}


@pytest.mark.parametrize("rows, expected, message", LAST.values(), ids=LAST)
def test_a_series_ends_at_the_last_row_or_there_is_none(tmp_path, rows, expected, message):
    path = tmp_path / "s.csv"
    path.write_text("x\n" + rows)
    found = bound_series(("x",), 2).from_table(str(path))
    if expected is None:
        assert found.split is None and not found.places
        ((_, place, reason),) = found.bad
        assert f"{place}: {reason}".startswith(message.format(path=path))
    else:
        assert values(found, "series").tolist() == [expected] and not found.bad


def test_each_group_has_a_forecast_of_its_own(tmp_path):
    path = tmp_path / "s.csv"
    rows = [f"{'ab'[k % 2]},{k}" for k in range(8)]
    path.write_text("\n".join(["who,x", *rows, "c,8", "c,no", "c,10", "c"]))
    reader = bound_series(("x",), 3, horizon=2)
    data = dataclasses.replace(reader._data, source=Table("none.csv", group="who"))
    found = RequestReader(data, reader._bound).from_table(str(path))
    assert values(found, "series")[..., 0].tolist() == [[2, 4, 6], [3, 5, 7]]
    assert found.places == [
        {"file": str(path), "line": line, "horizon": 2, "group": who}
        for line, who in ((8, "a"), (9, "b"))
    ]
    assert [f"{place}: {reason}" for _, place, reason in found.bad] == [
        f"{path}, line 11: has 'no' in the column x, not a number of float32",
        f"{path}, line 13: has 1 columns, the header has 2",
        f"table {path}, group c: has 2 rows, the model needs 3",
    ]


WORDS = Text(tokenizer=Words(), lengths=(8,))
MANY = Text(columns=("title", "body"), tokenizer=Words(), lengths=(8,))


def texts(folder, kind):
    """A reader of texts that learned from a source of the kind."""
    target, inputs = ClassLabel(), WORDS
    if kind == "table":
        source = Table(str(folder / "train.csv"))
        (folder / "train.csv").write_text("label,text\na,one\nb,two\n")
    elif kind == "table of lines":
        source = Table(str(folder / "train.txt"))
        (folder / "train.txt").write_text("label\ttext\na\tone\nb\ttwo\n")
    elif kind == "several columns":
        source, inputs = Table(str(folder / "train.tsv")), MANY
        (folder / "train.tsv").write_text("title\tlabel\tbody\none\ta\ttwo\nthree\tb\tfour\n")
    elif kind == "pairs":
        source = Table(str(folder / "train.jsonl"))
        inputs, target = dataclasses.replace(WORDS, columns=("en",)), TextTarget(columns=("de",))
        (folder / "train.jsonl").write_text('{"en": "one", "de": "eins"}\n')
    elif kind == "lines":
        source = ParallelText(str(folder / "x.en"), str(folder / "x.de"))
        target = TextTarget()
        for side in ("en", "de"):
            (folder / f"x.{side}").write_text("one\ntwo\n")
    else:
        source = ClassFolders(str(folder / "classes"))
        for name in "ab":
            (folder / "classes" / name).mkdir(parents=True)
            (folder / "classes" / name / "0.txt").write_text("one\ntwo\n")
    data = Dataset(source=source, inputs=inputs, target=target)
    return RequestReader(data, data.open().bound)


ROWS_OF_TEXT = {
    "table": (
        "new.csv",
        'text,label\n"one, or\nmore",a\ntwo,"b"\n',
        ["one, or\nmore", "two"],
        (2, 4),
    ),
    "table of lines": ("new.txt", 'text\tid\n"one\t1\ntwo\t2\n', ['"one', "two"], (2, 3)),
    "several columns": ("new.csv", "id;body;title\n1;x;y\n2;z;\n", ["y\nx", "z"], (2, 3)),
    "pairs": ("new.csv", "en,more\none,1\ntwo,2\n", ["one", "two"], (2, 3)),
    "lines": ("new.csv", "text,more\none,1\ntwo,2\n", ["one", "two"], (2, 3)),
    "files": ("new.jsonl", '{"text": "one"}\n{"text": "two\\n"}\n', ["one", "two"], (1, 2)),
}


@pytest.mark.parametrize("kind", ROWS_OF_TEXT)
def test_texts_in_tables_are_read_by_the_names_of_columns(tmp_path, kind):
    name, content, expected, lines = ROWS_OF_TEXT[kind]
    path = str(tmp_path / name)
    reader = texts(tmp_path, kind)
    (tmp_path / name).write_text(content)
    assert reader.is_table(path)
    found = reader.from_table(path)
    assert [text.decode() for text in values(found, "text")] == expected
    assert found.places == [{"file": path, "line": line} for line in lines] and not found.bad


@pytest.mark.parametrize("kind", ROWS_OF_TEXT)
def test_other_files_of_texts_are_read_by_line_or_as_a_whole(tmp_path, kind, monkeypatch):
    reader, path = texts(tmp_path, kind), str(tmp_path / "new.text")
    content = b"\xef\xbb\xbfone\r\n\ncaf\xc3\xa9\n"
    (tmp_path / "new.text").write_bytes(content)
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(content)))
    assert not reader.is_table(path) and not reader.is_table("-") and reader.takes_texts
    found = list(reader.from_files([path, "-"]))
    if kind == "files":
        assert reader.suffixes == (".txt",)
        assert found == [({"file": name}, "one\r\n\ncafé".encode()) for name in (path, "-")]
        return
    assert reader.suffixes == ()
    assert found == [
        ({"file": name, "line": line}, text.encode())
        for name in (path, "-")
        for line, text in enumerate(("one", "", "café"), 1)
    ]


BAD_TEXTS = {
    "UTF-16": ("one\ntwo\n".encode("utf-16"), "is UTF-16, not UTF-8"),
    "UTF-16 without a mark": ("one\ntwo\n".encode("utf-16-le"), "is UTF-16LE, not UTF-8"),
    "gzip": (b"\x1f\x8b\x08\0\0\0", "is not text but gzip"),
    "Latin-1": ("café".encode("latin-1"), "is not UTF-8"),
    "a NUL byte": (b"one\0", "has a NUL byte"),
    "missing": (None, "cannot be read (No such file or directory)"),
}


@pytest.mark.parametrize("kind", ["lines", "files"])
@pytest.mark.parametrize("content, message", BAD_TEXTS.values(), ids=BAD_TEXTS)
def test_what_is_no_text_is_named(tmp_path, kind, content, message):
    reader = texts(tmp_path, kind)
    if content is not None:
        (tmp_path / "new.text").write_bytes(content)
    ((place, value),) = reader.from_files([str(tmp_path / "new.text")])
    assert place["file"] == str(tmp_path / "new.text")
    assert isinstance(value, BadExample) and message in str(value)


def test_lines_that_end_with_carriage_returns_alone_are_refused(tmp_path):
    reader = texts(tmp_path, "lines")
    (tmp_path / "new.text").write_bytes(b"one\rtwo\r")
    ((_, value),) = reader.from_files([str(tmp_path / "new.text")])
    assert "ends its lines with carriage returns alone" in str(value)
    (tmp_path / "x.en").write_bytes(b"one\rtwo\r")
    with pytest.raises(UserError, match=r"x\.en ends its lines with carriage returns alone"):
        reader._data.open().bound  # noqa: B018


@pytest.mark.parametrize("source", ["table", "folders"])
def test_images_are_files_or_rows_that_name_them(tmp_path, source):
    for name in ("a", "b"):
        (tmp_path / "classes" / name).mkdir(parents=True)
        Picture.new("RGB", (4, 4), (9, 9, 9)).save(tmp_path / "classes" / name / "0.png")
    config = Image(size=(4, 4), channels=3)
    trained = Table("none.csv") if source == "table" else ClassFolders(str(tmp_path / "classes"))
    bound = BoundData({"": BoundImage(config, (4, 4, 3))}, None)
    reader = RequestReader(Dataset(source=trained, inputs=config), bound)
    path, picture = str(tmp_path / "new.csv"), str(tmp_path / "classes/a/0.png")
    (tmp_path / "new.csv").write_text("id,path\n1,classes/a/0.png\n2,new.csv\n3,none.png\n")
    assert reader.is_table(path) and not reader.is_table(picture) and ".png" in reader.suffixes
    found = reader.from_table(path)
    assert values(found, "image").tolist() == np.full((1, 4, 4, 3), 9).tolist()
    assert found.places == [{"file": path, "line": 2}]
    assert [bad.place for bad in found.bad] == [f"{path}, line {line}" for line in (4, 3)]
    ((place, content),) = reader.from_files([picture])
    assert place == {"file": picture} and content[:4] == b"\x89PNG"


@pytest.mark.parametrize("name", ["new.csv", "new.tsv", "new.jsonl"])
@pytest.mark.parametrize("kind", ["table", "several columns", "pairs", "files", "lines"])
def test_a_missing_column_is_named_beside_those_of_the_file(tmp_path, name, kind):
    reader = texts(tmp_path, kind)
    content = {"new.csv": "a,b\n1,2\n", "new.tsv": "a\tb\n1\t2\n", "new.jsonl": '{"a": 1, "b": 2}'}
    (tmp_path / name).write_text(content[name])
    column = {"several columns": "title", "pairs": "en"}.get(kind, "text")
    with pytest.raises(UserError) as error:
        reader.from_table(str(tmp_path / name))
    assert f"{name} has no column '{column}'" in str(error.value)
    assert str(error.value).endswith("for config.data.inputs.columns; its columns are a, b")
