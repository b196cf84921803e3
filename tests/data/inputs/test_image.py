"""Image inputs: what is stored becomes pixels, in memory or with each batch, and their features."""

import dataclasses
import io
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from memory_source import Memory
from PIL import Image as PILImage

from modelzoo.data.augment import Augment
from modelzoo.data.columns import BadExample, Column
from modelzoo.data.dataset import Dataset
from modelzoo.data.inputs import image_store
from modelzoo.data.inputs.image import BoundImage, Image, views_of
from modelzoo.data.sources.class_folders import ClassFolders
from modelzoo.data.targets.class_label import ClassLabel
from modelzoo.fields.errors import UserError

RNG = np.random.default_rng(0)
COUNT = 6


def encode(pixels, kind="PNG", **options):
    file = io.BytesIO()
    PILImage.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(
        file, kind, **options
    )
    return file.getvalue()


def pixels_of(count=COUNT, shape=(6, 5, 3)):
    return RNG.integers(0, 256, (count, *shape), np.uint8)


@dataclasses.dataclass
class Stored:
    """Images of the splits train and test, in files, in memory or in records."""

    how: str
    folder: pathlib.Path
    shape: tuple | None = (6, 5, 3)

    def __post_init__(self):
        self.pixels = {name: list(pixels_of()) for name in ("train", "test")}
        self.files = {name: [encode(one) for one in self.pixels[name]] for name in self.pixels}

    def put(self, split, row, content):
        """Replaces the bytes of an image, or its pixels."""
        if isinstance(content, np.ndarray):
            self.pixels[split][row] = content
            content = encode(content)
        self.files[split][row] = content

    def dataset(self, **fields):
        data = {name: fields.pop(name) for name in ("on_bad", "train_split") if name in fields}
        splits = {}
        for name, files in self.files.items():
            if self.how == "file":
                keys = [f"{name}/{k}.png" for k in range(len(files))]
                for key, content in zip(keys, files, strict=True):
                    path = self.folder / key
                    path.parent.mkdir(exist_ok=True)
                    path.write_bytes(content)
                paths = [str(self.folder / key) for key in keys]
                column = Column("photo", "file", paths, keys=keys)
            else:
                column = Column("photo", "bytes", files, shape=self.shape)
            splits[name] = {
                "photo": column,
                "label": Column("label", "class", np.arange(len(files)) % 2, names=("a", "b")),
            }
        source = Memory(splits=splits, lazy=self.how == "records")
        return Dataset(
            source=source,
            inputs=Image(columns=("photo",), **fields),
            target=ClassLabel(columns=("label",)),
            **data,
        )

    def open(self, split="train", **fields):
        return self.dataset(**fields).open().split(split)


@pytest.fixture(params=["file", "bytes", "records"])
def stored(request, tmp_path):
    return Stored(request.param, tmp_path)


@pytest.fixture(params=[2**30, 0], ids=["in memory", "with each batch"])
def limit(request, monkeypatch):
    monkeypatch.setattr(image_store, "MEMORY_LIMIT", request.param)
    return request.param


def images_of(split, rows=None):
    raw = split.gather(np.arange(split.num_examples) if rows is None else rows)
    if "image" in raw:
        return raw["image"].numpy()
    return np.stack([split.bound.example({"encoded": e}, False)["image"] for e in raw["encoded"]])


def open_fails(make, match):
    """The message comes with opening, or else when a batch is examined."""
    with pytest.raises(UserError, match=match):
        split = make()
        split.examine(np.arange(split.num_examples))


def test_stored_images_become_pixels(stored, limit):
    split = stored.open()
    assert split.bound.inputs[""].shape == (6, 5, 3)
    assert ("image" in split.gather(np.arange(1))) == (limit > 0)
    rows = np.array([4, 0, 5])
    np.testing.assert_array_equal(
        images_of(split, rows), [stored.pixels["train"][row] for row in rows]
    )
    assert split.gather(rows)["target/label"].numpy().tolist() == [0, 0, 1]
    assert split.gather(np.array([2, -1]))["weight"].numpy().tolist() == [1, 0]
    split.examine(np.array([0, -1, 5]))
    names = [f"train/{k}.png" if stored.how == "file" else f"train/{k}" for k in range(COUNT)]
    assert split.ids == names


