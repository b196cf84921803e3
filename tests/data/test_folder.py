import io
import pathlib

import numpy as np
import pytest
from PIL import Image

from modelzoo.data import folder as folder_module
from modelzoo.data import source as source_module
from modelzoo.data.folder import ImageFolder
from modelzoo.data.images import ImageDecoder
from modelzoo.fields.errors import UserError

RNG = np.random.default_rng(0)


def write(path, size=(6, 5), channels=3):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 256, (*size, channels), np.uint8)
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(path)
    return pixels


@pytest.fixture
def root(tmp_path):
    """Two splits of two classes, five PNGs each."""
    for split in ("train", "test"):
        for name in ("dog", "cat"):
            for number in range(5):
                write(tmp_path / split / name / f"{number}.png")
    return tmp_path


@pytest.fixture(params=[2**30, 0], ids=["in memory", "from files"])
def memory_limit(request, monkeypatch):
    monkeypatch.setattr(source_module, "MEMORY_LIMIT", request.param)
    return request.param


def images_of(source):
    raw = source.gather(np.arange(source.num_examples))
    if "image" in raw:
        return raw["image"].numpy()
    return ImageDecoder(source.spec).decode_batch(raw["encoded"]).numpy()


def open_fails(config, match, split="train"):
    """The message comes with opening, or for large folders with checking the rows."""
    with pytest.raises(UserError, match=match):
        source = config.open(split)
        source.check(np.arange(source.num_examples))


@pytest.mark.field("ImageFolder.data_dir")
def test_images_labels_and_ids_belong_together(root, memory_limit):
    source = ImageFolder(str(root)).open("train")
    assert source.spec.class_names == ("cat", "dog") and source.spec.shape == (6, 5, 3)
    assert sorted(source.ids) == sorted(
        f"train/{name}/{number}.png" for name in ("cat", "dog") for number in range(5)
    )
    labels = source.gather(np.arange(10))["label"].numpy()
    for name, image, label in zip(source.ids, images_of(source), labels, strict=True):
        np.testing.assert_array_equal(image, np.asarray(Image.open(root / name)))
        assert source.spec.class_names[label] == pathlib.PurePath(name).parent.name
    assert source.gather(np.array([-1]))["weight"].numpy() == [0]
    source.check(np.arange(10))


def test_the_order_is_fixed_mixed_and_grows_stably(root):
    before = ImageFolder(str(root)).open("train").ids
    assert before == ImageFolder(str(root)).open("train").ids != sorted(before)
    write(root / "train/cat/late.png")
    after = ImageFolder(str(root)).open("train").ids
    assert [name for name in after if "late" not in name] == before


def test_one_folder_is_the_train_split_and_is_sliced(tmp_path):
    for name in ("a", "b"):
        for number in range(5):
            write(tmp_path / name / f"{number}.jpg")
    config = ImageFolder(str(tmp_path), train_split="train[:8]", validation_split="train[-2:]")
    train, validation = config.open("train"), config.open("validation")
    assert (train.num_examples, validation.num_examples) == (8, 2)
    assert not set(train.ids) & set(validation.ids)
    assert train.spec.class_names == ("a", "b")
    match = (
        "has no split 'test'; it has train .*; set config.data.test_split=none to do without, or"
    )
    open_fails(config, match, "test")


def test_a_percentage_keeps_each_file_on_its_side_when_others_come_and_go(tmp_path):
    def sides():
        parts = [config.open(part) for part in ("train[:30%]", "train[30%:-20%]", "train[80%:]")]
        labels = {name: side for side, part in enumerate(parts) for name in part.ids}
        assert len(labels) == sum(part.num_examples for part in parts)
        return labels

    for number in range(300):
        write(tmp_path / "ab"[number % 2] / f"{number}.png", (1, 1))
    config = ImageFolder(str(tmp_path), image_size=(1, 1), channels=3)
    before = sides()
    assert len(before) == 300
    # 90, 150 and 60 on average; four deviations of the binomial distribution.
    counts = np.bincount(list(before.values()))
    expected = 300 * np.array([0.3, 0.5, 0.2])
    assert (abs(counts - expected) < 4 * np.sqrt(expected)).all() and (counts != expected).any()
    for number in range(300, 320):
        write(tmp_path / "ab"[number % 2] / f"{number}.png", (1, 1))
    (tmp_path / "a/0.png").unlink()
    after = sides()
    assert len(after) == 319 and "a/0.png" not in after
    assert {name: side for name, side in after.items() if name in before} == {
        name: side for name, side in before.items() if name != "a/0.png"
    }
    assert config.open("train[:100%]").ids == config.open("train").ids
    for text in ("train[:0%]", "train[:130%]", "train[-130%:]"):
        open_fails(config, "takes no rows or more than there are: train has 319", text)


def test_the_shape_is_found_behind_a_long_preamble(tmp_path, monkeypatch):
    monkeypatch.setattr(source_module, "MEMORY_LIMIT", 0)
    for name, size in (("a", 5000), ("b", 70000)):
        image = Image.fromarray(RNG.integers(0, 256, (6, 5), np.uint8)).convert("P")
        (tmp_path / name).mkdir()
        profile = RNG.bytes(size)  # Which zlib cannot make short.
        image.save(tmp_path / name / "0.png", transparency=1, icc_profile=profile)
    assert ImageFolder(str(tmp_path)).open("train").spec.shape == (6, 5, 4)
    (tmp_path / "b/0.png").write_bytes((tmp_path / "b/0.png").read_bytes()[:69000])
    open_fails(ImageFolder(str(tmp_path)), "the image b/0.png ")


