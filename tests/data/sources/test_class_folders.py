"""Folders of files by class: which files, in which split and slice, and of which class."""

import dataclasses
import os

import numpy as np
import pytest
from plain_fields import Plain, cells, hashed_part, ids, read, wants

from modelzoo.data.sources import class_folders
from modelzoo.data.sources.class_folders import ClassFolders
from modelzoo.data.sources.files import list_files
from modelzoo.fields.errors import UserError

IMAGES = wants("inputs", "file", "bytes", "file", suffixes=(".png", ".gif"), noun="images")
TEXTS = wants("inputs", "file", "text", "bytes", "file", suffixes=(".txt",), noun="texts")
CLASS = wants("target", "class", "class", "text")


class Files(Plain):
    suffixes = (".png", ".gif")
    noun = "images"


FILE = Files(accepted=("bytes", "file"), split_key="id")


def write(root, *names, text="x"):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def root(tmp_path):
    names = [f"{s}/{c}/{k}.png" for s in ("train", "test") for c in ("dog", "cat") for k in "012"]
    return write(tmp_path, *names)


def rows_of(rows):
    """Class name by path."""
    (file,), (label,) = rows.columns["inputs"], rows.columns["target"]
    labels = [label.names[number] for number in label.values]
    return dict(zip(file.keys, labels, strict=True))


@pytest.mark.field("ClassFolders.path")
def test_files_are_of_the_class_of_their_folder(root):
    both = ClassFolders(str(root)).open().read([IMAGES, CLASS], ["train", "test"])
    for split, rows in both.items():
        assert rows_of(rows) == {f"{split}/{c}/{k}.png": c for c in ("cat", "dog") for k in "012"}
        (file,), (label,) = rows.columns["inputs"], rows.columns["target"]
        assert file.form == "file" and list(rows.ids) == list(file.keys)
        assert file.values == [str(root / name) for name in file.keys]
        assert rows.place(2) == str(root / rows.ids[2])
        assert label.names == ("cat", "dog") and label.values.dtype == np.int64
    opened = ClassFolders(str(root)).open()
    assert opened.split_names == ("test", "train") and opened.where == f"folder {root}"
    assert opened.default_columns(wants("inputs", (), "text", "file")) == ("file",)
    assert opened.default_columns(wants("target", (), "class", "text")) == ("class",)


def test_without_split_folders_everything_is_train(tmp_path):
    write(tmp_path, "a/0.png", "b/1.PNG")
    source = ClassFolders(str(tmp_path))
    assert source.open().split_names == ("train",)
    assert rows_of(read(source, "train", IMAGES, CLASS)) == {"a/0.png": "a", "b/1.PNG": "b"}


@pytest.mark.parametrize("first, last", [(0, 30), (30, 80), (80, 100)])
def test_a_slice_is_a_range_of_hashes_of_the_path(tmp_path, first, last):
    names = [f"{'ab'[k % 2]}/{k}.png" for k in range(200)]
    write(tmp_path, *names)
    expected = [names[k] for k in hashed_part(names, first, last)]
    split = f"train[{first}%:{last}%]"
    assert expected and ids(ClassFolders(str(tmp_path)), split, FILE) == expected
    whole = [names[k] for k in hashed_part(names)]
    assert ids(ClassFolders(str(tmp_path)), "train[20:-30]", FILE) == whole[20:-30]
    # No file moves when others come.
    more = [f"a/{k}.png" for k in range(200, 220)]
    write(tmp_path, *more)
    after = ids(ClassFolders(str(tmp_path)), split, FILE)
    assert [name for name in after if name not in more] == expected


def test_a_slice_of_texts_hashes_what_the_input_parses(tmp_path):
    class Names(Files):
        def parse(self, rows, key):
            return [path[-5] for path in rows.columns[key][0].keys]

    names = [f"a/{k:04}.png" for k in range(100)]
    write(tmp_path, *names, "b/0000.png")
    names.append("b/0000.png")
    found = ids(ClassFolders(str(tmp_path)), "train[:50%]", Names(accepted=("file",)))
    keys = [name[-5] for name in names]
    assert sorted(found) == sorted(names[k] for k in hashed_part(keys, 0, 50))


