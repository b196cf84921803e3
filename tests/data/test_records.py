import numpy as np
import pytest
import tensorflow as tf

from modelzoo.data.records import TFRecords
from modelzoo.errors import UserError


def write(path, count, seed=0):
    rng = np.random.default_rng(seed)
    records = [rng.bytes(int(rng.integers(0, 50))) for _ in range(count)]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return records


def test_rows_run_over_ranges_of_files(tmp_path):
    first, second = write(tmp_path / "a", 9), write(tmp_path / "b", 5, seed=1)
    ranges = [(str(tmp_path / "a"), 2, 4, 9), (str(tmp_path / "b"), 0, 5, 5)]
    records = TFRecords(ranges)
    expected = first[2:6] + second
    assert len(records) == 9 and [records[row] for row in range(9)] == expected
    assert records.__getitems__([8, 0, 8]) == [expected[8], expected[0], expected[8]]


@pytest.mark.parametrize("claimed", [4, 6])
def test_another_number_of_records_is_damage(tmp_path, claimed):
    write(tmp_path / "a", 5)
    with pytest.raises(UserError, match=f"a is damaged: it should hold {claimed} records"):
        TFRecords([(str(tmp_path / "a"), 0, claimed, claimed)])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*none: No such file"):
        TFRecords([(str(tmp_path / "none"), 0, 1, 1)])
