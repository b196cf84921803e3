"""Data sets of TFDS: rows in its order, read by record or at once, and what is missing."""

import subprocess
import time

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from plain_fields import Plain, cells, ids, read, wants

from modelzoo.data import columns
from modelzoo.data.dataset import Dataset
from modelzoo.data.inputs import image_store
from modelzoo.data.inputs.image import Image
from modelzoo.data.sources.tfds import Tfds
from modelzoo.data.targets.class_label import ClassLabel
from modelzoo.fields.errors import UserError

IMAGE = wants("inputs", "picture", "array", "bytes", suffixes=(".png",), noun="images")
TEXT = wants("inputs", "name", "text", "bytes", suffixes=(".txt",), noun="texts")
LABEL = wants("target", "kind", "class", "text")
NAME = Plain(columns=("name",), accepted=("bytes",))

COUNT = 23


class TinyPictures(tfds.core.GeneratorBasedBuilder):
    """Images of one size, or of any where the config says so."""

    VERSION = tfds.core.Version("1.2.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name) for name in ("even", "uneven")]

    def _info(self):
        shape = (6, 5, 3) if self.builder_config.name != "uneven" else (None, None, 3)
        features = {
            "picture": tfds.features.Image(shape=shape),
            "kind": tfds.features.ClassLabel(names=["x", "y", "z"]),
            "name": tfds.features.Text(),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0), "test": self._generate_examples(1)}

    def _generate_examples(self, seed):
        rng = np.random.default_rng(seed)
        for row in range(COUNT):
            height = 6 + row % 3 * (self.builder_config.name == "uneven")
            image = rng.integers(0, 256, (height, 5, 3))
            name = f"picture {row} é"
            yield row, {"picture": image.astype(np.uint8), "kind": row % 3, "name": name}


def prepare(data_dir, config="even", **options):
    builder = TinyPictures(data_dir=data_dir, config=config, **options)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=3))
    return builder


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("tfds"))
    for config in ("even", "uneven"):
        prepare(path, config)
    return path


def pictures(data_dir, config="even"):
    return Tfds(f"tiny_pictures/{config}", data_dir=str(data_dir))


def stored(data_dir, split):
    dataset = tfds.load(
        "tiny_pictures/even",
        split=split,
        data_dir=data_dir,
        download=False,
        # Without this TFDS interleaves the files, sixteen rows from each in turn.
        read_config=tfds.ReadConfig(interleave_cycle_length=1),
    )
    return list(dataset.as_numpy_iterator())


@pytest.mark.field("Tfds.name", "Tfds.data_dir")
@pytest.mark.parametrize("split", ["train", "test"])
def test_images_are_read_by_record_in_the_order_of_tfds(data_dir, split):
    rows = read(pictures(data_dir), split, IMAGE, LABEL)
    theirs = stored(data_dir, split)
    assert len(rows) == len(theirs) == COUNT
    assert rows.ids == [f"{split}/{row}" for row in range(COUNT)]
    assert rows.place(4) == f"data set tiny_pictures/even, {split}/4"
    (image,), (label,) = rows.columns["inputs"], rows.columns["target"]
    assert (image.form, image.shape, image.values) == ("bytes", (6, 5, 3), None)
    assert (label.form, label.names, label.values) == ("class", ("x", "y", "z"), None)
    order = np.random.default_rng(0).permutation(COUNT)
    tensors = rows.read(tf.constant(order))
    pixels = [tf.io.decode_png(encoded).numpy() for encoded in tensors["picture"]]
    np.testing.assert_array_equal(pixels, [theirs[row]["picture"] for row in order])
    assert tensors["kind"].dtype == tf.int64
    assert tensors["kind"].numpy().tolist() == [theirs[row]["kind"] for row in order]
    (image,) = read(pictures(data_dir, "uneven"), split, IMAGE).columns["inputs"]
    assert image.shape == (None, None, 3)


@pytest.mark.parametrize("piece", [4, 1024])
def test_texts_and_labels_are_read_at_once(data_dir, piece, monkeypatch):
    monkeypatch.setattr(columns, "_PIECE", piece)
    rows = read(pictures(data_dir), "train", TEXT, LABEL)
    theirs = stored(data_dir, "train")
    assert cells(rows, "inputs") == [[example["name"] for example in theirs]]
    (label,) = rows.columns["target"]
    assert label.values.dtype == np.int64 and rows.read is None
    assert label.values.tolist() == [example["kind"] for example in theirs]


SLICES = ["train[5:17]", "train[-30%:]", "test[:-8]", "test[13%:62%]", "train[9:11]+train[:2]"]


@pytest.mark.parametrize("split", SLICES)
def test_slices_are_those_of_tfds(data_dir, split):
    found = ids(pictures(data_dir), split, NAME)
    rows = read(pictures(data_dir), split[: split.index("[")], TEXT)
    names = dict(zip(rows.ids, cells(rows, "inputs")[0], strict=True))
    assert [names[name] for name in found] == [row["name"] for row in stored(data_dir, split)]


