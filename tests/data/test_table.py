"""A table of images: targets of each kind, splits, and every bad line by its number."""

import numpy as np
import pytest
from PIL import Image

from modelzoo.data import source as source_module
from modelzoo.data.folder import ImageFolder
from modelzoo.data.table import ImageTable
from modelzoo.fields.errors import UserError

NAMES = [f"{k}.png" for k in range(12)]


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for name in NAMES:
        Image.fromarray(rng.integers(0, 256, (5, 4, 3), np.uint8)).save(
            tmp_path / "pictures" / name
        )
    return tmp_path


def write(folder, lines, name="table.csv"):
    text = lines if isinstance(lines, bytes) else "\n".join(lines).encode()
    (folder / name).write_bytes(text)
    return str(folder / name)


def rows_of(source):
    raw = source.gather(np.arange(source.num_examples))
    return dict(zip(source.ids, raw["label"].numpy().tolist(), strict=True))


def lines_of(header, cell):
    return [header, *(f"pictures/{name},{cell(k)}" for k, name in enumerate(NAMES))]


@pytest.mark.field("Lines.path")
@pytest.mark.parametrize("memory_limit", [2**30, 0], ids=["in memory", "from files"])
def test_classes_and_pixels(folder, memory_limit, monkeypatch):
    monkeypatch.setattr(source_module, "MEMORY_LIMIT", memory_limit)
    path = write(folder, lines_of("path,label", lambda k: ("dog", "cat", "ant")[k % 3]))
    source = ImageTable(path).open("train")
    assert source.spec.class_names == ("ant", "cat", "dog") and source.spec.shape == (5, 4, 3)
    assert rows_of(source) == {f"pictures/{k}.png": 2 - k % 3 for k in range(12)}
    raw = source.gather(np.array([3]))
    if memory_limit:
        pixels = np.asarray(Image.open(folder / source.ids[3]))
        np.testing.assert_array_equal(raw["image"][0], pixels)
    else:
        assert raw["encoded"][0].numpy() == (folder / source.ids[3]).read_bytes()
    assert source.spec.targets == "class"
    whole = ImageTable(path, image_size=(3, 3)).open("train", encoded=True).gather(np.array([3]))
    assert whole["encoded"][0].numpy() == (folder / source.ids[3]).read_bytes()


@pytest.mark.field("Table.targets", "Table.tag_separator", "Table.target_columns")
def test_tags_in_one_column_or_one_column_for_each(folder):
    tags = [("b", "a"), (), ("c",), ("a",)]
    path = write(folder, lines_of("path,what", lambda k: " ; ".join(tags[k % 4])))
    config = ImageTable(path, targets="tags", target_columns=("what",), tag_separator=";")
    source = config.open("train")
    assert source.spec.targets == "tags" and source.spec.class_names == ("a", "b", "c")
    table = [[1, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]]
    expected = {f"pictures/{k}.png": table[k % 4] for k in range(12)}
    assert rows_of(source) == expected
    path = write(folder, lines_of("path,c,a,b", lambda k: "{2},{0},{1}".format(*table[k % 4])))
    source = ImageTable(path, targets="tags", target_columns=("a", "b", "c")).open("train")
    assert source.spec.class_names == ("a", "b", "c") and rows_of(source) == expected
    assert source.gather(np.array([0]))["label"].dtype == np.float32


@pytest.mark.field("ImageTable.image_column")
def test_values_of_tabs_and_other_names(folder):
    lines = ["age\tphoto\tmass", *(f"{k / 2}\tpictures/{n}\t-1e-3" for k, n in enumerate(NAMES))]
    path = write(folder, lines, "table.TSV")
    config = ImageTable(
        path, image_column="photo", targets="values", target_columns=("mass", "age")
    )
    source = config.open("train")
    assert source.spec.targets == "values" and source.spec.class_names == ("mass", "age")
    np.testing.assert_allclose(
        list(rows_of(source).values()),
        [[-1e-3, int(name[9:-4]) / 2] for name in source.ids],
        rtol=1e-6,
    )