def test_a_part_of_a_split_has_its_own_images(stored, limit):
    split = stored.open("train[3:5]")
    np.testing.assert_array_equal(images_of(split), stored.pixels["train"][3:5])


def test_the_memory_limit_decides_when_images_are_decoded(stored, monkeypatch):
    size = COUNT * 6 * 5 * 3
    for limit, name in ((size, "image"), (size - 1, "encoded")):
        monkeypatch.setattr(image_store, "MEMORY_LIMIT", limit)
        assert name in stored.open().gather(np.arange(COUNT))


def test_reading_is_stateless_as_op_determinism_requires(stored, limit):
    split = stored.open()
    function = tf.function(split.gather).get_concrete_function(tf.TensorSpec([4], tf.int64))
    assert not any(op.op_def.is_stateful for op in function.graph.get_operations())


@pytest.mark.field("Image.size", "Image.resize")
def test_images_of_other_sizes_need_a_size(stored, limit):
    wide = RNG.integers(0, 256, (6, 9, 3), np.uint8)
    stored.put("train", 4, wide)
    if stored.how != "file":
        stored.shape = None
    match = r"train/4: an image is 6x9 .* training images are 6x5; set config.data.inputs.size"
    if stored.how != "file" and not limit:
        match = "images may have any size; set config.data.inputs.size"
    open_fails(stored.open, match)
    match = "an image is 6x9 .* training images are 6x5"
    open_fails(lambda: stored.open(on_bad="skip"), match)
    found = {how: images_of(stored.open(size=(4, 4), resize=how)) for how in ("crop", "stretch")}
    assert found["crop"].shape == (COUNT, 4, 4, 3)
    assert (found["crop"] != found["stretch"]).any()
    part = PILImage.fromarray(wide).resize((4, 4), PILImage.Resampling.BILINEAR)
    assert abs(found["stretch"][4].astype(int) - np.asarray(part)).max() <= 1


@pytest.mark.field("Image.channels")
def test_other_channels_are_bad_unless_channels_is_set(stored, limit):
    stored.put("train", 2, RNG.integers(0, 256, (6, 5, 1), np.uint8))
    match = r"has 1 channels, not 3 \(config.data.inputs.channels=3 converts\)"
    open_fails(stored.open, match)
    split = stored.open(on_bad="skip")
    assert split.num_examples == COUNT - 1 and "has 1 channels, not 3" in split.skipped[0].reason
    split = stored.open(channels=3)
    assert split.num_examples == COUNT and not split.skipped
    assert images_of(stored.open(channels=1)).shape == (COUNT, 6, 5, 1)


def test_the_shape_is_that_of_the_training_images(stored):
    for row in range(COUNT):
        stored.put("test", row, RNG.integers(0, 256, (8, 8, 3), np.uint8))
    open_fails(lambda: stored.open("test"), "an image is 8x8 .* training images are 6x5")
    assert images_of(stored.open("test", size=(3, 4))).shape == (COUNT, 3, 4, 3)


def palette_bmp():
    file = io.BytesIO()
    PILImage.fromarray(RNG.integers(0, 256, (6, 5, 3), np.uint8)).quantize(8).save(file, "BMP")
    return file.getvalue()


BAD = {
    "empty": (lambda good: b"", "is empty"),
    "text": (lambda good: b"hello", "is text, not PNG, JPEG, GIF, BMP or still WebP"),
    "palette": (lambda good: palette_bmp(), "is a BMP with a colour palette"),
    "TIFF": (lambda good: b"II*\0", "is TIFF, not PNG, JPEG, GIF, BMP or still WebP"),
    "BMP": (lambda good: b"BM\xb6\xd6" + bytes(36), "is corrupt or truncated"),
    "truncated": (lambda good: good[: len(good) - 30], "is corrupt or truncated"),
}


