"""Buckets: the lengths that the sequence fields of a batch are padded to, together."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from modelzoo.fields.errors import UserError


@dataclasses.dataclass(frozen=True)
class Buckets:
    """One table of widths for all sequence fields; an example is in the least bucket that fits all.

    Attributes:
        widths: by field, one width per bucket, not falling.
    """

    widths: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if len({len(widths) for widths in self.widths.values()}) > 1:
            raise UserError(
                f"config.data: each field needs one width per bucket, got {dict(self.widths)}"
            )

    @classmethod
    def of(cls, widths: Mapping[str, tuple[int, ...] | None]) -> "Buckets":
        """The table for the fields that have widths; a single width is repeated.

        Raises:
            UserError: fields have other numbers of widths.
        """
        given = {key: value for key, value in widths.items() if value is not None}
        count = max(map(len, given.values()), default=0)
        return cls({k: v * count if len(v) == 1 else v for k, v in given.items()})

    def __len__(self) -> int:
        """Number of buckets; 1 without any sequence field."""
        return len(next(iter(self.widths.values()), (0,)))

    def bucket(self, lengths: Mapping[str, np.ndarray], count: int) -> np.ndarray:
        """The bucket of each of `count` examples, int64; longer ones are in the last."""
        found = np.zeros(count, np.int64)
        for key, widths in self.widths.items():
            found = np.maximum(found, np.searchsorted(widths, lengths[key]))
        return np.minimum(found, len(self) - 1)

    def widest(self, bucket: int) -> int:
        """The largest width of a bucket, by which a token budget is divided; 0 without any."""
        return max((widths[bucket] for widths in self.widths.values()), default=0)

    def order_key(self, bucket: int) -> int:
        """A number of its own for each bucket, which seeds its order: the first rising width."""
        for widths in self.widths.values():
            if len(set(widths)) == len(widths):
                return widths[bucket]
        return bucket

    def label(self, bucket: int) -> str:
        """The widths of a bucket for people, such as "16" or "16+32"."""
        each = [widths[bucket] for widths in self.widths.values()]
        return str(each[0]) if len(set(each)) == 1 else "+".join(map(str, each))