def test_slices_are_by_the_hash_of_the_path_as_those_of_a_folder(folder):
    path = write(folder, lines_of("path,label", lambda k: "pictures"))
    source = ImageTable(path, train_split="train[:60%]", test_split="train[60%:]").open("train")
    other = ImageFolder(data_dir=str(folder), train_split="train[:60%]", test_split=None)
    assert source.ids == other.open("train").ids and 0 < source.num_examples < 12
    assert ImageTable(path).open("train[2:7]").ids == other.open("train[2:7]").ids


@pytest.mark.field("Lines.split_column")
def test_splits_by_a_column_or_by_files(folder):
    lines = lines_of("path,label,part", lambda k: f"{'xyz'[k % 3]},{('train', 'test')[k % 2]}")
    path = write(folder, lines)
    config = ImageTable(path, split_column="part")
    parts = {name: config.open(name) for name in ("train", "test")}
    assert set(parts["test"].ids) == {f"pictures/{k}.png" for k in range(1, 12, 2)}
    for name, rows in (("train", lines[1::2]), ("test", lines[2::2])):
        write(folder, [lines[0], *rows], f"part_{name}.csv")
    files = ImageTable(str(folder / "part_{split}.csv"))
    for name, source in parts.items():
        other = files.open(name)
        assert rows_of(other) == rows_of(source)
        # Classes are those of all splits that the config names.
        assert other.spec == source.spec and source.spec.class_names == ("x", "y", "z")
    with pytest.raises(UserError, match=r"no split 'dev'.*it has test, train, and slices"):
        config.open("dev")
    with pytest.raises(UserError, match=r"no split 'dev'.*it has test, train, .*validation_split"):
        ImageTable(str(folder / "part_{split}.csv"), validation_split="dev").open("validation")


def test_a_skipped_line_counts_in_its_own_split(folder):
    rows = {"train": ["pictures/0.png,x", "none.png,x"], "test": ["pictures/1.png,x", "gone.png,x"]}
    for name, lines in rows.items():
        write(folder, ["path,label", *lines], f"part_{name}.csv")
    lines = [f"{line},{name}" for name in rows for line in rows[name]]
    path = write(folder, ["path,label,part", *lines, "torn"])
    files = ImageTable(str(folder / "part_{split}.csv"), on_bad_image="skip")
    column = ImageTable(path, split_column="part", on_bad_image="skip")
    for split, file, line in (("train", "none.png", 3), ("test", "gone.png", 5)):
        [(_, why)] = files.open(split).skipped
        assert repr(file) in why
        assert [where for where, _ in column.open(split).skipped] == [
            f"{path}, line {number}" for number in (line, 6)
        ]


def test_groups_are_those_of_the_images_that_are_kept(folder):
    path = write(folder, lines_of("path,label,who", lambda k: f"x,{'pqr'[k % 3]}"))
    (folder / "pictures/4.png").write_bytes(b"text")
    config = ImageTable(path, group_column="who", on_bad_image="skip")
    source = config.open("train")
    assert len(source.ids) == 11
    assert source.groups == ["pqr"[int(name[9:-4]) % 3] for name in source.ids]
    parts = [set(config.open(split).groups) for split in ("train[:40%]", "train[40%:]")]
    assert parts[0] and parts[1] and not parts[0] & parts[1]


GOOD = ("pictures/0.png,1.5", "pictures/1.png,2")
BAD = {
    "a missing file": (b"pictures/none.png,1", "there is no image file 'pictures/none.png' in"),
    "a folder": (b"pictures,1", "there is no image file 'pictures'"),
    "too few columns": (b"pictures/2.png", "has 1 columns, the header has 2"),
    "too many columns": (b"pictures/2.png,1,1", "has 3 columns, the header has 2"),
    "no number": (b"pictures/2.png,many", "has 'many' in the column label, no number"),
    "no finite number": (b"pictures/2.png,1e39", "has '1e39' in the column label, no number"),
    "not UTF-8": (b"pictures/2.png,\xff1", "is not UTF-8"),
    "a torn quote": (b'"pictures/2.png" x,1', "is no line of columns"),
}