@pytest.mark.field("Dataset.on_bad")
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_image_is_named_or_skipped(stored, limit, kind):
    change, reason = BAD[kind]
    stored.put("train", 3, change(stored.files["train"][3]))
    named = f"the image train/3.png {reason}" if stored.how == "file" else reason
    open_fails(stored.open, f"memory, train/3: {named}; .*config.data.on_bad=skip")
    split = stored.open(on_bad="skip")
    assert [bad.reason for bad in split.skipped] == [named]
    assert [bad.place for bad in split.skipped] == ["memory, train/3"]
    good = [row for row in range(COUNT) if row != 3]
    np.testing.assert_array_equal(images_of(split), [stored.pixels["train"][row] for row in good])
    assert split.gather(np.arange(5))["target/label"].numpy().tolist() == [0, 1, 0, 0, 1]
    split.examine(np.arange(COUNT - 1))


def test_a_bad_first_image_does_not_set_the_shape(stored, limit):
    if stored.how != "file":
        stored.shape = (None, None, 3)
    stored.put("train", 0, b"")
    split = stored.open(on_bad="skip", size=None if limit or stored.how == "file" else (6, 5))
    assert split.bound.inputs[""].shape == (6, 5, 3) and len(split.skipped) == 1
    for row in range(COUNT):
        stored.put("train", row, b"x")
    with pytest.raises(UserError, match="none of the 6 images can be decoded"):
        stored.open(on_bad="skip")
    with pytest.raises(UserError, match="none of the 6 examples of 'train' can be used"):
        stored.open(on_bad="skip", size=(6, 5), channels=3)


def test_examine_names_the_first_bad_row_that_is_given(tmp_path, monkeypatch):
    monkeypatch.setattr(image_store, "MEMORY_LIMIT", 0)
    stored = Stored("bytes", tmp_path)
    for row in (2, 4):
        stored.put("train", row, stored.files["train"][row][:40])
    split = stored.open()
    split.examine(np.array([0, 1, -1, 3]))
    with pytest.raises(UserError, match="train/4: is corrupt"):
        split.examine(np.array([5, 4, 2]))


def test_files_are_read_early_only_if_shapes_are_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(image_store, "MEMORY_LIMIT", 0)
    stored = Stored("file", tmp_path)
    stored.put("train", 1, b"text")
    split = stored.open(size=(4, 4), channels=3)
    with pytest.raises(UserError, match=r"the image train/1\.png is text, not PNG"):
        split.examine(np.arange(3))
    with pytest.raises(UserError, match=r"the image train/1\.png is text, not PNG"):
        stored.open(size=(4, 4))
    data = stored.dataset(size=(4, 4))
    (tmp_path / "train/1.png").unlink()
    with pytest.raises(UserError, match=r"the image train/1\.png cannot be read \(No such file"):
        data.open().split("train")


def test_the_shape_of_a_file_is_found_after_a_long_preamble(tmp_path, monkeypatch):
    monkeypatch.setattr(image_store, "MEMORY_LIMIT", 0)
    stored = Stored("file", tmp_path)
    for row in range(COUNT):
        image = PILImage.fromarray(RNG.integers(0, 256, (6, 5), np.uint8)).convert("P")
        file = io.BytesIO()
        profile = RNG.bytes((5000, 70000)[row % 2])  # Random bytes, which zlib cannot compress.
        image.save(file, "PNG", transparency=1, icc_profile=profile)
        stored.put("train", row, file.getvalue())
    assert stored.open().bound.inputs[""].shape == (6, 5, 4)
    stored.put("train", 1, stored.files["train"][1][:69000])
    open_fails(stored.open, "the image train/1.png is corrupt or truncated")


