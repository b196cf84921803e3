import os

import numpy as np
import pytest
import sklearn.datasets
import tensorflow_datasets as tfds

from modelzoo.data import digits
from modelzoo.data.tfds_images import TfdsImages
from modelzoo.fields.errors import UserError


def test_splits_are_disjoint_whole_and_stratified():
    rows = digits.split_rows()
    assert {name: len(part) for name, part in rows.items()} == {
        "train": 1257,
        "validation": 180,
        "test": 360,
    }
    assert sorted(np.concatenate(list(rows.values()))) == list(range(1797))
    labels = sklearn.datasets.load_digits().target
    whole = np.bincount(labels) / 1797
    for part in rows.values():
        np.testing.assert_allclose(np.bincount(labels[part]) / len(part), whole, atol=0.006)


def test_the_splits_are_fixed_for_all_time():
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


def test_it_prepares_itself_and_is_a_tfds_data_set(tmp_path, capfd):
    source = TfdsImages("digits", data_dir=str(tmp_path), validation_split="validation").open(
        "validation"
    )
    assert source.num_examples == 180 and source.spec.shape == (8, 8, 1)
    assert source.spec.class_names == tuple("0123456789")
    assert "Download" not in capfd.readouterr().out
    assert [path.name for path in (tmp_path / "digits").iterdir()] == ["1.0.0"]
    dataset = tfds.load("digits", split="validation", data_dir=tmp_path, download=False)
    raw = source.gather(np.arange(180))
    rows = digits.split_rows()["validation"]
    images, labels = digits.load()
    theirs = list(tfds.as_numpy(dataset))
    np.testing.assert_array_equal(raw["image"], [example["image"] for example in theirs])
    np.testing.assert_array_equal(raw["label"], [example["label"] for example in theirs])
    ours = {
        (image.tobytes(), int(label))
        for image, label in zip(raw["image"].numpy(), raw["label"].numpy(), strict=True)
    }
    assert ours == {(images[row].tobytes(), int(labels[row])) for row in rows}


def test_another_process_may_be_first(tmp_path, monkeypatch):
    rename = os.rename

    def late(source, target):
        monkeypatch.setattr(os, "rename", rename)
        digits.prepare(str(tmp_path))
        rename(source, target)

    monkeypatch.setattr(os, "rename", late)
    digits.prepare(str(tmp_path))
    assert os.rename is rename
    assert [path.name for path in (tmp_path / "digits").iterdir()] == ["1.0.0"]
    assert TfdsImages("digits", data_dir=str(tmp_path)).open("test").num_examples == 360


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot prepare the data set 'digits'.*TFDS_DATA_DIR"):
        TfdsImages("digits", data_dir=str(tmp_path / "file")).open("train")
