"""Random comparisons with a peer, counted."""

import numpy as np


class Comparisons:
    """Requires values to equal expected ones, and counts them.

    An undefined value, None, is 0 for the peer.

    count: number of values, or of arrays with `whole`.
    """

    def __init__(self, rel: float = 1e-5, absolute: float = 1e-9, whole: bool = False):
        self.rel, self.absolute, self.whole, self.count = rel, absolute, whole, 0

    def __call__(self, got, expected, what) -> None:
        got, expected = np.asarray(got), np.asarray(expected)
        if got.dtype == object:  # With None.
            got = np.nan_to_num(got.astype(np.float64))
        np.testing.assert_allclose(
            got, expected, rtol=self.rel, atol=self.absolute, err_msg=str(what)
        )
        self.count += 1 if self.whole else got.size
