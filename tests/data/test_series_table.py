"""Series of tables: windows, horizons, groups, parts in time, and the scale of the features."""

import numpy as np
import pytest

from modelzoo.data.series_table import SeriesTable
from modelzoo.fields.errors import UserError


def write(folder, lines, name="table.csv"):
    (folder / name).write_text("\n".join(map(str, lines)))
    return str(folder / name)


def series(path, **fields):
    fields = {"feature_columns": ("a",), "targets": "values", "target_columns": ("a",), **fields}
    return SeriesTable(path, **fields)


def windows(source):
    """Name to series of one feature and labels, as lists."""
    raw = source.gather(np.arange(source.num_examples))
    values = raw["series"].numpy()[..., 0].tolist()
    pairs = zip(values, raw["label"].numpy().tolist(), strict=True)
    return dict(zip(source.ids, pairs, strict=True))


def steps_of(source):
    return [values for values, _ in windows(source).values()]


@pytest.mark.field("SeriesTable.feature_columns", "SeriesTable.length")
def test_windows_of_rows_and_the_label_of_their_last(tmp_path):
    lines = [f"{k},{k * k},{'xy'[k % 2]}" for k in range(6)]
    path = write(tmp_path, ["a,b,state", *lines])
    source = SeriesTable(
        path, feature_columns=("b", "a"), target_columns=("state",), length=3
    ).open("train")
    spec = source.spec
    assert (spec.length, spec.features, spec.targets) == (3, ("b", "a"), "class")
    assert spec.class_names == ("x", "y") and source.groups is None
    raw = source.gather(np.arange(4))
    k = np.arange(4)[:, None] + np.arange(3)
    np.testing.assert_array_equal(raw["series"], np.stack([k * k, k], axis=-1))
    assert raw["series"].dtype == np.float32 and raw["label"].numpy().tolist() == [0, 1, 0, 1]
    # A header and two rows stand before the first window's last row.
    assert source.ids == [f"table.csv:{number}" for number in (4, 5, 6, 7)]


@pytest.mark.field("SeriesTable.horizon", "SeriesTable.stride")
def test_a_forecast_is_of_a_later_row(tmp_path):
    path = write(tmp_path, ["a", *range(10)])
    source = series(path, length=3, horizon=2, stride=2).open("train")
    expected = {
        "table.csv:4": ([0, 1, 2], [4]),
        "table.csv:6": ([2, 3, 4], [6]),
        "table.csv:8": ([4, 5, 6], [8]),
    }
    assert windows(source) == expected and source.spec.class_names == ("a",)


def test_parts_are_stretches_of_time_that_no_window_crosses(tmp_path):
    path = write(tmp_path, ["a", *range(10)])
    config = series(path, length=3, horizon=1, train_split="train[:60%]", test_split="train[60%:]")
    assert windows(config.open("train")) == {
        f"table.csv:{k + 4}": ([k, k + 1, k + 2], [k + 3]) for k in range(3)
    }
    assert windows(config.open("test")) == {"table.csv:10": ([6, 7, 8], [9])}
    with pytest.raises(UserError, match=r"no stretch of 'train\[7:\]' has the 4 rows .*length"):
        config.open("train[7:]")


def test_windows_stay_in_their_group_and_split(tmp_path):
    # Two machines in turn; one row of the first is of another split.
    rows = [(k, "pq"[k % 2], "test" if k == 6 else "train") for k in range(12)]
    path = write(tmp_path, ["a,who,part", *(",".join(map(str, row)) for row in rows)])
    config = series(path, length=2, group_column="who", split_column="part")
    source = config.open("train")
    expected = {(0, 2): "p", (2, 4): "p", (8, 10): "p"}
    expected |= {(k, k + 2): "q" for k in range(1, 11, 2)}
    assert dict(zip(map(tuple, steps_of(source)), source.groups, strict=True)) == expected
    whole = series(path, length=2, split_column="part").open("train")
    assert steps_of(whole) == [[k, k + 1] for k in range(11) if 6 not in (k, k + 1)]


