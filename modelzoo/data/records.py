"""Random access to the records of TFRecord files."""

import os
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from modelzoo.errors import UserError

_HEADER, _FOOTER = 12, 4  # length and its checksum; the checksum of the data


class TFRecords:
    """Records by number over ranges of files, without reading what lies between.

    Args:
        ranges: (path, first record, number of records, records in the whole file), in order.

    Opening walks from length to length through each file. Raises UserError for a file that is
    missing or does not hold what it should.
    """

    def __init__(self, ranges: Sequence[tuple[str, int, int, int]]):
        self._paths = [path for path, *_ in ranges]
        with ThreadPoolExecutor(16) as pool:
            spans = list(pool.map(lambda part: _record_spans(part[0], part[3]), ranges))
        parts = [
            span[first : first + count]
            for span, (_, first, count, _) in zip(spans, ranges, strict=True)
        ]
        self._spans = np.concatenate(parts)
        self._files = np.repeat(np.arange(len(ranges)), [len(part) for part in parts])

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, row: int) -> bytes:
        offset, length = self._spans[row]
        with open(self._paths[self._files[row]], "rb", buffering=0) as file:
            return os.pread(file.fileno(), int(length), int(offset))

    def __getitems__(self, rows: Sequence[int]) -> list[bytes]:
        return [self[row] for row in rows]


def _record_spans(path: str, count: int) -> np.ndarray:
    """Offset and length of the data of each record, int64 `[count, 2]`."""
    spans = np.empty((count, 2), np.int64)
    try:
        size = os.path.getsize(path)
        with open(path, "rb", buffering=0) as file:
            position = 0
            for row in range(count):
                (length,) = struct.unpack("<Q", os.pread(file.fileno(), 8, position))
                spans[row] = position + _HEADER, length
                position += _HEADER + length + _FOOTER
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; prepare the data again") from None
    except (struct.error, OverflowError):
        position = -1
    if position != size:
        raise UserError(
            f"{path} is damaged: it should hold {count} records; remove its folder and "
            "prepare the data again"
        )
    return spans
