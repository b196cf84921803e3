import pytest

from modelzoo.data.series_file import read_series
from modelzoo.data.spec import SeriesSpec
from modelzoo.fields.errors import UserError


def spec_of(length, features, columns=()):
    count = len(features)
    scale = {"mean": (0.0,) * count, "std": (1.0,) * count}
    return SeriesSpec(
        class_names=("a",), length=length, features=features, columns=columns, **scale
    )


def write(path, text):
    path.write_text(text)
    return path


def test_the_last_rows_of_a_file_are_one_series(tmp_path):
    path = write(tmp_path / "s.csv", "y,x\n1,2\n3,4\n5,6\n")
    ((name, series),) = read_series(path, spec_of(2, ("x", "y")))
    assert name == str(path) and series.tolist() == [[4, 3], [6, 5]]
    with pytest.raises(UserError, match="has 3 rows, the model takes 4"):
        list(read_series(path, spec_of(4, ("x", "y"))))


def test_each_row_is_a_series_where_columns_are_its_steps_or_features(tmp_path):
    path = write(tmp_path / "s.csv", "a,b,c\n1,2,3\n4,x,6\n7,8,9\n")
    across = dict(read_series(path, spec_of(3, ("value",), ("a", "b", "c"))))
    assert across[f"{path}:2"].tolist() == [[1], [2], [3]]
    assert across[f"{path}:4"].tolist() == [[7], [8], [9]]
    assert "line 3" in str(across[str(path)])
    rows = dict(read_series(path, spec_of(1, ("c", "a"), ("c", "a"))))
    assert [series.tolist() for series in rows.values()] == [[[3, 1]], [[6, 4]], [[9, 7]]]


@pytest.mark.parametrize(
    "content, message",
    [(b"a,b\n1,2\n", "has no column 'c'"), (b"c\n\xff\n", "is no CSV in UTF-8")],
)
def test_files_that_are_none(tmp_path, content, message):
    path = tmp_path / "s.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        list(read_series(path, spec_of(1, ("c",), ("c",))))
