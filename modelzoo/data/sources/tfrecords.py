"""Random access to the records of TFRecord files."""

import functools
import os
import resource
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from modelzoo.fields.errors import UserError

_HEADER, _FOOTER = 12, 4  # length and its checksum; the checksum of the data
# Opening a file costs more than reading a record.
_MOST_OPEN = min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)


class TFRecords:
    """Records by number over ranges of files, read at random.

    Args:
        ranges: (path, first record, number of records, records in the whole file), in order.

    Opening reads the length of each record of a file, once per process; it raises UserError if a
    file is missing or damaged.
    """

    def __init__(self, ranges: Sequence[tuple[str, int, int, int]]):
        with ThreadPoolExecutor(16) as pool:
            shards = list(pool.map(lambda part: _shard(part[0], part[3]), ranges))
        self._files = [file for file, _ in shards]
        parts = [
            spans[first : first + count]
            for (_, spans), (_, first, count, _) in zip(shards, ranges, strict=True)
        ]
        self._spans = np.concatenate(parts)
        self._file_of = np.repeat(np.arange(len(ranges)), [len(part) for part in parts])

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, row: int) -> bytes:
        offset, length = self._spans[row].tolist()
        descriptor = _open(self._files[self._file_of[row]])  # Named, to keep it open.
        return os.pread(descriptor.number, length, offset)

    def __getitems__(self, rows: Sequence[int]) -> list[bytes]:
        return [self[row] for row in rows]


# Path, size and time of change: a file that is prepared again is another one.
_File = tuple[str, int, int]


class _Descriptor:
    """A file's descriptor, which threads and forked processes share to read by position.

    It is closed with the last reference, so never while a thread reads.
    """

    def __init__(self, path: str):
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self):
        if hasattr(self, "number"):
            os.close(self.number)


@functools.lru_cache(_MOST_OPEN)
def _open(file: _File) -> _Descriptor:
    return _Descriptor(file[0])


def _shard(path: str, count: int) -> tuple[_File, np.ndarray]:
    """The file, and the offset and length of each record's data, int64 `[count, 2]`."""
    try:
        stat = os.stat(path)
        file = (path, stat.st_size, stat.st_mtime_ns)
        return file, _record_spans(file, count)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; prepare the data again") from None
    except (struct.error, OverflowError):
        raise UserError(
            f"{path} is damaged: it should hold {count} records; remove its folder and "
            "prepare the data again"
        ) from None


@functools.lru_cache(8192)
def _record_spans(file: _File, count: int) -> np.ndarray:
    path, size, _ = file
    spans = np.empty((count, 2), np.int64)
    position = 0
    with open(path, "rb", buffering=0) as opened:
        for row in range(count):
            (length,) = struct.unpack("<Q", os.pread(opened.fileno(), 8, position))
            spans[row] = position + _HEADER, length
            position += _HEADER + length + _FOOTER
    if position != size:
        raise struct.error
    return spans
