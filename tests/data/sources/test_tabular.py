"""Lines of CSV, TSV and JSON lines, the delimiter, and cells as texts and numbers."""

import gzip
import json

import pytest

from modelzoo.data.columns import BadExample
from modelzoo.data.sources.tabular import number_of, read_lines, text_of
from modelzoo.fields.errors import UserError


def lines(folder, text, name="rows.csv", needed=(), **fields):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    needed = dict.fromkeys(needed, "config.data.inputs.columns")
    return list(read_lines(str(path), needed, **fields))


def cells(*args, **fields):
    return [line.cells for line in lines(*args, **fields)]


def test_json_lines_are_read_as_csv_is(tmp_path):
    objects = [{"text": f"t{k}", "label": str(k)} for k in range(4)]
    text = "\n".join(["", *map(json.dumps, objects), " "])
    csv = "text,label\n" + "".join(f"t{k},{k}\n" for k in range(4))
    assert cells(tmp_path, text, "rows.jsonl") == cells(tmp_path, csv) == objects
    assert [line.number for line in lines(tmp_path, text, "rows.jsonl")] == [2, 3, 4, 5]


BAD_JSON = {
    "not an object": (b"[1]", "is not a JSON object"),
    "torn": (b'{"path": "2.png", ', "is not a JSON object"),
    "too deep": (b"[" * 100_000, "is not a JSON object"),
    "not UTF-8": (b'{"path": "\xff"}', "is not UTF-8"),
    "half a character": (rb'{"path": "\ud83d"}', "is not UTF-8"),
}


@pytest.mark.parametrize("line, reason", BAD_JSON.values(), ids=BAD_JSON)
def test_a_bad_json_line_harms_no_other(tmp_path, line, reason):
    good = b'{"path": "x"}'
    found = lines(tmp_path, b"\n".join([good, b"", line, good]), "rows.jsonl")
    assert [(one.number, one.reason) for one in found] == [(1, ""), (3, reason), (4, "")]


BAD_CSV = {
    "too few columns": (b"x", "has 1 columns, the header has 2"),
    "too many columns": (b"x,y,z", "has 3 columns, the header has 2"),
    "not UTF-8": (b"x,\xff", "is not UTF-8"),
    "a NUL byte": (b"x,\0", "has a NUL byte"),
    "a torn quote": (b'"x" x,1', "is not a line of columns (',' expected after '\"')"),
}


@pytest.mark.parametrize("line, reason", BAD_CSV.values(), ids=BAD_CSV)
def test_a_bad_csv_line_harms_no_other(tmp_path, line, reason):
    found = lines(tmp_path, b"\n".join([b"a,b", b"1,2", b"", line, b"3,4"]))
    assert [(one.number, one.reason) for one in found] == [(2, ""), (4, reason), (5, "")]


CSV = {"comma": (",", "r.csv"), "semicolon": (";", "r.csv"), "bar": ("|", "r.csv")}
GOOD = [["text", "label"], *([f"text {k}", f"{k}"] for k in range(40))]
STRAY = {  # Cells of a line of its own, the number of the line, and whether the line is bad.
    "never closed": {9: ('"never again', "b")},
    "never closed in the last column": {9: ("never", '"b')},
    "never closed in the last line": {40: ('"never again', "b")},
    "closed before other text": {9: ('"never', "b"), 30: ('"again" he wrote', "c")},
    "closed at once before other text": {9: ('"never" again', "b")},
    "closed by a cell in quotes": {9: ('"never', "b"), 12: ('"again', '"c"')},
    "twice": {9: ('"never', "b"), 10: ('"again', "c")},
}


@pytest.mark.parametrize("delimiter, name", CSV.values(), ids=CSV)
@pytest.mark.parametrize("stray", STRAY.values(), ids=STRAY)
def test_a_stray_quote_costs_its_own_line(tmp_path, delimiter, name, stray):
    rows = [stray.get(k, row) for k, row in enumerate(GOOD)]
    text = "".join(delimiter.join(row) + "\n" for row in rows)
    found = lines(tmp_path, text, name, ("text",))
    assert [line.number for line in found] == list(range(2, 42))
    assert {line.number - 1 for line in found if line.reason} == set(stray)
    expected = [row for k, row in enumerate(GOOD) if k and k not in stray]
    assert [list(line.cells.values()) for line in found if not line.reason] == expected


