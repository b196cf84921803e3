"""Numbers from columns, arrays and records."""

import json

import numpy as np
import pytest
import tensorflow as tf
from memory_source import Memory

from modelzoo.data.bound import BoundData
from modelzoo.data.columns import Column
from modelzoo.data.dataset import Dataset
from modelzoo.data.inputs.image import Image
from modelzoo.data.inputs.input import Change
from modelzoo.data.inputs.series import Series
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
    bound = BoundValues(Values(), ("b", "a"), (0.5, 3.0), (1.0, 0.1))
    assert bound.label_to_json(np.array([0.5, 1.0], np.float32)) == {"b": 0.5, "a": 1.0}
    assert bound.config.load(json.loads(json.dumps(bound.save(tmp_path))), tmp_path, {}) == bound


@pytest.mark.parametrize("weights", [None, np.float32([1, 0, 3, 0.5, 2]), np.zeros(5, np.float32)])
@pytest.mark.parametrize("lazy", [False, True])
def test_the_scale_is_that_of_the_training_examples_by_weight(lazy, weights):
    table = (TABLE * (1, 1000) + (0, 3e6)).astype(np.float32)
    split = {
        "x": Column("x", "array", np.zeros((5, 2, 2), np.uint8)),
        "v": Column("v", "array", table),
    }
    data = Dataset(
        source=Memory(splits={"train": split}, lazy=lazy, weights=weights),
        inputs=Image(columns=("x",)),
        target=Values(columns=("v",)),
        train_split="train[:4]",
    )
    target = data.open().bound.target
    used, shares = table[:4].astype(np.float64), None
    if weights is not None and weights.any():
        shares = weights[:4]
    mean = np.average(used, axis=0, weights=shares)
    std = np.average((used - mean) ** 2, axis=0, weights=shares) ** 0.5
    np.testing.assert_allclose(target.mean, mean, rtol=1e-9)
    np.testing.assert_allclose(target.std, std, rtol=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.1, -3e38, 1e-40])
@pytest.mark.parametrize("weights", [None, np.float32([0, 0.1, 0.7])])
def test_a_value_that_never_changes_has_the_standard_deviation_1(value, weights):
    cells = np.float32([value if weights is None else 5, value, value])
    split = {
        "x": Column("x", "array", np.zeros((3, 2, 2), np.uint8)),
        "v": Column("v", "array", cells),
    }
    source = Memory(splits={"train": split}, weights=weights)
    data = Dataset(source=source, inputs=Image(columns=("x",)), target=Values(columns=("v",)))
    target = data.open().bound.target
    assert target.mean == (float(np.float32(value)),) and target.std == (1.0,)


def test_the_scale_is_that_of_the_targets_of_windows():
    load = np.arange(20.0) ** 2
    split = {"load": Column("load", "number", load)}
    data = Dataset(
        source=Memory(splits={"train": split}),
        inputs=Series(columns=("load",), length=3, horizon=2),
        target=Values(columns=("load",)),
        train_split="train[:10]",
        validation_split="train[10:]",
    )
    target = data.open().bound.target
    assert target.mean == pytest.approx((load[4:10].mean(),))
    assert target.std == pytest.approx((load[4:10].std(),))


def test_each_fold_has_its_own_scale():
    split = {
        "x": Column("x", "array", np.zeros((5, 2, 2), np.uint8)),
        "v": Column("v", "array", TABLE),
    }
    data = Dataset(
        source=Memory(splits={"train": split}),
        inputs=Image(columns=("x",)),
        target=Values(columns=("v",)),
        train_split="train",
        test_split="train",
        fold=(1, 5, 0),
    )
    opened = data.open()
    trained = labels_of(opened.split("train")).numpy().astype(np.float64)
    assert len(trained) == 4
    np.testing.assert_allclose(opened.bound.target.mean, trained.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(opened.bound.target.std, trained.std(axis=0), rtol=1e-9)


def test_values_read_later_must_be_finite():
    with pytest.raises(UserError, match="memory: v has a number that is not finite"):
        opened(Column("v", "array", np.float32([1, np.nan])), lazy=True).split("train")


def test_another_scale_is_other_data():
    first, second = (opened(Column("v", "array", TABLE + k)).split("train") for k in range(2))
    assert first.fingerprint != second.fingerprint


@pytest.mark.parametrize("names, keeps", [(("a",), True), (("b",), False)])
def test_the_scale_of_the_initial_weights_is_kept_for_the_same_values(names, keeps):
    column = Column("v", "array", TABLE[:, :1], names=names)
    split = {"x": Column("x", "array", np.zeros((5, 2, 2), np.uint8)), "v": column}
    data = Dataset(
        source=Memory(splits={"train": split}),
        inputs=Image(columns=("x",)),
        target=Values(columns=("v",)),
    )
    trained = BoundValues(Values(), ("a",), (5.0,), (2.0,))
    opened = data.open(trained=BoundData({}, trained))
    target = opened.bound.target
    assert ((target.mean, target.std) == ((5.0,), (2.0,))) == keeps
    (remark,) = opened.inherited
    assert ("mean and std of config.data.target are those" in remark) == keeps
    again = data.open(trained=BoundData({}, data.open().bound.target))
    assert again.bound.target == data.open().bound.target and again.inherited == []
