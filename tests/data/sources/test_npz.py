"""Arrays of an .npz file: images, series, classes, numbers, texts, and weights."""

import zipfile

import numpy as np
import pytest
from plain_fields import Plain, cells, ids, read, wants

from modelzoo.data.sources.npz import Npz
from modelzoo.fields.errors import UserError

RNG = np.random.default_rng(0)
X = wants("inputs", "x", "array", "bytes", "file")
CLASS = wants("target", "y", "class", "text")
TAGS = wants("target", "y", "list", "array", "text", "number", many=True)
VALUES = wants("target", "y", "array", "number", many=True)


def arrays(**changes):
    result = {
        "x_train": RNG.integers(0, 256, (10, 6, 5), np.uint8),
        "y_train": np.arange(10) % 3,
        "x_test": RNG.integers(0, 256, (4, 6, 5), np.uint8),
        "y_test": np.array([0, 3, 1, 2], np.uint8),
        **changes,
    }
    return {name: array for name, array in result.items() if array is not None}


def write(tmp_path, **changes):
    values = arrays(**changes)
    np.savez(tmp_path / "data.npz", **values)
    return str(tmp_path / "data.npz"), values


@pytest.mark.field("Npz.path")
def test_rows_classes_and_weights(tmp_path):
    weights = np.linspace(0, 2, 10)
    path, values = write(tmp_path, w_train=weights)
    both = Npz(path).open().read([X, CLASS], ["train", "test"])
    rows = both["train"]
    np.testing.assert_array_equal(rows.columns["inputs"][0].values, values["x_train"])
    assert rows.weights.dtype == np.float32
    np.testing.assert_array_equal(rows.weights, weights.astype(np.float32))
    (label,) = rows.columns["target"]
    assert label.values.dtype == np.int64 and label.values.tolist() == values["y_train"].tolist()
    assert label.names == ("0", "1", "2", "3") == both["test"].columns["target"][0].names
    assert both["test"].weights is None and both["test"].ids == [f"test/{k}" for k in range(4)]
    assert rows.place(7) == f"{path}, train/7"
    opened = Npz(path).open()
    assert opened.split_names == ("test", "train")
    assert opened.default_columns(wants("inputs.image", (), "array")) == ("x",)
    assert opened.default_columns(wants("target", (), "class")) == ("y",)


def test_slices_are_of_stored_positions(tmp_path):
    path, _ = write(tmp_path)
    image = Plain(columns=("x",), accepted=("array",), split_key="id")
    assert ids(Npz(path), "train[70%:]", image) == ["train/7", "train/8", "train/9"]
    assert ids(Npz(path), "test[1:3]", image) == ["test/1", "test/2"]
    with pytest.raises(UserError, match=r"data\.npz has no split 'dev'; it has test, train"):
        ids(Npz(path), "dev", image)


def test_class_names_and_labels_in_a_column(tmp_path):
    labels = {"y_train": (np.arange(10) % 2)[:, None], "x_test": None, "y_test": None}
    path, _ = write(tmp_path, **labels, class_names=np.array(["cat", "dog", "eel"]))
    (label,) = read(Npz(path), "train", X, CLASS).columns["target"]
    assert label.names == ("cat", "dog", "eel") and label.values.tolist() == [0, 1] * 5


def test_tags_and_values(tmp_path):
    tags = {"y_train": RNG.integers(0, 2, (10, 3)), "y_test": np.zeros((4, 3), bool)}
    path, _ = write(tmp_path, **tags, class_names=np.array(["a", "b", "c"]))
    (label,) = read(Npz(path), "train", X, TAGS).columns["target"]
    assert label.form == "array" and label.names == ("a", "b", "c")
    np.testing.assert_array_equal(label.values, tags["y_train"])
    path, values = write(tmp_path, y_train=RNG.normal(size=10), y_test=np.arange(4))
    (label,) = read(Npz(path), "train", X, VALUES).columns["target"]
    assert label.form == "array" and label.names == ("0",)
    np.testing.assert_array_equal(label.values, values["y_train"])


