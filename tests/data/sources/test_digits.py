"""The embedded digits: the splits, the pixels, and the order in which TFDS stores them."""

import numpy as np
import pytest
import sklearn.datasets
import tensorflow_datasets as tfds
from plain_fields import Plain, ids, read, wants

from modelzoo.data.sources import digits
from modelzoo.data.sources.digits import Digits
from modelzoo.fields.errors import UserError

WANTED = (wants("inputs", "image", "array"), wants("target", "label", "class"))


def test_splits_are_disjoint_complete_and_stratified():
    rows = digits.split_rows()
    assert {name: len(part) for name, part in rows.items()} == digits.SIZES
    assert sorted(np.concatenate(list(rows.values()))) == list(range(1797))
    labels = sklearn.datasets.load_digits().target
    whole = np.bincount(labels) / 1797
    for part in rows.values():
        np.testing.assert_allclose(np.bincount(labels[part]) / len(part), whole, atol=0.006)


def test_the_splits_never_change():
    rows = digits.split_rows()
    assert rows["test"][:10].tolist() == [21, 24, 28, 34, 35, 37, 39, 42, 45, 51]
    assert rows["validation"][:5].tolist() == [5, 15, 29, 31, 41]


def test_pixels_are_scaled_to_bytes():
    images, labels = digits.load()
    original = sklearn.datasets.load_digits()
    assert images.dtype == np.uint8 and images.shape == (1797, 8, 8, 1)
    assert images.max() == 255 and images.min() == 0
    np.testing.assert_array_equal(np.rint(images[..., 0] * (16.0 / 255)), original.images)
    np.testing.assert_array_equal(labels, original.target)


class StoredDigits(tfds.core.GeneratorBasedBuilder):
    """The same examples as a TFDS data set."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(8, 8, 1)),
            "label": tfds.features.ClassLabel(num_classes=10),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {name: self._generate_examples(part) for name, part in digits.split_rows().items()}

    def _generate_examples(self, rows):
        images, labels = digits.load()
        for row in rows:
            yield int(row), {"image": images[row], "label": int(labels[row])}


def test_the_order_is_that_of_tfds(tmp_path):
    StoredDigits(data_dir=str(tmp_path)).download_and_prepare()
    for split, size in digits.SIZES.items():
        rows = read(Digits(), split, *WANTED)
        stored = tfds.load("stored_digits", split=split, data_dir=tmp_path, download=False)
        theirs = list(tfds.as_numpy(stored))
        (image,), (label,) = rows.columns["inputs"], rows.columns["target"]
        np.testing.assert_array_equal(image.values, [example["image"] for example in theirs])
        np.testing.assert_array_equal(label.values, [example["label"] for example in theirs])
        assert label.names == tuple("0123456789") and image.values.dtype == np.uint8
        assert rows.ids == [f"{split}/{k}" for k in range(size)]
        assert rows.place(3) == f"Digits, {split}/3"


def test_slices_are_of_stored_positions():
    image = Plain(columns=("image",), accepted=("array",), split_key="id")
    assert ids(Digits(), "train[:2]", image) == ["train/0", "train/1"]
    assert ids(Digits(), "test[50%:]", image) == [f"test/{k}" for k in range(180, 360)]
    data = Digits().open()
    assert data.default_columns(wants("inputs", (), "array")) == ("image",)
    assert data.default_columns(wants("target", (), "class")) == ("label",)


def test_a_column_or_form_that_does_not_exist_is_refused():
    with pytest.raises(UserError, match=r"Digits has no column 'picture' for config\.data\.inputs"):
        read(Digits(), "test", wants("inputs", "picture", "array"))
    message = r"config\.data\.target\.columns: the column 'image' of Digits holds array, not class"
    with pytest.raises(UserError, match=message):
        read(Digits(), "test", wants("target", "image", "class"))
