import subprocess
import time

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from modelzoo.data import source as source_module
from modelzoo.data.tfds_images import TfdsImages
from modelzoo.fields.errors import UserError

COUNT = 23


class TinyPictures(tfds.core.GeneratorBasedBuilder):
    """Images of one size, or of any where the config says so."""

    VERSION = tfds.core.Version("1.2.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=name) for name in ("even", "uneven", "unlabelled", "wide")
    ]

    def _info(self):
        shape = (6, 5, 3) if self.builder_config.name != "uneven" else (None, None, 3)
        image = tfds.features.Image(
            shape=shape, dtype=np.uint16 if self.builder_config.name == "wide" else np.uint8
        )
        features = {"picture": image, "kind": tfds.features.ClassLabel(names=["x", "y", "z"])}
        if self.builder_config.name == "unlabelled":
            features["kind"] = tfds.features.Scalar(np.int64)
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0), "test": self._generate_examples(1)}

    def _generate_examples(self, seed):
        rng = np.random.default_rng(seed)
        for row in range(COUNT):
            height = 6 + row % 3 * (self.builder_config.name == "uneven")
            image = rng.integers(0, 256, (height, 5, 3))
            dtype = np.uint16 if self.builder_config.name == "wide" else np.uint8
            yield row, {"picture": image.astype(dtype), "kind": row % 3}


def prepare(data_dir, config="even", **options):
    builder = TinyPictures(data_dir=data_dir, config=config, **options)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=3))
    return builder


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("tfds"))
    for config in ("even", "uneven", "unlabelled", "wide"):
        prepare(path, config)
    return path


def pictures(data_dir, config="even", **fields):
    return TfdsImages(f"tiny_pictures/{config}", data_dir=data_dir, **fields)


@pytest.fixture(params=[2**30, 0], ids=["in memory", "from files"])
def memory_limit(request, monkeypatch):
    monkeypatch.setattr(source_module, "MEMORY_LIMIT", request.param)
    return request.param


def images_of(source, rows):
    raw = source.gather(np.asarray(rows, np.int64))
    if "image" in raw:
        return raw["image"].numpy(), raw["label"].numpy()
    from modelzoo.data.images import ImageDecoder

    decoded = ImageDecoder(source.spec).decode_batch(raw["encoded"])
    return decoded.numpy(), raw["label"].numpy()


@pytest.mark.field("Tfds.name", "Tfds.data_dir")
@pytest.mark.parametrize(
    "split", ["train", "test", "train[5:17]", "train[-30%:]", "train[:2]+test[3:9]"]
)
def test_rows_are_those_of_tfds_in_its_order(data_dir, memory_limit, split):
    source = pictures(data_dir).open(split)
    theirs = list(
        tfds.load(
            "tiny_pictures/even",
            split=split,
            data_dir=data_dir,
            download=False,
            # Without this TFDS interleaves the files, sixteen rows from each in turn.
            read_config=tfds.ReadConfig(interleave_cycle_length=1),
        ).as_numpy_iterator()
    )
    assert source.num_examples == len(theirs)
    order = np.random.default_rng(0).permutation(len(theirs))
    images, labels = images_of(source, order)
    np.testing.assert_array_equal(images, [theirs[row]["picture"] for row in order])
    np.testing.assert_array_equal(labels, [theirs[row]["kind"] for row in order])
    assert source.spec.shape == (6, 5, 3) and source.spec.class_names == ("x", "y", "z")
    source.check(order)


def test_ids_name_the_row_of_the_whole_split(data_dir):
    assert pictures(data_dir).open("train").ids == [f"train/{row}" for row in range(COUNT)]
    ids = pictures(data_dir).open("train[9:11]+test[:2]").ids
    assert ids == ["train/9", "train/10", "test/0", "test/1"]


def test_array_record_files_read_alike(data_dir, tmp_path, memory_limit):
    pytest.importorskip("array_record")
    prepare(str(tmp_path), file_format="array_record")
    rows = np.arange(COUNT - 4)[::-1]
    ours = images_of(pictures(str(tmp_path)).open("train[4:]"), rows)
    reference = images_of(pictures(data_dir).open("train[4:]"), rows)
    np.testing.assert_array_equal(ours[0], reference[0])
    np.testing.assert_array_equal(ours[1], reference[1])


