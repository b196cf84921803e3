"""The handwritten digits that scikit-learn carries, embedded."""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence

import numpy as np

from modelzoo.data.columns import Column
from modelzoo.data.sources.embedded import EmbeddedSource

SIZES = {"train": 1257, "validation": 180, "test": 360}
"""Examples of each split."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Digits(EmbeddedSource):
    """1,797 grey 8x8 images of digits (E. Alpaydin and C. Kaynak, UCI 1998).

    The columns are "image" and "label". The splits never change: a stratified 1,257 to train on,
    180 to validate and 360 to test.

    Example:
        >>> from modelzoo.data.sources.digits import Digits
        >>> Digits().open().split_names
        ('train', 'validation', 'test')
    """

    where = "Digits"
    split_names = tuple(SIZES)
    defaults = ("image", "label")

    def load(self, split: str) -> tuple[Sequence[str], Sequence[Column]]:
        images, labels = load()
        # The order in which TFDS stores examples: by a hash of their number.
        rows = sorted(split_rows()[split].tolist(), key=lambda row: _digest(f"{split}{row}"))
        columns = [
            Column("image", "array", images[rows]),
            Column("label", "class", labels[rows], names=tuple("0123456789")),
        ]
        return [f"{split}/{k}" for k in range(len(rows))], columns


def load() -> tuple[np.ndarray, np.ndarray]:
    """All digits: uint8 `[1797, 8, 8, 1]`, 0 to 255, and their labels, int64 `[1797]`."""
    # Imported late: it takes a second.
    from sklearn.datasets import load_digits

    digits = load_digits()
    # 0 to 16 times 255 / 16, rounded.
    images = np.floor(digits.images * (255 / 16) + 0.5).astype(np.uint8)
    return images[..., None], digits.target.astype(np.int64)


@functools.cache
def split_rows() -> dict[str, np.ndarray]:
    """The rows of scikit-learn's order in each split, ascending."""
    from sklearn.model_selection import train_test_split

    _, labels = load()
    rest, test = train_test_split(
        np.arange(len(labels)), test_size=SIZES["test"], random_state=0, stratify=labels
    )
    train, validation = train_test_split(
        rest, test_size=SIZES["validation"], random_state=0, stratify=labels[rest]
    )
    return {"train": np.sort(train), "validation": np.sort(validation), "test": np.sort(test)}


def _digest(key: str) -> bytes:
    return hashlib.md5(key.encode(), usedforsecurity=False).digest()