@pytest.mark.field("SeriesTable.on_bad_line")
@pytest.mark.parametrize(
    "line, reason",
    [
        ("many", "has 'many' in the column a, no number"),
        ("nan", "has 'nan' in the column a, no number"),
        ("1,2", "has 2 columns, the header has 1"),
    ],
)
def test_no_window_crosses_a_bad_line(tmp_path, line, reason):
    path = write(tmp_path, ["a", 0, 1, 2, line, 3, 4, 5])
    with pytest.raises(UserError, match=rf"line 5: {reason}.*data.on_bad_line='skip'"):
        series(path).open("train")
    source = series(path, length=2, on_bad_line="skip").open("train")
    assert steps_of(source) == [[0, 1], [1, 2], [3, 4], [4, 5]]
    [(where, why)] = source.skipped
    assert where == f"{path}, line 5" and why.startswith(reason)


def test_the_scale_is_that_of_the_training_rows(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.normal(3, 5, 40).round(3)
    lines = [f"{value},0.1" for value in values]
    path = write(tmp_path, ["a,b", *lines])
    config = series(
        path, feature_columns=("a", "b"), train_split="train[:75%]", test_split="train[75%:]"
    )
    train, test = config.open("train"), config.open("test")
    np.testing.assert_allclose(train.spec.mean, [values[:30].mean(), 0.1])
    np.testing.assert_allclose(train.spec.std, [values[:30].std(), 1])
    assert test.spec == train.spec
    # What a model sees is the table's own: tasks scale it.
    np.testing.assert_allclose(test.gather([0])["series"][0, 0], [values[30], 0.1], rtol=1e-6)
    # Where the training rows are others, the scale that is given stands.
    moved = write(tmp_path, ["a,b", "1,2"], "moved.csv")
    assert series(moved, feature_columns=("a", "b")).open("train", spec=train.spec).spec.mean == (
        train.spec.mean
    )


@pytest.mark.field("SeriesTable.layout")
def test_a_row_is_an_example_of_steps_or_of_features(tmp_path):
    rows = [(k, k + 0.5, 2 * k) for k in range(30)]
    lines = [",".join(map(str, (*row, "xy"[k // 15]))) for k, row in enumerate(rows)]
    path = write(tmp_path, ["a,b,c,label", *lines])
    fields = {"feature_columns": ("a", "b", "c"), "train_split": "train[:80%]"}
    across = SeriesTable(path, layout="columns_are_steps", **fields)
    single = SeriesTable(path, layout="rows_are_examples", **fields)
    for config, shape, scale in ((across, (3, 1), None), (single, (1, 3), 0)):
        source = config.open("train")
        assert (source.spec.length, len(source.spec.features)) == shape
        chosen = np.array([rows[int(name.split(":")[1]) - 2] for name in source.ids])
        raw = source.gather(np.arange(source.num_examples))
        np.testing.assert_array_equal(raw["series"], chosen.reshape(-1, *shape))
        np.testing.assert_array_equal(raw["label"], chosen[:, 0] >= 15)
        np.testing.assert_allclose(source.spec.mean, np.atleast_1d(chosen.mean(scale)))
        np.testing.assert_allclose(source.spec.std, np.atleast_1d(chosen.std(scale)))
        # A part is random, whatever the order of the lines.
        rest = config.open("train[80%:]")
        assert len(source.ids) + len(rest.ids) == 30 and not set(source.ids) & set(rest.ids)
        assert set(raw["label"].numpy()) == {0, 1}


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"feature_columns": ()}, "feature_columns must name columns"),
        ({"targets": "tags"}, "targets must be 'class' or 'values', got 'tags'"),
        ({"length": 0}, "length must be at least 1, got 0"),
        ({"horizon": -1}, "horizon must be at least 0, got -1"),
        ({"stride": 0}, "stride must be at least 1, got 0"),
        ({"layout": "columns_are_steps", "length": 2}, "length must be 1 where layout is 'columns"),
        ({"layout": "rows_are_examples", "horizon": 2}, "horizon must be 0 where layout is 'rows"),
    ],
)
def test_fields_that_do_not_fit_are_refused(fields, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        series("x.csv", **fields)