def test_hidden_and_other_files_are_ignored(root):
    write(root, "train/cat/.DS_Store", "train/cat/.0.png", "train/cat/notes.txt", "README.md")
    write(root, "train/x.png", "train/.git/objects/0.png", "train/__pycache__/a.png")
    (root / "train/cat/folder.png").mkdir()
    assert len(rows_of(read(ClassFolders(str(root)), "train", IMAGES, CLASS))) == 6


def test_what_is_left_out_is_counted(root):
    others = ["a.webp", "b.WEBP", "c", ".hidden.png", "more/0.png", "more/deep/1.png"]
    write(root, *(f"train/cat/{name}" for name in others), "train/beside.png")
    rows = read(ClassFolders(str(root)), "train", IMAGES, CLASS)
    assert len(rows) == 6
    assert rows.remarks == (
        f"left out of 'train' in folder {root}: 2 .webp, 2 in the folder train/cat/more, 1 beside "
        "the class folders, 1 hidden, 1 without a suffix",
    )
    assert not read(ClassFolders(str(root)), "test", IMAGES, CLASS).remarks
    write(root, "train/owl/0.webp")
    with pytest.raises(
        UserError, match=r"train/owl is missing or has no images .*, only 1 \.webp; e"
    ):
        read(ClassFolders(str(root)), "train", IMAGES, CLASS)


def test_prediction_reads_the_files_that_training_reads(root):
    write(root, "train/cat/.git/0.png", "train/cat/a.webp", "train/__MACOSX/cat/0.png")
    write(root, "train/run/config.json", "train/run/assets/data.json", "train/run/board/0.png")
    write(root, "train/cat/config.json")  # A file of the user's.
    write(root, "train/export/1/saved_model.pb", "train/export/1/0.png")
    (root / "train/cat/linked.PNG").symlink_to(root / "test/cat/0.png")
    (root / "train/cat/gone.png").symlink_to("/nowhere.png")
    (root / "train/fox").symlink_to(root / "test/dog")
    (root / "train/fox/loop").symlink_to(root / "train")
    rows = read(ClassFolders(str(root)), "train", IMAGES, CLASS)
    found, left_out = list_files(str(root / "train"), IMAGES.suffixes)
    assert {f"train/{name}" for name in found} == set(rows.ids)
    assert len(rows) == 11 and rows.columns["target"][0].names == ("cat", "dog", "fox")
    assert left_out["in the model's folder run"] == left_out["in the model's folder export"] == 1
    assert left_out["hidden"] == 2 and left_out[".webp"] == left_out[".json"] == 1
    (remark,) = rows.remarks
    assert "2 folders of models" in remark and "1 .json" in remark


@pytest.mark.parametrize(
    "names, splits",
    [
        (["cat/0.png", "cat/more/0.png", "dog/0.png"], ("train",)),
        (["cat/0.png", "cat/more/0.png", "dog/0.png", "dog/more/0.png"], ("train",)),
        (["train/a/0.png", "train/labels.txt", "test/a/0.png"], ("test", "train")),
        (["one/a/0.png", "two/a/0.png", "two/.DS_Store", "docs/x.txt"], ("one", "two")),
        (["a/0.png", "b/0.png", "run/config.json", "run/checkpoints/1"], ("train",)),
    ],
)
def test_a_stray_folder_is_no_split(tmp_path, names, splits):
    assert ClassFolders(str(write(tmp_path, *names))).open().split_names == splits


@pytest.mark.parametrize("suffix, wanted", [("png", IMAGES), ("txt", TEXTS)])
def test_names_need_not_be_utf8(tmp_path, suffix, wanted):
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    with open(folder + f"/\u00e9\udce9.{suffix}".encode("utf-8", "surrogateescape"), "w") as file:
        file.write("x")
    rows = read(ClassFolders(str(tmp_path)), "train", wanted, CLASS)
    assert rows.ids == [f"caf\\xe9/\u00e9\\xe9.{suffix}"] == rows.columns["inputs"][0].keys
    assert rows.columns["target"][0].names == ("caf\\xe9",) and rows.ids[0] in rows.place(0)
    with open(rows.columns["inputs"][0].values[0]) as file:
        assert file.read() == "x"