def test_series_texts_and_other_columns(tmp_path):
    path, values = write(
        tmp_path,
        x_train=RNG.normal(size=(10, 7, 2)),
        review_train=np.array([f" text {k} é" for k in range(10)]),
        raw_train=np.array([b"\xff", *[b"b"] * 9]),
        year_train=np.arange(10)[:, None],
    )
    (series,) = read(Npz(path), "train", wants("inputs", "x", "number", "array")).columns["inputs"]
    np.testing.assert_array_equal(series.values, values["x_train"])
    assert series.form == "array" and series.names is None
    wanted = [
        wants("inputs.a", ("review", "raw"), "text", "bytes", many=True),
        wants("inputs.b", "year", "number", "array"),
    ]
    rows = read(Npz(path), "train", *wanted)
    assert cells(rows, "inputs.a")[0] == [f"text {k} é" for k in range(10)]
    assert cells(rows, "inputs.a")[1][:2] == [b"\xff", b"b"]
    assert cells(rows, "inputs.b") == [list(range(10))]


@pytest.mark.parametrize(
    "wanted, changes, message",
    [
        (CLASS, {"x_train": None, "z_train": np.zeros(3)}, "has no array x_train for .*inputs.col"),
        (CLASS, {"y_train": None}, "no array y_train for .*target.columns; its .* x_train, x_test"),
        (CLASS, {"y_train": np.arange(9)}, "x_train has 10 rows and y_train has 9"),
        (CLASS, {"y_train": np.arange(10) - 1}, "y_train has the negative label -1"),
        (CLASS, {"y_train": np.arange(10) / 2}, r"y_train is float64 \[10\], which .*class or tex"),
        (CLASS, {"y_train": np.zeros((10, 2), int)}, r"y_train is int64 \[10, 2\], which"),
        (CLASS, {"y_train": np.array(3)}, r"y_train is int64 \[\], which"),
        (CLASS, {"w_train": np.ones(3)}, "x_train has 10 rows and w_train has 3"),
        *(
            (CLASS, {"w_train": weights}, "w_train must be .* finite weights of at least 0")
            for weights in (-np.ones(10), np.full(10, np.nan), np.full(10, 1e39), np.ones((10, 1)))
        ),
        (CLASS, {"w_train": np.float64(1)}, "w_train must be .* finite weights of at least 0"),
        (CLASS, {"w_train": np.array(["1"] * 10)}, "w_train must be .* finite weights of at le"),
        (CLASS, {"class_names": np.array(["one"])}, "class_names has 1 names.* up to 3"),
        (VALUES, {"y_train": np.zeros((10, 2))}, "y_test has 1 numbers per row and y_train has 2"),
        (VALUES, {"class_names": np.array(["a", "b"])}, "1 numbers .* class_names has 2"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(tmp_path, wanted, changes, message):
    path, _ = write(tmp_path, **changes)
    with pytest.raises(UserError, match=rf"data\.npz.*{message}"):
        read(Npz(path), "train", X, wanted)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*none\.npz"):
        Npz(str(tmp_path / "none.npz")).open()
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "pickle.npz", x_train=np.array([{}], object))
    whole = (tmp_path / "pickle.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.npz").write_bytes(b"")
    for name in ("text", "pickle", "cut", "empty"):
        with pytest.raises(UserError, match=rf"{name}\.npz is not a \.npz file of plain arrays"):
            read(Npz(str(tmp_path / f"{name}.npz")), "train", X)
    np.save(tmp_path / "single.npy", np.zeros(3))
    with pytest.raises(UserError, match="a single array"):
        Npz(str(tmp_path / "single.npy")).open()


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(read(Npz("~/data.npz"), "train", X)) == 10


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda stored: stored + b"more", "x_train has more bytes than its array"),
        (lambda stored: stored[:-1], "not a .npz file of plain arrays"),
        (lambda stored: b"text", "not a .npz file of plain arrays"),
        (lambda stored: stored.replace(b"(10, 6, 5)", b"(9, 6, 5) "), "x_train has more bytes"),
        (lambda stored: stored.replace(b"(10, 6", b"(10,(6"), "not a .npz file of plain arrays"),
        (lambda stored: stored.replace(b"10, 6, 5)", b"99999999)"), "not a .npz file of plain"),
    ],
)
def test_a_member_that_is_no_array_is_an_error(tmp_path, change, message):
    path, _ = write(tmp_path)
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    members["x_train.npy"] = change(members["x_train.npy"])
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    with pytest.raises(UserError, match=message):
        read(Npz(path), "train", X, CLASS)