@pytest.mark.field("Augment.crop_area")
def test_images_to_be_cropped_stay_encoded_if_they_would_be_resized(stored):
    cropped = Augment(crop_area=(0.5, 1.0))
    split = stored.open(size=(3, 3), augment=cropped)
    raw = split.gather(np.arange(COUNT))
    decoded = [tf.io.decode_image(one) for one in raw["encoded"]]
    np.testing.assert_array_equal(decoded, stored.pixels["train"])
    assert "image" in stored.open("test", size=(3, 3), augment=cropped).gather(np.arange(2))
    # Images that have the model's size lose nothing in memory.
    assert "image" in stored.open(augment=cropped).gather(np.arange(2))
    bound = split.bound
    assert bound.by_example(["encoded"], False) and bound.by_example(["image"], True)
    assert not bound.by_example(["image"], False)
    seed = tf.constant([3, 4], tf.int64)
    for name, value in (("encoded", raw["encoded"][1]), ("image", stored.pixels["train"][1])):
        found = bound.example({name: value, "weight": 1.0}, True, seed)
        expected = cropped.crop(tf.constant(stored.pixels["train"][1]), seed, (3, 3, 3))
        np.testing.assert_array_equal(found["image"], expected)
        assert found["weight"] == 1.0 and "encoded" not in found


def array_data(values, test=None, lazy=False, **fields):
    splits = {"train": {"x": Column("x", "array", values)}}
    if test is not None:
        splits["test"] = {"x": Column("x", "array", test)}
    return Dataset(source=Memory(splits=splits, lazy=lazy), inputs=Image(columns=("x",), **fields))


@pytest.mark.parametrize("lazy", [False, True])
def test_arrays_to_be_cropped_stay_whole(lazy):
    values = RNG.integers(0, 256, (4, 9, 8), np.uint8)
    cropped = Augment(crop_area=(0.5, 1.0))
    opened = array_data(values, lazy=lazy, size=(3, 4), augment=cropped).open()
    split = opened.split("train")
    raw = split.gather(np.arange(4))
    np.testing.assert_array_equal(raw["image"], values[..., None])
    bound = split.bound.inputs[""]
    assert split.bound.by_example(list(raw), True)
    # Evaluation of the same images resizes them.
    plain = array_data(values, size=(3, 4)).open().split("train").gather(np.arange(4))
    expected, _ = bound.features({"image": plain["image"]}, False)
    np.testing.assert_array_equal(split.bound.features(raw, False)["image"], expected["image"])
    np.testing.assert_array_equal(
        opened.split("train[:4]").gather(np.arange(4))["image"], plain["image"]
    )


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("shape", [(9, 6, 5), (9, 6, 5, 1)])
def test_arrays_are_images(shape, lazy):
    values = RNG.integers(0, 256, shape, np.uint8)
    split = array_data(values, lazy=lazy).open().split("train[2:]")
    assert split.bound.inputs[""].shape == (6, 5, 1)
    np.testing.assert_array_equal(images_of(split), values[2:].reshape(7, 6, 5, 1))
    data = array_data(values, lazy=lazy, size=(4, 8), channels=3, resize="stretch")
    found = images_of(data.open().split("train"))
    expected = PILImage.fromarray(values[2].reshape(6, 5)).resize(
        (8, 4), PILImage.Resampling.BILINEAR
    )
    assert abs(found[2].astype(int) - np.asarray(expected)[..., None]).max() <= 1


@pytest.mark.parametrize(
    "values, message",
    [
        (np.zeros((10, 6, 5), np.float32), "x must be uint8.*float32"),
        (np.zeros((10, 30), np.uint8), r"x must be uint8.*\[30\]"),
        (np.zeros((10, 6, 5, 7), np.uint8), "x must have 1 to 4 channels, got 7"),
    ],
)
def test_arrays_that_are_no_images_are_refused(values, message):
    with pytest.raises(UserError, match=message):
        array_data(values).open().split("train")


