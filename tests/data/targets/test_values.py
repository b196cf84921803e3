"""Numbers from columns, arrays and records."""

import numpy as np
import pytest
import tensorflow as tf
from memory_source import Memory

from modelzoo.data.columns import Column
from modelzoo.data.dataset import Dataset
from modelzoo.data.inputs.image import Image
from modelzoo.data.inputs.input import Change
from modelzoo.data.targets.values import BoundValues, Values
from modelzoo.fields.errors import UserError

TABLE = np.random.default_rng(0).normal(size=(5, 2))


def opened(*columns, lazy=False, bound=None, **fields):
    images = Column("x", "array", np.zeros((len(columns[0].values), 2, 2), np.uint8))
    split = {"x": images, **{column.name: column for column in columns}}
    data = Dataset(
        source=Memory(splits={"train": split}, lazy=lazy),
        inputs=Image(columns=("x",)),
        target=Values(columns=tuple(column.name for column in columns)),
        **fields,
    )
    return data.open(bound)


def labels_of(split):
    return split.gather(np.arange(split.num_examples))["target/label"]


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    "columns, names",
    [
        ([Column(n, "number", list(TABLE[:, k])) for k, n in enumerate("ba")], ("b", "a")),
        ([Column("v", "array", TABLE)], ("v/0", "v/1")),
        ([Column("v", "array", TABLE, names=("q", "p"))], ("q", "p")),
        ([Column("v", "array", TABLE[:, :1]), Column("w", "number", TABLE[:, 1])], ("v", "w")),
    ],
)
def test_values_are_numbers_of_float32(columns, names, lazy):
    split = opened(*columns, lazy=lazy).split("train")
    assert split.bound.target.names == names and labels_of(split).dtype == tf.float32
    np.testing.assert_array_equal(labels_of(split), TABLE.astype(np.float32))
    assert split.bound.describe() == "2 values, images 2x2x1"


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("shape", [(5,), (5, 1)])
def test_one_value_has_the_name_of_its_column(shape, lazy):
    column = Column("mass", "array", np.arange(5).reshape(shape))
    split = opened(column, lazy=lazy).split("train[3:]")
    assert split.bound.target.names == ("mass",)
    assert labels_of(split).numpy().tolist() == [[3], [4]]


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_numbers_that_are_not_finite_in_float32_are_named_or_skipped(value):
    columns = [Column("a", "number", [1.0, 2.0]), Column("b", "number", [1.0, value])]
    with pytest.raises(UserError, match="train/1: has .* in b, not a finite number of float32"):
        opened(*columns).split("train")
    split = opened(*columns, on_bad="skip").split("train")
    assert labels_of(split).numpy().tolist() == [[1, 1]]


def test_another_order_is_mapped_and_all_values_are_needed():
    bound = opened(Column("v", "array", TABLE, names=("a", "c"))).bound
    for lazy in (False, True):
        other = Column("v", "array", np.array([[1, 2], [3, 4]]), names=("c", "a"))
        split = opened(other, lazy=lazy, bound=bound).split("train")
        assert labels_of(split).numpy().tolist() == [[2, 1], [4, 3]]
    with pytest.raises(UserError, match="the data has no values 'c'"):
        opened(Column("v", "array", TABLE[:, :1], names=("a",)), bound=bound).split("train")


def test_mixed_examples_blend_their_values():
    bound = BoundValues(Values(), ("a",))
    raw = {"label": tf.constant([[4.0], [8.0]])}
    batch = bound.features(raw, Change(tf.constant([0.75, 0.5]), tf.ones(2)))
    assert batch["label"].numpy().tolist() == [[5], [6]]


def test_json_and_what_is_saved(tmp_path):
    bound = BoundValues(Values(), ("b", "a"))
    assert bound.label_to_json(np.array([0.5, 1.0], np.float32)) == {"b": 0.5, "a": 1.0}
    assert bound.config.load(bound.save(tmp_path), tmp_path, {}) == bound