@pytest.mark.parametrize("line, reason", BAD.values(), ids=BAD)
def test_a_bad_line_is_named_or_skipped(folder, line, reason):
    first, last = (text.encode() for text in GOOD)
    path = write(folder, b"\n".join([b"path,label", first, b"", line, last]))
    config = {"path": path, "targets": "values"}
    with pytest.raises(UserError, match=rf"table\.csv, line 4: {reason}.*on_bad_image='skip'"):
        ImageTable(**config).open("train")
    source = ImageTable(**config, on_bad_image="skip").open("train")
    assert rows_of(source) == {"pictures/0.png": [1.5], "pictures/1.png": [2.0]}
    [(where, why)] = source.skipped
    assert where.endswith("table.csv, line 4") and why.startswith(reason)


def test_bad_tags_and_classes_and_corrupt_images_are_named(folder):
    path = write(folder, ["path,label", "pictures/0.png,2"])
    with pytest.raises(UserError, match="line 2: has '2' in the column label, not 0 or 1"):
        ImageTable(path, targets="tags").open("train")
    path = write(folder, ["path,label", "pictures/0.png, "])
    with pytest.raises(UserError, match="line 2: has nothing in the column label"):
        ImageTable(path).open("train")
    with pytest.raises(UserError, match="has no tag in the column label"):
        ImageTable(path, targets="tags", tag_separator=";").open("train")
    path = write(folder, ["path,label", "pictures/0.png,x", "pictures/1.png,x", "none.png,x"])
    (folder / "pictures/1.png").write_bytes(b"text")
    source = ImageTable(path, on_bad_image="skip").open("train")
    assert source.ids == ["pictures/0.png"]
    assert [name for name, _ in source.skipped] == [f"{path}, line 4", "pictures/1.png"]
    path = write(folder, ["path,label", "pictures/0.png,x", "pictures/1.png,x"])
    with pytest.raises(UserError, match=r"table .*table\.csv: the image pictures/1.png is no PNG"):
        ImageTable(path, image_size=(5, 4), channels=3).open("train")


def test_a_byte_order_mark_and_quotes_are_understood(folder):
    text = '\ufeffpath,label\r\n"pictures/0.png","a ""b"", c"\r\n'
    path = write(folder, text.replace("path,label", "path, label ").encode())
    assert ImageTable(path).open("train").spec.class_names == ('a "b", c',)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"targets": "class", "target_columns": ("a", "b")}, "target_columns must name one column"),
        ({"targets": "values", "target_columns": ()}, "target_columns must name columns"),
        ({"tag_separator": ";"}, "tag_separator must be None .* where it is 'class'"),
        ({"targets": "tags", "tag_separator": ""}, "tag_separator must be None"),
        ({"path": "x_{split}.csv", "split_column": "part"}, "split_column must be None"),
    ],
)
def test_fields_that_do_not_fit_each_other_are_refused(fields, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        ImageTable(**{"path": "x.csv", **fields})


@pytest.mark.parametrize(
    "text, fields, message",
    [
        ("", {}, "no header"),
        ("path,label\n", {}, "no split 'train' or no good line in it; it has none"),
        ("file,label\n", {}, "no column 'path' for config.data.image_column; .* file, label"),
        ("path,label,label\n", {}, "more than one column 'label' for config.data.target_columns"),
        ("path,label\n", {"split_column": "part"}, "no column 'part' for config.data.split_column"),
    ],
)
def test_a_table_that_is_none_is_told(tmp_path, text, fields, message):
    path = write(tmp_path, [text])
    with pytest.raises(UserError, match=rf"table\.csv has {message}"):
        ImageTable(path, **fields).open("train")
    with pytest.raises(UserError, match=r"cannot read the table .*none\.csv: No such file"):
        ImageTable(str(tmp_path / "none.csv")).open("train")