@pytest.mark.parametrize(
    "shape, message",
    [
        ((4, 7, 5), "an image is 7x5 .* training images are 6x5; set config.data.inputs.size"),
        ((4, 6, 5, 3), "3 channels but the training images have 1; set config.data.inputs.channel"),
    ],
)
def test_arrays_of_another_shape_than_the_training_images_are_refused(shape, message):
    data = array_data(np.zeros((3, 6, 5), np.uint8), np.zeros(shape, np.uint8))
    with pytest.raises(UserError, match=message):
        data.open().split("test")


def bound(shape=(4, 6, 3), **fields):
    return BoundImage(Image(**fields), shape)


@pytest.mark.field("Image.mean", "Image.std")
def test_features_are_normalised_pixels():
    image = RNG.integers(0, 256, (3, 4, 6, 3), np.uint8)
    features, change = bound().features({"image": tf.constant(image)}, training=False)
    assert change is None and features["image"].dtype == np.float32
    np.testing.assert_allclose(features["image"], image / 127.5 - 1, atol=1e-6)
    mean, std = (0.1, 0.5, 0.9), (0.2, 0.3, 1.0)
    features, _ = bound(mean=mean, std=std).features({"image": tf.constant(image)}, training=False)
    np.testing.assert_allclose(features["image"], (image / 255 - mean) / std, atol=1e-5)


def test_encoded_images_have_the_features_of_their_pixels():
    images = [pixels_of(1, (4 + k, 9 - k, 3))[0] for k in range(3)]
    one = bound(resize="stretch")
    encoded = {"encoded": tf.constant([encode(image) for image in images])}
    pixels = [one.example({"image": image}, False)["image"] for image in images]
    got, _ = one.features(encoded, training=False)
    expected, _ = one.features({"image": tf.stack(pixels)}, training=False)
    np.testing.assert_array_equal(got["image"], expected["image"])


def test_training_images_are_augmented_and_erased_by_the_mean():
    augment = Augment(erasing=1.0, erasing_area=(1.0, 1.0), erasing_aspect=(1.5, 1.5))
    one = bound(mean=(0.2, 0.4, 0.6), augment=augment)
    raw = {"image": tf.constant(pixels_of(2, (4, 6, 3)))}
    seeds = tf.constant([[1, 2], [3, 4]], tf.int64)
    features, _ = one.features(raw, True, seeds)
    np.testing.assert_allclose(features["image"], np.zeros((2, 4, 6, 3)), atol=1e-6)
    assert (one.features(raw, False)[0]["image"].numpy() != 0).any()


def test_mixed_images_report_their_shares_and_weights():
    one = bound(augment=Augment(mixup=1.0))
    assert one.config.pairs_examples and not bound().config.pairs_examples
    raw = {"image": tf.constant(pixels_of(8, (4, 6, 3)))}
    seeds = tf.constant(RNG.integers(0, 2**60, (8, 2)))
    weight = tf.constant([1, 3, 0, 2, 1, 1, 0, 0], tf.float32)
    plain, none = one.features(raw, False, None, weight)
    mixed, change = one.features(raw, True, seeds, tf.ones(8))
    assert none is None and np.ptp(change.mix_share) > 0.1
    share = change.mix_share.numpy().reshape(8, 1, 1, 1)
    whole = plain["image"].numpy()
    expected = share * whole + (1 - share) * whole[np.arange(8) ^ 1]
    np.testing.assert_allclose(mixed["image"], expected, atol=1e-5)
    _, weighted = one.features(raw, True, seeds, weight)
    own = share.ravel() * weight
    others = (1 - share.ravel()) * weight.numpy()[np.arange(8) ^ 1]
    np.testing.assert_allclose(weighted.weight, own + others, rtol=1e-5)
    np.testing.assert_allclose(weighted.weight * weighted.mix_share, own, rtol=1e-5, atol=1e-7)