def test_files_are_listed_once_and_read_only_where_shapes_are_compared(root, monkeypatch):
    listed = []

    def scandir(path, scandir=folder_module.os.scandir):
        listed.append(path)
        return scandir(path)

    monkeypatch.setattr(source_module, "MEMORY_LIMIT", 0)
    monkeypatch.setattr(folder_module.os, "scandir", scandir)
    (root / "train/cat/bad.png").write_bytes(b"text")
    ImageFolder(str(root), image_size=(4, 4), channels=3).open("train[:90%]")
    assert listed.count(str(root / "train/cat")) == 1
    assert str(root / "test/cat") not in listed
    with pytest.raises(UserError, match=r"train/cat/bad\.png is no PNG"):
        ImageFolder(str(root), image_size=(4, 4)).open("train")


def test_hidden_files_and_files_that_are_not_named_as_images_are_ignored(root):
    (root / "train/cat/.DS_Store").write_text("")
    (root / "train/cat/notes.txt").write_text("")
    (root / "train/cat/5.webp").write_text("")
    (root / "train/.git/objects").mkdir(parents=True)
    (root / "README.md").write_text("")
    for on_bad_image in ("error", "skip"):
        source = ImageFolder(str(root), on_bad_image=on_bad_image).open("train")
        assert (source.num_examples, source.skipped) == (10, [])


def palette_bmp():
    file = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (6, 5, 3), np.uint8)).quantize(8).save(file, "BMP")
    return file.getvalue()


BAD = {
    "empty": (lambda good: b"", "is empty"),
    "text": (lambda good: b"hello", "is no PNG, JPEG, GIF or BMP"),
    "palette": (lambda good: palette_bmp(), "is a BMP with a palette of colours"),
    "truncated": (lambda good: good[: len(good) - 30], "is corrupt or truncated"),
}


@pytest.mark.field("EncodedImageData.on_bad_image")
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_image_is_named_or_skipped(root, memory_limit, kind):
    change, reason = BAD[kind]
    good = (root / "train/cat/0.png").read_bytes()
    (root / "train/dog/bad.PNG").write_bytes(change(good))
    open_fails(ImageFolder(str(root)), f"the image train/dog/bad.PNG {reason}.*on_bad_image")
    source = ImageFolder(str(root), on_bad_image="skip").open("train")
    assert source.skipped == [("train/dog/bad.PNG", reason)]
    assert source.num_examples == 10 == len(images_of(source))
    assert "train/dog/bad.PNG" not in source.ids
    for name, image in zip(source.ids, images_of(source), strict=True):
        np.testing.assert_array_equal(image, np.asarray(Image.open(root / name)))


def test_a_bad_first_image_does_not_set_the_shape(root):
    first = ImageFolder(str(root)).open("train").ids[0]
    (root / first).write_bytes(b"")
    open_fails(ImageFolder(str(root)), f"the image {first} is empty")
    source = ImageFolder(str(root), on_bad_image="skip").open("train")
    assert source.spec.shape == (6, 5, 3) and source.skipped == [(first, "is empty")]


@pytest.mark.field("ImageData.image_size")
def test_another_size_needs_image_size(root, memory_limit):
    write(root / "train/cat/wide.png", (6, 9))
    match = r"train/\w+/\w+.png is .* but the first is .*set config.data.image_size"
    for on_bad_image in ("error", "skip"):
        open_fails(ImageFolder(str(root), on_bad_image=on_bad_image), match)
    source = ImageFolder(str(root), image_size=(4, 4)).open("train")
    assert images_of(source).shape == (11, 4, 4, 3)
    stretched = ImageFolder(str(root), image_size=(4, 4), resize="stretch").open("train")
    assert (images_of(stretched) != images_of(source)).any()


@pytest.mark.field("ImageData.channels")
def test_other_channels_are_bad_unless_channels_is_set(root, memory_limit):
    write(root / "test/cat/grey.png", channels=1)
    match = "test/cat/grey.png has 1 channels, not 3"
    open_fails(ImageFolder(str(root)), match, "test")
    source = ImageFolder(str(root), on_bad_image="skip").open("test")
    assert source.num_examples == 10 and source.skipped[0][0] == "test/cat/grey.png"
    source = ImageFolder(str(root), channels=3).open("test")
    assert source.num_examples == 11 and not source.skipped
    assert images_of(ImageFolder(str(root), channels=1).open("test")).shape == (11, 6, 5, 1)


def test_every_split_has_the_shape_of_the_training_images(root):
    for path in root.glob("test/*/*.png"):
        write(path, (8, 8))
    open_fails(ImageFolder(str(root)), "is 8x8 but the first is 6x5", "test")


def test_classes_are_the_same_for_all_splits(root):
    write(root / "train/emu/0.png")
    open_fails(ImageFolder(str(root)), r"test/emu is missing or has no images", "test")
    (root / "test/emu").mkdir()
    open_fails(ImageFolder(str(root)), r"test/emu is missing or has no images", "test")
    assert ImageFolder(str(root)).open("train").spec.class_names == ("cat", "dog", "emu")
    write(root / "test/emu/0.gif", channels=3)
    assert ImageFolder(str(root)).open("test").num_examples == 11


def test_what_is_missing_is_told(tmp_path, root):
    open_fails(ImageFolder(str(root / "none")), r"cannot open the folder .*none.*data_dir")
    open_fails(ImageFolder(str(root / "train/cat")), "holds no folders")
    open_fails(
        ImageFolder(str(root)),
        r"has no split 'extra'; it has test, train.*'train\[:80%\]'$",
        "extra",
    )
    open_fails(ImageFolder(str(root)), "config.data.validation_split is None", "validation")
    for path in root.glob("train/*/*.png"):
        path.write_bytes(b"x")
    open_fails(ImageFolder(str(root), on_bad_image="skip"), "none of the 10 images")
