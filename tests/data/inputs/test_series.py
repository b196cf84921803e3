"""Series: windows, horizons, groups, parts in time, the scale of the features, and files."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from memory_source import HashedMemory, Memory

from modelzoo.data.bound import BoundData
from modelzoo.data.columns import BadExample, Column
from modelzoo.data.dataset import Dataset
from modelzoo.data.inputs.input import BoundInput, Input, Store
from modelzoo.data.inputs.series import BoundSeries, Series
from modelzoo.fields.errors import UserError
from modelzoo.fields.input_specs import ArraySpec

NO_OTHERS = {"validation_split": None, "test_split": None}


def numbers(**columns):
    """Columns of numbers, and of texts where the values are."""
    return {
        name: Column(name, "text" if isinstance(values[0], str) else "number", values)
        for name, values in columns.items()
    }


def data_of(inputs, columns, source=HashedMemory, group=None, **fields):
    memory = source(splits={"train": columns}, group=group)
    return Dataset(source=memory, inputs=inputs, **{**NO_OTHERS, **fields})


def series(a, group=None, **fields):
    """A data set of the column `a`, and `who` if it has groups."""
    columns = numbers(a=a, **({"who": group} if group else {}))
    return data_of(Series(columns=("a",), **fields), columns, group="who" if group else None)


def gathered(split):
    return split.gather(np.arange(split.num_examples))["series"].numpy()


def steps_of(split):
    """The windows of one feature, as lists."""
    return gathered(split)[..., 0].tolist()


def targets_of(opened, text):
    """The rows of the targets of a split."""
    return opened.view(text).target.tolist()


def test_windows_of_rows_are_named_by_their_last():
    k = np.arange(6)
    columns = numbers(a=k, b=k * k)
    opened = data_of(Series(columns=("b", "a"), length=3), columns).open()
    bound, split = opened.bound.inputs[""], opened.split("train")
    assert (bound.length, bound.feature_names) == (3, ("b", "a"))
    k = np.arange(4)[:, None] + np.arange(3)
    np.testing.assert_array_equal(gathered(split), np.stack([k * k, k], axis=-1))
    assert gathered(split).dtype == np.float32 and split.groups is None
    assert split.ids == [f"train/{row}" for row in (2, 3, 4, 5)]
    assert targets_of(opened, "train") == [2, 3, 4, 5]


@pytest.mark.field("Series.length", "Series.horizon", "Series.stride")
def test_a_forecast_is_of_a_later_row():
    opened = series(np.arange(10), length=3, horizon=2, stride=2).open()
    split = opened.split("train")
    assert steps_of(split) == [[0, 1, 2], [2, 3, 4], [4, 5, 6]]
    assert split.ids == ["train/2", "train/4", "train/6"]
    assert targets_of(opened, "train") == [4, 6, 8]


@pytest.mark.parametrize("source", [Memory, HashedMemory])
def test_parts_are_stretches_of_time_that_no_window_crosses(source):
    inputs = Series(columns=("a",), length=3, horizon=1)
    opened = data_of(inputs, numbers(a=np.arange(10)), source=source).open()
    assert steps_of(opened.split("train[:60%]")) == [[k, k + 1, k + 2] for k in range(3)]
    assert steps_of(opened.split("train[60%:]")) == [[6, 7, 8]]
    assert targets_of(opened, "train[60%:]") == [9]
    with pytest.raises(UserError, match=r"the 3 rows .* no 4 follow .*data.inputs.length"):
        opened.split("train[7:]")


def test_windows_stay_in_their_group():
    # Two machines in turn, whose stretches begin in the order of their first rows.
    opened = series(np.arange(9), group=list("qpqpqpqpq"), length=2).open()
    split = opened.split("train")
    expected = [(k, k + 2) for k in (0, 2, 4, 6, 1, 3, 5)]
    assert list(map(tuple, steps_of(split))) == expected
    assert split.groups == list("qqqqppp")
    # The numbers of a group follow each other over the rows of another, but not over a gap.
    part = opened.split("train[3:]")
    assert steps_of(part) == [[3, 5], [5, 7], [4, 6], [6, 8]]


@pytest.mark.parametrize("groups", [None, list("pqpqpqpq")])
def test_no_window_crosses_a_bad_line(groups):
    columns = numbers(a=np.arange(8)) | ({"who": Column("who", "text", groups)} if groups else {})
    gap = (np.arange(8) >= 4).astype(np.int64)
    source = HashedMemory(
        splits={"train": columns}, group="who" if groups else None, bad_before=gap
    )
    data = Dataset(source=source, inputs=Series(columns=("a",), length=2), **NO_OTHERS)
    expected = [[k, k + 1] for k in range(7) if k != 3]
    if groups:
        expected = [[0, 2], [1, 3], [4, 6], [5, 7]]
    assert steps_of(data.open().split("train")) == expected


def test_no_window_crosses_a_row_without_numbers():
    values = np.arange(12.0).reshape(6, 2)
    values[2, 1] = np.nan
    columns = {"x": Column("x", "array", values)}
    inputs = Series(columns=("x",), length=2)
    with pytest.raises(UserError, match=r"memory, train/2: has a number in x that is not finite;"):
        data_of(inputs, columns).open().split("train")
    split = data_of(inputs, columns, on_bad="skip").open().split("train")
    assert gathered(split).tolist() == [[[0, 1], [2, 3]], [[6, 7], [8, 9]], [[8, 9], [10, 11]]]
    assert split.ids == ["train/1", "train/4", "train/5"]
    assert [bad.reason for bad in split.skipped] == ["has a number in x that is not finite"]


def test_no_window_crosses_a_row_without_a_target():
    opened = series(np.arange(6), length=2).open()
    rows = opened.view("train").rows
    parsed = [BadExample("has no class") if row == 2 else "x" for row in range(6)]
    rows = dataclasses.replace(rows, parsed={**rows.parsed, "target": parsed})
    view = opened.data.inputs.view(rows, np.array([0, 1, 3, 4, 5]), "inputs")
    assert (view.first.tolist(), view.last.tolist()) == ([0, 3, 4], [1, 4, 5])


def test_the_scale_is_that_of_the_training_rows():
    values = np.random.default_rng(0).normal(3, 5, 40).round(3)
    columns = numbers(a=values, b=np.full(40, 0.1))
    # The last row is in no window, but in the scale.
    inputs = Series(columns=("a", "b"), length=2, stride=28)
    data = data_of(inputs, columns, train_split="train[:75%]", test_split="train[75%:]")
    opened = data.open()
    bound, test = opened.bound.inputs[""], opened.split("test")
    assert bound.mean == (values[:30].mean(), pytest.approx(0.1))
    assert bound.std == (values[:30].std(), 1)
    assert test.bound is opened.bound
    # A split gives the source's numbers; `features` scales them.
    raw = test.gather([0])
    np.testing.assert_allclose(raw["series"][0, 0], [values[30], 0.1], rtol=1e-6)
    batch = test.bound.features(raw, training=False)
    expected = (values[30:32] - values[:30].mean()) / values[:30].std()
    np.testing.assert_allclose(batch["series"][0, :, 0], expected, rtol=1e-5)
    assert batch["weight"] is raw["weight"] and batch["series"].dtype == tf.float32
    # What was learned elsewhere is used as it is.
    moved = data_of(inputs, numbers(a=np.arange(9), b=np.arange(9))).open(opened.bound)
    assert moved.split("train").bound.inputs[""].mean == bound.mean


def test_the_scale_of_a_fold_is_that_of_the_rows_it_trains_on():
    values, groups = np.arange(12.0) ** 2, list("xyz" * 4)
    fold = {"train_split": "train", "test_split": "train", "fold": (2, 3, 0)}
    for columns, fields in [
        (numbers(a=values), {"layout": "rows_are_examples"}),
        (numbers(a=values, who=groups), {"length": 2}),
    ]:
        group = "who" if "who" in columns else None
        inputs = Series(columns=("a",), **fields)
        opened = data_of(inputs, columns, group=group, **fold).open()
        train, test = opened.split("train"), opened.split("test")
        read = np.unique(gathered(train))
        bound = opened.bound.inputs[""]
        np.testing.assert_allclose(bound.mean, read.mean(), rtol=1e-6)
        np.testing.assert_allclose(bound.std, read.std(), rtol=1e-6)
        assert len(read) == 8 and train.num_examples + test.num_examples == (9 if group else 12)
        assert not group or not set(train.groups) & set(test.groups)
    with pytest.raises(ValueError, match=r"^source.group must name the column"):
        data_of(Series(columns=("a",)), numbers(a=values), **fold)


@pytest.mark.field("Series.layout", "Field.columns")
@pytest.mark.parametrize("form", ["number", "array"])
def test_a_row_is_an_example_of_steps_or_of_features(form):
    rows = np.stack([np.arange(30), np.arange(30) + 0.5, 2 * np.arange(30)], axis=1)
    columns = numbers(a=rows[:, 0], b=rows[:, 1], c=rows[:, 2])
    if form == "array":
        columns = {"x": Column("x", "array", rows)}
    for layout, shape, axis in (
        ("columns_are_steps", (3, 1), None),
        ("rows_are_examples", (1, 3), 0),
    ):
        inputs = Series(columns=tuple(columns), layout=layout)
        opened = data_of(inputs, columns, train_split="train[:80%]").open()
        split, bound = opened.split("train"), opened.bound.inputs[""]
        assert bound.model_specs()["series"].shape == shape
        assert bound.columns == (("a", "b", "c") if form == "number" else ("x_0", "x_1", "x_2"))
        chosen = rows[[int(name.split("/")[1]) for name in split.ids]]
        np.testing.assert_array_equal(gathered(split), chosen.reshape(-1, *shape))
        np.testing.assert_allclose(bound.mean, np.atleast_1d(chosen.mean(axis)))
        np.testing.assert_allclose(bound.std, np.atleast_1d(chosen.std(axis)))
        # A part is random, whatever the order of the rows.
        rest = opened.split("train[80%:]")
        assert len(split.ids) + len(rest.ids) == 30 and not set(split.ids) & set(rest.ids)
        assert len(rest.ids) and max(rest.ids) != "train/29"


def test_equal_rows_are_never_parted():
    columns = numbers(a=np.repeat(np.arange(20), 3))
    opened = data_of(Series(columns=("a",), layout="rows_are_examples"), columns).open()
    parts = [set(gathered(opened.split(f"train[{part}]")).ravel()) for part in (":50%", "50%:")]
    assert all(parts) and not parts[0] & parts[1]


def test_a_row_may_hold_a_whole_series():
    values = np.random.default_rng(0).normal(2, 3, (7, 5, 2))
    columns = {"x": Column("x", "array", values)}
    inputs = Series(columns=("x",), layout="rows_are_examples")
    opened = data_of(inputs, columns, source=Memory).open()
    bound = opened.bound.inputs[""]
    np.testing.assert_array_equal(gathered(opened.split("train")), values.astype(np.float32))
    np.testing.assert_allclose(bound.mean, values.mean((0, 1)))
    np.testing.assert_allclose(bound.std, values.std((0, 1)))
    assert bound.describe() == "series of 5 steps, 2 features"
    with pytest.raises(UserError, match=r"^config.data.inputs.layout must be 'rows_are_examples'"):
        data_of(Series(columns=("x",)), columns).open().split("train")
    # Another data set's series must be of this size.
    short = data_of(inputs, {"x": Column("x", "array", values[:, :3])}, source=Memory)
    with pytest.raises(UserError, match="must have the 5 steps of 2 features"):
        short.open(opened.bound).split("train")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Day(Input):
    """A number of the row that names the example."""

    kind = "number"
    forms = ("number",)
    default_column = "day"
    noun = "days"
    file_argument = "FILE"

    def fit(self, train, key, target):
        return BoundDay()

    def load(self, learned, folder):
        return BoundDay()


class BoundDay(BoundInput):
    config = Day()

    def model_specs(self):
        return {"day": ArraySpec("number", ())}

    def open(self, view, key, on_bad, whole=False):
        return DayStore(view.rows.values(view.column(key), view.last))

    def features(self, raw, training, seeds, weight):
        return dict(raw), None

    def serving(self):
        return {"serving_default": ("day", tf.TensorSpec([None], name="day"))}

    def describe(self):
        return "days"


class DayStore(Store):
    def __init__(self, days):
        self.days = tf.constant(days)

    def read(self, examples, raw, width):
        return {"day": tf.gather(self.days, examples)}


@pytest.mark.parametrize("first", ["load", "when"])
def test_other_inputs_read_the_last_row_of_a_window(first):
    inputs = {"load": Series(columns=("a",), length=2, horizon=1), "when": Day()}
    inputs = {first: inputs[first], **inputs}
    columns = numbers(a=np.arange(10), day=np.arange(10) * 10)
    opened = data_of(inputs, columns, train_split="train[:60%]").open()
    split = opened.split("train")
    raw = split.gather([0, 3])
    assert raw["load/series"].numpy()[..., 0].tolist() == [[0, 1], [3, 4]]
    assert raw["when/day"].numpy().tolist() == [10, 40] and split.ids[3] == "train/4"


def test_fields_that_do_not_fit_are_refused():
    for fields, message in [
        ({"length": 0}, "length must be at least 1, got 0"),
        ({"horizon": -1}, "horizon must be at least 0, got -1"),
        ({"stride": 0}, "stride must be at least 1, got 0"),
        ({"layout": "columns_are_steps", "length": 2}, "length must be 1 if layout is 'columns"),
        ({"layout": "rows_are_examples", "horizon": 2}, "horizon must be 0 if layout is 'rows"),
    ]:
        with pytest.raises(ValueError, match=f"^{message}"):
            Series(columns=("a",), **fields)
    columns = numbers(a=np.arange(9), b=np.arange(9))
    with pytest.raises(ValueError, match="^inputs may have one .* inputs.a and inputs.b"):
        data_of({"a": Series(columns=("a",)), "b": Series(columns=("b",))}, columns)
    with pytest.raises(ValueError, match=r"^split_by must be \(\) with inputs, whose slices are"):
        data_of(Series(columns=("a",)), columns, split_by=("b",))
    mixed = {"a": columns["a"], "x": Column("x", "array", np.zeros((9, 2)))}
    with pytest.raises(UserError, match=r"inputs.columns must name .* a \(number\), x \(array\)"):
        data_of(Series(columns=("a", "x")), mixed).open().split("train")


def test_what_was_learned_is_saved_and_loaded(tmp_path):
    columns = numbers(a=np.random.default_rng(0).normal(size=9), b=np.arange(9))
    data = data_of(Series(columns=("b", "a"), length=3), columns)
    bound = data.open().bound
    bound.save(tmp_path)
    loaded = BoundData.load(data, tmp_path)
    assert loaded == bound and loaded.fingerprint() == bound.fingerprint()
    saved = json.loads((tmp_path / "data.json").read_text())["inputs"][""]
    assert saved["feature_names"] == ["b", "a"] and saved["length"] == 3
    other = data_of(data.inputs, numbers(a=np.ones(9), b=np.arange(9))).open().bound
    assert other.fingerprint() != bound.fingerprint()


def bound_of(length, names, layout="rows_are_steps", columns=None):
    config = Series(layout=layout, length=length if layout == "rows_are_steps" else 1)
    scale = (20.0,) * len(names), (10.0,) * len(names)
    return BoundSeries(config, columns or names, length, names, *scale)


def test_requests_give_the_numbers_of_the_data():
    bound = bound_of(3, ("heat", "wind"))
    ((part, spec),) = bound.serving().values()
    assert part == "series" and spec == tf.TensorSpec([None, 3, 2], tf.float32, name="series")
    assert bound.model_specs() == {"series": ArraySpec("series", (3, 2))}
    assert bound.describe() == "series of 3 steps, 2 features"
