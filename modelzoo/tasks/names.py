"""Names that Keras gives to unnamed layers."""

import collections
import contextlib
from collections.abc import Iterator

from keras.src.backend.common import global_state

_COUNTERS = "object_name_uids"


@contextlib.contextmanager
def counted_from_zero() -> Iterator[None]:
    """Names what is unnamed inside as in a fresh process: `dense`, `dense_1` and so on.

    Keras goes on counting in a process, so that a model built twice has other variable paths the
    second time, and checkpoints know variables by these. All else that Keras keeps, such as the
    dtype policy, stays; afterwards the count goes on where it stood.
    """
    before = global_state.get_global_attribute(_COUNTERS)
    global_state.set_global_attribute(_COUNTERS, collections.defaultdict(int))
    try:
        yield
    finally:
        global_state.set_global_attribute(_COUNTERS, before)
