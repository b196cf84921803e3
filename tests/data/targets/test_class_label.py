"""Classes from names, numbers and records: their order, labels and bad cells."""

import numpy as np
import pytest
import tensorflow as tf
from memory_source import Memory

from modelzoo.data.columns import Column
from modelzoo.data.dataset import Dataset
from modelzoo.data.inputs.image import Image
from modelzoo.data.inputs.input import Change
from modelzoo.data.targets.class_label import BoundClassLabel, ClassLabel
from modelzoo.fields.errors import UserError


def dataset(columns, lazy=False, **fields):
    """The column of the class by split, beside images."""
    splits = {}
    for name, column in columns.items():
        images = np.zeros((len(column.values), 2, 2), np.uint8)
        splits[name] = {"x": Column("x", "array", images), "kind": column}
    source = Memory(splits=splits, lazy=lazy)
    target = ClassLabel(columns=("kind",))
    return Dataset(source=source, inputs=Image(columns=("x",)), target=target, **fields)


def texts(*cells):
    return Column("kind", "text", list(cells))


def numbers(values, names=("ant", "bee", "cat")):
    return Column("kind", "class", np.array(values), names=names)


def labels_of(split):
    return split.gather(np.arange(split.num_examples))["target/label"]


def test_texts_are_numbered_in_sorted_order_over_all_splits_in_use():
    columns = {"train": texts("dog", "ant", "dog"), "test": texts("cät", "ant"), "more": texts("x")}
    data = dataset(columns).open()
    assert data.bound.target.names == ("ant", "cät", "dog")
    assert labels_of(data.split("train")).numpy().tolist() == [2, 0, 2]
    label = labels_of(data.split("test"))
    assert label.dtype == tf.int64 and label.numpy().tolist() == [1, 0]
    with pytest.raises(
        UserError, match="1 of its classes .* the first 'x'; it knows ant, cät, dog"
    ):
        data.split("more")
    assert dataset(columns, test_split=None).open().bound.target.names == ("ant", "dog")


@pytest.mark.parametrize("lazy", [False, True])
def test_numbers_keep_the_order_of_the_source(lazy):
    data = dataset({"train": numbers([2, 0, 1], ("c", "b", "a"))}, lazy).open()
    split = data.split("train[1:]")
    assert split.bound.target.names == ("c", "b", "a")
    assert labels_of(split).dtype == tf.int64 and labels_of(split).numpy().tolist() == [0, 1]
    assert split.bound.describe() == "3 classes, images 2x2x1"
    assert split.bound.target.label_to_json(np.int64(2)) == "a"


def test_labels_are_only_read_from_records_that_are_read_anyway():
    images = Column("x", "bytes", [tf.io.encode_png(np.zeros((2, 2, 1), np.uint8)).numpy()] * 3)
    source = Memory(splits={"train": {"x": images, "kind": numbers([2, 0, 1])}}, lazy=True)
    target = ClassLabel(columns=("kind",))
    data = Dataset(source=source, inputs=Image(columns=("x",)), target=target)
    raw = data.open().split("train").gather(np.arange(3))
    assert "image" in raw and raw["target/label"].numpy().tolist() == [2, 0, 1]


@pytest.mark.parametrize("lazy", [False, True])
def test_a_split_without_labels_is_refused(lazy):
    data = dataset({"train": numbers([2, 0]), "test": numbers([-1, -1])}, lazy).open()
    with pytest.raises(UserError, match="memory, test/0: the class is -1, .* from 0 to 2"):
        data.split("test")


def test_two_classes_of_one_name_are_refused():
    with pytest.raises(UserError, match="names must differ from each other, got 'b' twice"):
        dataset({"train": numbers([0], ("b", "a", "b"))}).open().split("train")


def test_an_empty_cell_is_named_or_skipped():
    columns = {"train": texts("dog", "", "ant")}
    with pytest.raises(UserError, match="memory, train/1: has nothing in the column kind"):
        dataset(columns).open().split("train")
    split = dataset(columns, on_bad="skip").open().split("train")
    assert split.ids == ["train/0", "train/2"] and labels_of(split).numpy().tolist() == [1, 0]
    assert [tuple(bad) for bad in split.skipped] == [
        ("train", "memory, train/1", "has nothing in the column kind")
    ]


@pytest.mark.parametrize("lazy", [False, True])
def test_another_order_of_classes_is_mapped_by_name(lazy):
    bound = dataset({"train": numbers([0])}).open().bound
    other = dataset({"train": numbers([0, 1, 1], ("cat", "ant"))}, lazy)
    split = other.open(bound).split("train")
    assert labels_of(split).numpy().tolist() == [2, 0, 0]
    unknown = dataset({"train": numbers([0], ("cat", "x", "y"))}, lazy)
    with pytest.raises(
        UserError, match="2 of its classes .* the first 'x'; it knows ant, bee, cat"
    ):
        unknown.open(bound).split("train")


def test_mixed_examples_have_the_label_of_the_partner():
    bound = BoundClassLabel(ClassLabel(), ("a", "b"))
    raw = {"label": tf.constant([0, 1, 1, 1], tf.int64)}
    assert list(bound.features(raw, None)) == ["label"]
    batch = bound.features(raw, Change(tf.ones(4), tf.ones(4)))
    assert batch["label"].numpy().tolist() == [0, 1, 1, 1]
    assert batch["label_2"].numpy().tolist() == [1, 0, 1, 1]


def test_what_was_learned_is_saved(tmp_path):
    bound = BoundClassLabel(ClassLabel(), ("b", "a"))
    assert bound.config.load(bound.save(tmp_path), tmp_path, {}) == bound


NUMBERS = numbers([1, 1, 0, 1, 1, 0], ("a", "b"))


@pytest.mark.parametrize(
    "column, lazy", [(texts(*"bbabba"), False), (NUMBERS, False), (NUMBERS, True)]
)
def test_folds_are_stratified(column, lazy):
    data = dataset({"train": column}, lazy, train_split="train", test_split="train", fold=(1, 2, 0))
    data = data.open()
    for role in ("train", "test"):
        assert sorted(labels_of(data.split(role)).numpy().tolist()) == [0, 1, 1]