@pytest.mark.field("Image.test_views")
@pytest.mark.parametrize("n", [0, 1, 5])
def test_views_are_the_mirrored_and_shifted_images(n):
    image = RNG.normal(size=(n, 4, 6, 3)).astype(np.float32)
    assert Image.adjustable == ("test_views", "max_pixels")
    batch = {"image": tf.constant(image)}
    [(share, same)] = bound().views(batch)
    assert share == 1 and same["image"] is batch["image"]
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    moved = [padded[:, :4, :6], padded[:, 2:, 2:]]
    expected = {
        "flip": [(1 / 2, image)],
        "flip_shift": [(1 / 4, image), *((1 / 8, one) for one in moved)],
    }
    for name, groups in expected.items():
        views = bound(test_views=name).views(batch)
        wanted = [(s, view) for s, one in groups for view in (one, one[:, :, ::-1])]
        assert [share for share, _ in views] == [share for share, _ in wanted]
        for (_, ours), (_, theirs) in zip(views, wanted, strict=True):
            np.testing.assert_array_equal(ours["image"], theirs)
        assert len(views_of(batch["image"], name)) == len(views)


def test_serving_takes_pixels_and_encoded_images():
    served = bound().serving()
    assert list(served) == ["serving_default", "image_bytes"]
    part, spec = served["serving_default"]
    assert part == "image" and spec == tf.TensorSpec([None, 4, 6, 3], tf.uint8, name="images")
    part, spec = served["image_bytes"]
    assert part == "encoded" and spec == tf.TensorSpec([None], tf.string, name="encoded")


def test_files_are_read_for_prediction(tmp_path):
    (tmp_path / "a.png").write_bytes(b"any bytes")
    paths = [tmp_path / "a.png", tmp_path / "none.png"]
    [(name, content), (missing, bad)] = bound().from_files(paths)
    assert (name, content) == (str(paths[0]), b"any bytes")
    assert missing == str(paths[1]) and isinstance(bad, BadExample)
    assert str(bad) == "cannot be read (No such file or directory)"


def test_what_was_learned_is_saved(tmp_path):
    one = bound((7, 5, 1))
    learned = one.save(tmp_path)
    assert learned == {"height": 7, "width": 5, "channels": 1, "mean": None, "std": None}
    assert one.config.load(learned, tmp_path) == one
    assert one.describe() == "images 7x5x1"
    assert one.model_specs()["image"].shape == (7, 5, 1)


@pytest.mark.parametrize(
    "fields",
    [{"size": (3, 0)}, {"size": (3,)}, {"channels": 5}, {"resize": "squeeze"}, {"std": (1.0, 0)}],
)
def test_impossible_values_are_refused_by_name(fields):
    with pytest.raises(ValueError, match=f"^{next(iter(fields))} must be .*got"):
        Image(**fields)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"mean": (0.1, 0.2)}, "mean must have one number for each of the 1 channels, got 2"),
        ({"std": (0.1, 0.2)}, "std must have one number for each of the 1 channels, got 2"),
        ({"augment": Augment(hue=0.1)}, "augment.hue needs images of 3 channels, got 1"),
        (
            {"test_views": "flip_shift"},
            "test_views flip_shift needs images of at least 2x2, got 1x6",
        ),
    ],
)
def test_fields_that_do_not_fit_the_images_are_refused(fields, message):
    data = array_data(np.zeros((3, 1, 6), np.uint8), **fields)
    with pytest.raises(UserError, match=rf"^config\.data\.inputs\.{message}"):
        data.open().split("train")