@pytest.mark.parametrize("limit", [2**30, 0])
def test_sums_of_slices_are_those_of_tfds(data_dir, limit, monkeypatch):
    monkeypatch.setattr(image_store, "MEMORY_LIMIT", limit)
    data = Dataset(
        source=pictures(data_dir),
        inputs=Image(columns=("picture",)),
        target=ClassLabel(columns=("kind",)),
    )
    text = "train[:2]+test[3:9]+train[20:]"
    split, theirs = data.open().split(text), stored(data_dir, text)
    assert split.ids[:4] == ["train/0", "train/1", "test/3", "test/4"]
    order = np.random.default_rng(0).permutation(len(theirs))
    read = tf.function(split.gather)
    # The second batch has rows of one base split only.
    for rows in (order, np.array([1, 0, 0])):
        raw = read(tf.constant(rows, tf.int64))
        images = raw["image"] if limit else [tf.io.decode_png(one) for one in raw["encoded"]]
        np.testing.assert_array_equal(images, [theirs[row]["picture"] for row in rows])
        np.testing.assert_array_equal(raw["target/label"], [theirs[row]["kind"] for row in rows])
    function = read.get_concrete_function(tf.TensorSpec([4], tf.int64))
    assert not any(op.op_def.is_stateful for op in function.graph.get_operations())


def test_array_record_files_read_alike(data_dir, tmp_path):
    pytest.importorskip("array_record")
    prepare(str(tmp_path), file_format="array_record")
    theirs = read(pictures(data_dir), "train", TEXT, LABEL)
    ours = read(pictures(tmp_path), "train", TEXT, LABEL)
    for key in ("inputs", "target"):
        assert cells(ours, key) == cells(theirs, key)


def test_reading_is_stateless_so_that_op_determinism_lets_it_run_ahead(data_dir):
    rows = read(pictures(data_dir), "train", IMAGE, LABEL)
    function = tf.function(rows.read).get_concrete_function(tf.TensorSpec([4], tf.int64))
    operations = {op.type: op.op_def.is_stateful for op in function.graph.get_operations()}
    assert "PyFuncStateless" in operations and not any(operations.values())
    assert function.structured_outputs["picture"].shape == [4]


def test_an_image_and_a_text_of_a_record_are_read_together(data_dir):
    both = wants("inputs.b", "name", "bytes", suffixes=(".txt",))
    rows = read(pictures(data_dir), "train", IMAGE, both, LABEL)
    assert set(rows.read(tf.constant([3], tf.int64))) == {"picture", "name", "kind"}
    alone = read(pictures(data_dir), "train", TEXT)
    assert cells(rows, "inputs.b") == cells(alone, "inputs")


def test_a_missing_split_lists_those_that_exist(data_dir):
    with pytest.raises(UserError, match=r"tiny_pictures/even has no split 'dev'; it has .*train"):
        ids(pictures(data_dir), "dev", NAME)
    with pytest.raises(UserError, match=r"no split 'dev'.*set config.data.validation_split=none"):
        ids(pictures(data_dir), "validation", NAME, validation_split="dev")


def test_unprepared_data_is_answered_at_once_with_a_command_that_python_takes(tmp_path):
    start = time.monotonic()
    with pytest.raises(UserError, match="not prepared") as info:
        Tfds("cifar10", data_dir=str(tmp_path)).open()
    assert time.monotonic() - start < 30  # A download would be tried for 200 s.
    assert 'python -c "import tensorflow_datasets as tfds; tfds.b' in str(info.value)
    for folder in (tmp_path, tmp_path / "it's $HOME"):
        with pytest.raises(UserError, match="not prepared") as info:
            Tfds("cifar10", data_dir=str(folder)).open()
        # What a shell passes on.
        words = str(info.value).partition("prepare it with: ")[2]
        shown = subprocess.run(
            ["sh", "-c", "printf %s " + words.removeprefix("python -c ")],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert shown == (
            "import tensorflow_datasets as tfds; "
            f"tfds.builder('cifar10', data_dir={str(folder)!r}).download_and_prepare()"
        )


def test_an_unknown_name_gets_near_ones(tmp_path):
    with pytest.raises(UserError, match="did you mean cifar10"):
        Tfds("cifar_10", data_dir=str(tmp_path)).open()
    with pytest.raises(UserError, match="no such name"):
        Tfds("qqqqqqqq", data_dir=str(tmp_path)).open()


def damage(data_dir, change):
    [path] = data_dir.glob("tiny_pictures/even/1.2.0/*train*00001-of*")
    path.write_bytes(change(path.read_bytes()))
    return path.name


def test_a_damaged_file_is_named(tmp_path):
    prepare(str(tmp_path))
    name = damage(tmp_path, lambda data: data[:-30])
    with pytest.raises(UserError, match=f"{name} is damaged"):
        read(pictures(tmp_path), "train", TEXT)
    damage(tmp_path, lambda data: b"")
    with pytest.raises(UserError, match=f"{name} is damaged"):
        read(pictures(tmp_path), "train", TEXT)
    assert len(read(pictures(tmp_path), "test", TEXT)) == COUNT
