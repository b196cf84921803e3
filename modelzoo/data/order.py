"""The planned order of training: a permutation of rows per epoch, computed and never buffered."""

import numpy as np

_MASK64 = (1 << 64) - 1


class Order:
    """The endless stream of rows of one split, a permutation per epoch.

    Position `p` of the stream is position `p % num_examples` of epoch `p // num_examples`. The
    permutation depends only on (seed, epoch), so that resuming costs no more than starting.

    Args:
        seed: any integer.
        num_examples: rows of the split, at least 1.
    """

    def __init__(self, seed: int, num_examples: int):
        if num_examples < 1:
            raise ValueError(f"num_examples must be at least 1, got {num_examples}")
        self.seed, self.num_examples = seed, num_examples
        # Replaced as a whole, for several threads.
        self._last = (-1, np.arange(num_examples))

    def permutation(self, epoch: int) -> np.ndarray:
        """The rows of one epoch in their order, int64 `[num_examples]`."""
        last, permutation = self._last
        if epoch != last:
            # Only the raw stream of a bit generator is the same in every NumPy version;
            # Generator.permutation is not.
            key = np.array([self.seed & _MASK64, epoch], np.uint64)
            keys = np.random.Philox(key=key).random_raw(self.num_examples)
            permutation = np.argsort(keys, kind="stable")
            self._last = (epoch, permutation)
        return permutation

    def rows(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and epochs of positions `first` to `first + count - 1`, both int64 `[count]`."""
        positions = np.arange(first, first + count, dtype=np.int64)
        epochs = positions // self.num_examples
        rows = np.empty(count, np.int64)
        for epoch in np.unique(epochs):
            now = epochs == epoch
            rows[now] = self.permutation(int(epoch))[positions[now] % self.num_examples]
        return rows, epochs