def test_reading_is_stateless_as_op_determinism_wants_of_what_is_read_ahead(data_dir, memory_limit):
    source = pictures(data_dir).open("train")
    function = tf.function(source.gather).get_concrete_function(tf.TensorSpec([4], tf.int64))
    operations = {op.type: op.op_def.is_stateful for op in function.graph.get_operations()}
    assert ("PyFuncStateless" in operations) == (memory_limit == 0)
    assert not any(operations.values())


def test_roles_go_through_the_fields(data_dir):
    config = pictures(data_dir, train_split="train[:9]", validation_split="train[9:]")
    assert config.open("train").num_examples == 9
    assert config.open("validation").ids[0] == "train/9"
    with pytest.raises(UserError, match=r"data\.validation_split is None"):
        pictures(data_dir).open("validation")


def test_images_of_any_size_need_a_size(data_dir, memory_limit):
    match = "may be of any size" if memory_limit == 0 else r"the image train/\d+ is .x5 but the"
    with pytest.raises(UserError, match=f"{match}.*set config.data.image_size"):
        pictures(data_dir, "uneven").open("train")
    source = pictures(data_dir, "uneven", image_size=(6, 5), channels=1).open("train")
    assert images_of(source, range(COUNT))[0].shape == (COUNT, 6, 5, 1)


def test_data_without_class_labels_or_bytes_is_refused(data_dir):
    with pytest.raises(UserError, match=r"has not one class label in each.*picture"):
        pictures(data_dir, "unlabelled").open("train")
    with pytest.raises(UserError, match="are uint16, not uint8"):
        pictures(data_dir, "wide").open("train")


def test_a_missing_split_lists_those_that_are_there(data_dir):
    for split in ("validation_split", "train[:abc]", "train[:99]"):
        with pytest.raises(UserError, match=r"no split .*it has .*train \(23\).*test \(23\)"):
            pictures(data_dir).open(split)
    with pytest.raises(UserError, match=r"no split 'dev'.*set config.data.validation_split=none"):
        pictures(data_dir, validation_split="dev").open("validation")


def test_unprepared_data_is_answered_at_once_with_a_command_that_python_takes(tmp_path):
    start = time.monotonic()
    with pytest.raises(UserError, match="not prepared") as info:
        TfdsImages("cifar10", data_dir=str(tmp_path)).open("train")
    assert time.monotonic() - start < 30  # A download would be tried for 200 s.
    assert 'python -c "import tensorflow_datasets as tfds; tfds.b' in str(info.value)
    for folder in (tmp_path, tmp_path / "it's $HOME"):
        with pytest.raises(UserError, match="not prepared") as info:
            TfdsImages("cifar10", data_dir=str(folder)).open("train")
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
        TfdsImages("cifar_10", data_dir=str(tmp_path)).open("train")
    with pytest.raises(UserError, match="no such name"):
        TfdsImages("qqqqqqqq", data_dir=str(tmp_path)).open("train")


def damage(data_dir, change):
    [path] = data_dir.glob("tiny_pictures/even/1.2.0/*train*00001-of*")
    path.write_bytes(change(path.read_bytes()))
    return path.name


def test_a_damaged_file_is_named(tmp_path):
    prepare(str(tmp_path))
    name = damage(tmp_path, lambda data: data[:-30])
    with pytest.raises(UserError, match=f"{name} is damaged"):
        pictures(str(tmp_path)).open("train")
    damage(tmp_path, lambda data: b"")
    with pytest.raises(UserError, match=f"{name} is damaged"):
        pictures(str(tmp_path)).open("train")
    assert pictures(str(tmp_path)).open("test").num_examples == COUNT


def test_a_corrupt_image_is_named_or_skipped(tmp_path, memory_limit):
    prepare(str(tmp_path))

    # The pixels of one PNG: its checksum no longer fits.
    def change(data):
        at = data.index(b"IDAT") + 20
        return data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :]

    damage(tmp_path, change)
    config = pictures(str(tmp_path))
    if memory_limit:
        with pytest.raises(UserError, match=r"the image train/8 is corrupt"):
            config.open("train")
    else:
        source = config.open("train")
        source.check(np.arange(8))
        with pytest.raises(UserError, match=r"the image train/8 is corrupt"):
            source.check(np.arange(COUNT))
    source = pictures(str(tmp_path), on_bad_image="skip").open("train")
    assert source.num_examples == COUNT - 1 == len(images_of(source, range(COUNT - 1))[0])
    assert source.skipped == [("train/8", "is corrupt or truncated")]
    assert "train/8" not in source.ids
    source.check(np.arange(COUNT - 1))