def test_a_quote_that_is_closed_many_lines_below_costs_its_own_line(tmp_path):
    rows = list(GOOD)
    rows[9], rows[30] = ['"never', "b"], ['again"', "c"]
    found = lines(tmp_path, "".join(",".join(row) + "\n" for row in rows))
    assert [line.number for line in found] == list(range(2, 42))
    assert [(line.number, line.reason) for line in found if line.reason] == [
        (10, "opens a quote that is not closed")
    ]


def test_a_cell_in_quotes_may_have_many_lines(tmp_path):
    long = "\n".join(["Dear Sir, I", "", *(f"line {k} of, many, more" for k in range(50))])
    found = lines(tmp_path, f'text,label\n"{long}",1\n"two, or\nthree, or\nfour",2\nlast,3\n')
    assert [(line.number, line.reason) for line in found] == [(2, ""), (54, ""), (57, "")]
    assert found[0].cells == {"text": long, "label": "1"}
    assert found[1].cells["text"] == "two, or\nthree, or\nfour"
    # In a table of one column every line could be a row.
    (one,) = lines(tmp_path, 'text\n"' + "x\n" * 50 + '"\n')
    assert one.cells["text"].count("x") == 50


@pytest.mark.parametrize("stray", STRAY.values(), ids=STRAY)
def test_a_quote_is_a_character_between_tabs(tmp_path, stray):
    rows = [list(stray.get(k, row)) for k, row in enumerate(GOOD)]
    found = cells(tmp_path, "".join("\t".join(row) + "\n" for row in rows), "r.tsv")
    assert [list(row.values()) for row in found] == rows[1:]


def test_a_space_may_follow_a_delimiter(tmp_path):
    assert cells(tmp_path, 'a, "b"\n1, "2, 3"\n') == [{"a": "1", "b": "2, 3"}]


FORMATS = {
    **{name: ("a,b\n1,2\n3,4\n".encode(name), f"is {name.upper()}, not UTF-8: convert it")
       for name in ("utf-16", "utf-32", "utf-16le", "utf-16be", "utf-32le", "utf-32be")},
    "gzip": (gzip.compress(b"a,b\n1,2\n"), "is not text but gzip: decompress it"),
    "zip": (b"PK\x03\x04 a workbook", "is not text but a zip file or an Excel workbook"),
}  # fmt: skip


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv", "rows.jsonl"])
@pytest.mark.parametrize("content, message", FORMATS.values(), ids=FORMATS)
def test_a_file_that_is_no_utf8_is_named(tmp_path, name, content, message):
    with pytest.raises(UserError, match=rf"{name} {message}"):
        lines(tmp_path, content, name)


def test_lines_may_end_with_carriage_returns(tmp_path):
    for end in ("\r", "\r\n", "\n"):
        for name, text in (("r.csv", "a,b|1,2|3,4|"), ("r.tsv", "a\tb|1\t2|3\t4|")):
            found = lines(tmp_path, text.replace("|", end), name)
            assert [list(line.cells.values()) for line in found] == [["1", "2"], ["3", "4"]]
            assert [line.number for line in found] == [2, 3]


def test_json_without_a_needed_column_is_an_error(tmp_path):
    text = '{"a": 1}\n[]\n{"b": 2}\n'
    with pytest.raises(UserError, match="no column 'c' for config.data.inputs.columns; .* a, b$"):
        lines(tmp_path, text, "rows.jsonl", ("a", "c"))
    assert len(lines(tmp_path, text, "rows.jsonl", ("a", "b"))) == 3