def test_the_suffixes_are_those_that_the_input_reads(root):
    write(root, *(f"{s}/{c}/0.TXT" for s in ("train", "test") for c in ("cat", "dog")))
    rows = read(ClassFolders(str(root)), "train", TEXTS, CLASS)
    assert rows_of(rows) == {"train/cat/0.TXT": "cat", "train/dog/0.TXT": "dog"}
    with pytest.raises(UserError, match="can be read as one kind of files, got images and texts"):
        read(ClassFolders(str(root)), "train", IMAGES, dataclasses.replace(TEXTS, key="inputs.b"))
    with pytest.raises(UserError, match="can be read as one kind of files, got no files"):
        read(ClassFolders(str(root)), "train", CLASS)


@pytest.mark.field("ClassFolders.classes")
def test_classes_are_the_chosen_folders_or_those_of_all_splits_in_use(root):
    write(root, "train/emu/0.gif", "dev/cat/0.png", "dev/fox/0.png")
    source = ClassFolders(str(root))
    assert read(source, "train", IMAGES, CLASS).columns["target"][0].names == ("cat", "dog", "emu")
    # A split may lack a class, with an empty folder or none.
    for _ in range(2):
        rows = source.open().read([IMAGES, CLASS], ["train", "test"])["test"]
        assert rows.columns["target"][0].names == ("cat", "dog", "emu")
        assert "emu" not in rows_of(rows).values()
        (root / "test/emu").mkdir(exist_ok=True)
    (root / "train/emu/0.gif").unlink()
    with pytest.raises(UserError, match=r"test/emu is missing or has no images \(.png, .gif\); ev"):
        source.open().read([IMAGES, CLASS], ["train", "test"])
    chosen = ClassFolders(str(root), classes=("dog", "cat"))
    for rows in chosen.open().read([IMAGES, CLASS], ["train", "test"]).values():
        assert rows.columns["target"][0].names == ("cat", "dog") and len(rows) == 6
    with pytest.raises(ValueError, match="^classes must be None or"):
        ClassFolders("x", classes=())


def test_what_is_missing_is_an_error(root):
    with pytest.raises(UserError, match=r"cannot open the folder .*none.*config.data.source.path"):
        ClassFolders(str(root / "none")).open()
    with pytest.raises(UserError, match="contains no folders; put the files into CLASS/ or SPLIT"):
        ClassFolders(str(root / "train/cat")).open()
    with pytest.raises(UserError, match=r"has no split 'extra'; it has test, train, and slices"):
        ids(ClassFolders(str(root)), "extra", FILE)
    with pytest.raises(UserError, match="no column 'path' for config.data.inputs.columns; its"):
        read(ClassFolders(str(root)), "train", wants("inputs", "path", "file"))
    with pytest.raises(UserError, match="column 'class' of folder .* holds class, not number"):
        read(ClassFolders(str(root)), "train", IMAGES, wants("target", "class", "number"))


def test_each_class_folder_is_listed_once(root, monkeypatch):
    listed = []

    def scandir(path, scandir=class_folders.os.scandir):
        listed.append(path)
        return scandir(path)

    monkeypatch.setattr(class_folders.os, "scandir", scandir)
    read(ClassFolders(str(root)), "train", IMAGES, CLASS)
    # Once to see that it is no split, and once for its files.
    assert listed.count(str(root / "train/cat")) == 1
    assert str(root / "test/cat") not in listed


def test_cells_are_paths(root):
    rows = read(ClassFolders(str(root)), "test", IMAGES)
    assert sorted(cells(rows, "inputs")[0]) == sorted(map(str, root.glob("test/*/*.png")))