@pytest.mark.parametrize("lazy", [False, True])
def test_two_images_per_example_are_named_inputs(lazy, monkeypatch):
    monkeypatch.setattr(image_store, "MEMORY_LIMIT", 0)
    left, right = pixels_of(4, (6, 5, 3)), pixels_of(4, (3, 7, 1))
    columns = {
        name: Column(name, "bytes", [encode(one) for one in pixels])
        for name, pixels in (("left", left), ("right", right))
    }
    data = Dataset(
        source=Memory(splits={"train": columns}, lazy=lazy),
        inputs={
            "a": Image(columns=("left",), size=(6, 5)),
            "b": Image(columns=("right",), size=(3, 7), mean=(0.0,), std=(1.0,)),
        },
    )
    split = data.open().split("train")
    bound = split.bound
    assert {name: spec.shape for name, spec in bound.model_specs().items()} == {
        "a/image": (6, 5, 3),
        "b/image": (3, 7, 1),
    }
    raw = split.gather(np.arange(4))
    assert bound.by_example(list(raw), False)
    batch = bound.features(raw, training=False)
    np.testing.assert_allclose(batch["a/image"], left / 127.5 - 1, atol=1e-6)
    np.testing.assert_allclose(batch["b/image"], right / 255, atol=1e-6)
    arguments = bound.serving()["image_bytes"]
    assert {name: part for name, (part, _) in arguments.items()} == {
        "a": "a/encoded",
        "b": "b/encoded",
    }


@pytest.mark.field("Image.max_pixels")
def test_too_large_images_are_bad(stored, limit):
    stored.put("train", 3, RNG.integers(0, 256, (30, 30, 3), np.uint8))
    sizes = {"size": (6, 5), "channels": 3, "max_pixels": 899}
    open_fails(lambda: stored.open(**sizes), "train/3.*has more pixels than max_pixels=899; ")
    assert stored.open(on_bad="skip", **sizes).num_examples == COUNT - 1
    assert stored.open(**{**sizes, "max_pixels": 900}).num_examples == COUNT
    with pytest.raises(ValueError, match="^max_pixels must be at least 1, got 0"):
        Image(max_pixels=0)


def test_the_bit_depth_of_16_bits_is_that_of_the_training_images(stored, limit, tmp_path):
    values = RNG.integers(0, 4000, (COUNT, 6, 5), np.uint16)
    values[0, 0, 0] = 3000
    for row in range(COUNT):
        file = io.BytesIO()
        PILImage.fromarray(values[row]).save(file, "PNG")
        stored.put("train", row, file.getvalue())
    split = stored.open(channels=1, size=(6, 5))
    bound = split.bound.inputs[""]
    assert bound.bit_depth == 12 and bound.describe() == "images 6x5x1 (12 of 16 bits, scaled to 8)"
    expected = np.round(values[..., None] * (255 / 4095))
    np.testing.assert_array_equal(images_of(split), expected)
    loaded = bound.config.load(bound.save(tmp_path), tmp_path)
    assert loaded == bound
    served, _ = loaded.features({"encoded": tf.constant(stored.files["train"])}, False)
    np.testing.assert_allclose(served["image"], expected / 127.5 - 1, atol=1e-6)
    assert stored.open("test", channels=1).bound.inputs[""].bit_depth == 12


def test_turned_images_have_the_size_that_people_see(stored, limit):
    exif = PILImage.Exif()
    exif[0x0112] = 6
    for row in range(COUNT):
        turned = np.rot90(stored.pixels["train"][row]).copy()
        stored.put("train", row, encode(turned, exif=exif))
    split = stored.open()
    assert split.bound.inputs[""].shape == (6, 5, 3)
    np.testing.assert_array_equal(images_of(split), stored.pixels["train"])


def test_a_large_png_of_16_bits_is_not_decoded_for_its_bit_depth(tmp_path, monkeypatch):
    for name, side in (("ant/0", 4), ("ant/1", 40), ("bee/0", 4)):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        PILImage.fromarray(np.full((side, side), 100 * side, np.uint16)).save(path)
    fields = {"target": ClassLabel(), "on_bad": "skip"}
    image = Image(size=(4, 4), channels=1, max_pixels=100)
    data = Dataset(source=ClassFolders(str(tmp_path)), inputs=image, **fields)
    assert data.open().bound.inputs[""].bit_depth == (100 * 4).bit_length()