def test_a_byte_order_mark_quotes_and_long_cells_are_understood(tmp_path):
    text = f'\ufeffpath, label \r\n"p","a ""b"", c"\r\nq,{"a" * 2**18}\r\n'
    assert cells(tmp_path, text) == [
        {"path": "p", "label": 'a "b", c'},
        {"path": "q", "label": "a" * 2**18},
    ]


def test_columns_are_named_without_a_header_or_in_its_place(tmp_path):
    named = {"columns": ("label", "path"), "needed": ("path",)}
    expected = [{"label": "x", "path": "0.png"}, {"label": "y", "path": "1.png"}]
    rows = "x, 0.png\ny,1.png\n"
    assert cells(tmp_path, rows, header=False, **named) == expected
    assert cells(tmp_path, "what,where\n" + rows, **named) == expected
    with pytest.raises(UserError, match="no column 'path' .*columns are what, where"):
        cells(tmp_path, "what,where\n" + rows, needed=("path",))
    with pytest.raises(UserError, match=r"has 2 columns and config.data.source.columns names 3"):
        cells(tmp_path, "what,where\n", columns=("a", "b", "c"))
    torn = lines(tmp_path, rows + "x\n", header=False, **named)
    assert torn[-1].reason == "has 1 columns, config.data.source.columns names 2"


@pytest.mark.parametrize(
    "name, text, fields, expected",
    [
        ("a.tsv", "text;x\tlabel\na\tb\n", {}, {"text;x": "a", "label": "b"}),
        ("a.TAB", "text,x\na,b\n", {}, {"text,x": "a,b"}),
        ("a.csv", "text;label\na,b;c\n", {}, {"text": "a,b", "label": "c"}),
        ("a.txt", "text\tlabel\na\tb\n", {}, {"text": "a", "label": "b"}),
        ("a.txt", "text|label\na|b\n", {}, {"text": "a", "label": "b"}),
        ("a.csv", "text\na;b\n", {}, {"text": "a;b"}),
        ("a.csv", "one, two;text\na;b\n", {}, {"one, two": "a", "text": "b"}),
        ("a.csv", "text;label\na;b\n", {"delimiter": ";"}, {"text": "a", "label": "b"}),
        ("a.csv", "text,x\tlabel\na\tb\n", {"delimiter": "tab"}, {"text,x": "a", "label": "b"}),
        (
            "a.csv",
            "a;b,c\n",
            {"columns": ("text", "y"), "header": False},
            {"text": "a;b", "y": "c"},
        ),
        ("a.csv", "a;b\n", {"columns": ("text", "y"), "header": False}, {"text": "a", "y": "b"}),
    ],
)
def test_the_delimiter_is_that_of_the_config_the_name_or_the_first_line(
    tmp_path, name, text, fields, expected
):
    needed = ("text",) if "text" in expected else ()
    assert cells(tmp_path, text, name, needed, **fields) == [expected]


@pytest.mark.parametrize(
    "text, message",
    [
        ("", r"rows\.csv has no header"),
        ("file,label\n", "has no column 'path' for config.data.inputs.columns; .* file, label"),
        ("path,path\n", "more than one column 'path' for config.data.inputs.columns"),
    ],
)
def test_a_header_without_a_needed_column_is_an_error(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        lines(tmp_path, text, needed=("path",))
    with pytest.raises(UserError, match=r"cannot read the table .*none: No such file.*source\.pa"):
        list(read_lines(str(tmp_path / "none"), {}))


def test_cells_as_texts_and_numbers():
    row = {"a": " x ", "b": None, "c": 1.50, "d": True, "e": "", "f": [1]}
    assert [text_of(row, name) for name in "abcdef"] == ["x", "", "1.5", "true", "", "[1]"]
    with pytest.raises(BadExample, match="^has no column 'g'$"):
        text_of(row, "g")
    assert number_of("-1e-3", "a") == -1e-3
    for text in ("many", "1e39", "nan", "inf", "", "true"):
        with pytest.raises(BadExample, match=f"^has '{text}' in the column a, not a number"):
            number_of(text, "a")
