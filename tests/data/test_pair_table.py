"""Pairs in tables: the columns of both sides, references in lists, and every bad line."""

import json

import pytest
from modelzoo.data.pair_table import PairTable

from modelzoo.data.tokenizers import Words
from modelzoo.fields.errors import UserError


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def rows_of(source):
    """Id to the source text and the references."""
    texts = [t.decode() for t in source.gather(range(source.num_examples))["text"].numpy()]
    return dict(zip(source.ids, zip(texts, source.references, strict=True), strict=True))


def table(path, **fields):
    return PairTable(path, tokenizer=Words(), **fields)


@pytest.mark.field("PairTable.source_columns", "PairTable.target_column")
@pytest.mark.parametrize("name, comma", [("a.csv", ","), ("a.tsv", "\t")])
def test_columns_are_the_sides(tmp_path, name, comma):
    lines = [["id", "en", "de"], ["1", " a house ", "ein Haus"], ["2", '"a\ntree"', "ein Baum"]]
    path = write(tmp_path / name, "\n".join(comma.join(line) for line in lines))
    source = table(path, source_columns=("en",), target_column="de").open("train")
    assert rows_of(source) == {
        f"{name}:2": ("a house", ("ein Haus",)),
        f"{name}:3": ("a\ntree", ("ein Baum",)),
    }
    assert "haus" in source.spec.tokenizer.vocabulary and source.spec.shared
    with pytest.raises(UserError, match="no column 'source' for config.data.source_columns; .* id"):
        table(path, target_column="de").open("train")
    with pytest.raises(UserError, match="no column 'target' for config.data.target_column"):
        table(path, source_columns=("en",)).open("train")


@pytest.mark.field("PairTable.source_columns", "PairTable.target_column")
def test_lists_are_references_and_several_columns_are_joined(tmp_path):
    rows = [
        {"question": "who?", "context": "Ann ran.", "target": ["Ann", "Ann did"], "s": "train"},
        {"question": "when?", "context": "", "target": 1999, "s": "train"},
        {"question": "why?", "context": "Bo sat.", "target": "so", "s": "test"},
    ]
    path = write(tmp_path / "qa.jsonl", "\n".join(map(json.dumps, rows)))
    config = table(path, source_columns=("question", "context"), split_column="s")
    source = config.open("train")
    assert rows_of(source) == {
        "qa.jsonl:1": ("who?\nAnn ran.", ("Ann", "Ann did")),
        "qa.jsonl:2": ("when?", ("1999",)),
    }
    # The first is trained on.
    spec, row = source.spec, source.ids.index("qa.jsonl:1")
    target = source.gather([row])["target"][0].numpy().tolist()
    assert target[:2] == [spec.tokenizer.vocabulary.index("ann"), spec.target_end]
    assert "did" not in spec.tokenizer.vocabulary
    assert rows_of(config.open("test")) == {"qa.jsonl:3": ("why?\nBo sat.", ("so",))}


BAD = [
    ({"source": "x", "target": []}, "has nothing in the column target"),
    ({"source": "x", "target": ["a", " "]}, "has nothing in the column target"),
    ({"source": "x", "target": ""}, "has nothing in the column target"),
    ({"source": None, "target": "a"}, "has nothing in the column source"),
    ({"source": "x"}, "has no column 'target'"),
    ({"target": "a"}, "has no column 'source'"),
]


@pytest.mark.field("PairTable.on_bad_line")
@pytest.mark.parametrize("bad, reason", BAD, ids=range(len(BAD)))
def test_a_bad_line_is_named_or_skipped(tmp_path, bad, reason):
    lines = [{"source": "fine", "target": "gut"}, bad]
    path = write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, lines)))
    with pytest.raises(UserError, match=rf"a\.jsonl, line 2: {reason}; .*on_bad_line='skip'"):
        table(path).open("train")
    source = table(path, on_bad_line="skip").open("train")
    assert source.ids == ["a.jsonl:1"] and source.skipped == [(f"{path}, line 2", reason)]


def test_slices_part_no_source_and_no_group(tmp_path):
    lines = [f"text {k // 2}\tText {k}\t{k // 10}" for k in range(80)]
    path = write(tmp_path / "a.tsv", "\n".join(["source\ttarget\tperson", *lines]))
    for group, size in ((None, 2), ("person", 10)):
        config = table(path, group_column=group)
        parts = [config.open(f"train[{part}]") for part in (":60%", "60%:")]
        keys = [{(int(name.split(":")[1]) - 2) // size for name in part.ids} for part in parts]
        assert not keys[0] & keys[1] and sum(part.num_examples for part in parts) == 80
    assert sorted(parts[0].groups) == sorted(
        lines[int(name.split(":")[1]) - 2].split("\t")[2] for name in parts[0].ids
    )
    data = table(path, group_column="person", fold=(1, 4, 0), test_split="train")
    groups = [set(data.open(role).groups) for role in ("train", "test")]
    assert groups[0] and groups[1] and not groups[0] & groups[1]


def test_no_columns_are_refused():
    with pytest.raises(ValueError, match="^source_columns must name columns"):
        PairTable("a.csv", source_columns=())
