import functools
import os
import pathlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

from modelzoo.data.sources import tfrecords as records_module
from modelzoo.data.sources.tfrecords import TFRecords
from modelzoo.fields.errors import UserError


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


def test_files_stay_open_but_not_more_than_allowed(tmp_path, monkeypatch):
    opened = functools.lru_cache(2)(records_module._open.__wrapped__)
    monkeypatch.setattr(records_module, "_open", opened)
    expected, ranges = [], []
    for name in "abcd":
        expected += write(tmp_path / name, 25, seed=ord(name))
        ranges.append((str(tmp_path / name), 0, 25, 25))
    records = TFRecords(ranges)
    rows = np.random.default_rng(0).integers(0, 100, 4000)
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(records.__getitem__, rows))
    assert got == [expected[row] for row in rows]
    links = [os.readlink(link) for link in pathlib.Path("/proc/self/fd").iterdir() if link.exists()]
    assert sum(link.startswith(str(tmp_path)) for link in links) == 2
    before = opened.cache_info().misses
    assert records.__getitems__([1, 2, 3, 1]) == [expected[row] for row in (1, 2, 3, 1)]
    assert opened.cache_info().misses - before <= 1


def test_a_file_that_was_written_anew_is_read_anew(tmp_path):
    for seed in (0, 1):
        expected = write(tmp_path / "a", 9, seed)
        os.utime(tmp_path / "a", ns=(seed, seed))
        assert list(TFRecords([(str(tmp_path / "a"), 0, 9, 9)])) == expected
