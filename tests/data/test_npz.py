import numpy as np
import pytest
from PIL import Image

from modelzoo.data.npz import NpzImages
from modelzoo.fields.errors import UserError

RNG = np.random.default_rng(0)


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


@pytest.mark.field("NpzImages.path")
def test_rows_labels_weights_and_classes(tmp_path):
    weights = np.linspace(0, 2, 10)
    path, values = write(tmp_path, w_train=weights)
    source = NpzImages(path).open("train")
    assert source.spec.shape == (6, 5, 1) and source.spec.class_names == ("0", "1", "2", "3")
    rows = np.array([7, 0, -1, 3])
    raw = source.gather(rows)
    np.testing.assert_array_equal(
        raw["image"].numpy()[[0, 1, 3], ..., 0], values["x_train"][[7, 0, 3]]
    )
    assert raw["label"].numpy()[[0, 1, 3]].tolist() == [1, 0, 0]
    np.testing.assert_allclose(raw["weight"], [weights[7], 0, 0, weights[3]], rtol=1e-6)
    assert raw["index"].numpy().tolist() == rows.tolist()
    source = NpzImages(path).open("test")
    assert source.spec.class_names == ("0", "1", "2", "3")
    assert source.gather(np.arange(4))["label"].numpy().tolist() == [0, 3, 1, 2]
    assert source.gather(np.array([0, -1]))["weight"].numpy().tolist() == [1, 0]


def test_slices_and_ids(tmp_path):
    path, values = write(tmp_path)
    config = NpzImages(path, train_split="train[:70%]", validation_split="train[70%:]")
    assert config.open("train").num_examples == 7
    source = config.open("validation")
    assert source.ids == ["train/7", "train/8", "train/9"]
    np.testing.assert_array_equal(
        source.gather(np.arange(3))["image"][..., 0], values["x_train"][7:]
    )


def test_class_names_colours_and_labels_in_a_column(tmp_path):
    path, _ = write(
        tmp_path,
        x_train=RNG.integers(0, 256, (10, 6, 5, 3), np.uint8),
        y_train=(np.arange(10) % 2)[:, None],
        x_test=None,
        y_test=None,
        class_names=np.array(["cat", "dog"]),
    )
    source = NpzImages(path).open("train")
    assert source.spec.class_names == ("cat", "dog") and source.spec.shape == (6, 5, 3)
    assert source.gather(np.arange(3))["label"].numpy().tolist() == [0, 1, 0]


@pytest.mark.field("ImageData.resize")
def test_size_channels_and_resize_are_brought_about(tmp_path):
    path, values = write(tmp_path)
    config = NpzImages(path, image_size=(4, 8), channels=3, resize="stretch")
    source = config.open("train")
    assert source.spec.shape == (4, 8, 3)
    image = source.gather(np.array([2]))["image"][0].numpy().astype(int)
    expected = Image.fromarray(values["x_train"][2]).resize((8, 4), Image.Resampling.BILINEAR)
    assert abs(image - np.asarray(expected)[..., None]).max() <= 1
    other = NpzImages(path, image_size=(4, 8), channels=3).open("train")
    assert (other.gather(np.array([2]))["image"][0].numpy() != image).any()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"x_train": np.zeros((10, 6, 5), np.float32)}, "x_train must be uint8.*float32"),
        ({"x_train": np.zeros((10, 30), np.uint8)}, r"x_train must be uint8.*\[10, 30\]"),
        ({"x_train": np.zeros((10, 6, 5, 7), np.uint8)}, "x_train has 7 channels"),
        ({"y_train": None}, "x_train and no labels y_train"),
        ({"y_train": np.arange(9)}, "x_train has 10 rows and y_train has 9"),
        ({"y_train": np.arange(10) - 1}, "y_train has the negative label -1"),
        ({"y_train": np.arange(10) / 2}, "y_train must be integers.*float64"),
        ({"w_train": np.ones(3)}, "x_train has 10 rows and w_train has 3"),
        ({"w_train": -np.ones(10)}, "w_train must be .* finite weights of at least 0"),
        ({"class_names": np.array(["one"])}, "class_names has 1 names.* up to 3"),
        ({"class_names": np.array(["a", "b", "a", "c"])}, "class_names must differ.*'a' twice"),
        (
            {"x_train": None},
            "no array x_train for .*'train'.*x_test.*; set config.data.train_split to",
        ),
    ],
)
def test_what_is_wrong_is_named_with_the_file(tmp_path, changes, message):
    path, _ = write(tmp_path, **changes)
    with pytest.raises(UserError, match=rf"data\.npz.*{message}"):
        NpzImages(path).open("train")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*none\.npz"):
        NpzImages(str(tmp_path / "none.npz")).open("train")
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "pickle.npz", x_train=np.array([{}], object))
    whole = (tmp_path / "pickle.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.npz").write_bytes(b"")
    for name in ("text", "pickle", "cut", "empty"):
        with pytest.raises(UserError, match=rf"{name}\.npz is no \.npz file of plain arrays"):
            NpzImages(str(tmp_path / f"{name}.npz")).open("train")
    np.save(tmp_path / "single.npy", np.zeros(3))
    with pytest.raises(UserError, match="a single array"):
        NpzImages(str(tmp_path / "single.npy")).open("train")


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert NpzImages("~/data.npz").open("train").num_examples == 10


@pytest.mark.field("NpzImages.targets")
def test_tags_and_values(tmp_path):
    tags = {"y_train": RNG.integers(0, 2, (10, 3)), "y_test": np.zeros((4, 3), bool)}
    path, _ = write(tmp_path, **tags, class_names=np.array(["a", "b", "c"]))
    source = NpzImages(path, targets="tags").open("train")
    assert source.spec.targets == "tags" and source.spec.class_names == ("a", "b", "c")
    label = source.gather(np.arange(10))["label"]
    assert label.dtype == np.float32
    np.testing.assert_array_equal(label, tags["y_train"])
    values = {"y_train": RNG.normal(size=10), "y_test": np.arange(4)}
    path, _ = write(tmp_path, **values)
    source = NpzImages(path, targets="values").open("train")
    assert source.spec.targets == "values" and source.spec.class_names == ("0",)
    label = source.gather(np.arange(10))["label"]
    np.testing.assert_array_equal(label, values["y_train"].astype(np.float32)[:, None])


@pytest.mark.parametrize(
    "targets, changes, message",
    [
        ("tags", {}, r"y_test must be 0 or 1 .*targets=tags, it is uint8 \[4\]"),
        ("tags", {"y_test": np.full((4, 2), 2)}, "y_test must be 0 or 1 for each tag, it has 2"),
        ("values", {"y_train": np.zeros((10, 2, 2))}, r"y_train must be numbers .*\[10, 2, 2\]"),
        ("values", {"y_train": np.full(10, np.nan)}, "y_train has values that are not finite"),
        ("values", {"y_train": np.full(10, 1e39)}, "y_train has values that are not finite"),
        ("values", {"y_train": np.zeros((10, 2))}, "y_test has 1 values and y_train has 2"),
        (
            "values",
            {"class_names": np.array(["a", "b"])},
            "y_test has 1 values and class_names has 2",
        ),
    ],
)
def test_targets_that_are_none_are_named(tmp_path, targets, changes, message):
    path, _ = write(tmp_path, **changes)
    with pytest.raises(UserError, match=rf"data\.npz: .*{message}"):
        NpzImages(path, targets=targets).open("train")
