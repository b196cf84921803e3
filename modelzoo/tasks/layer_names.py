"""Names that Keras gives to unnamed layers."""

import collections
import contextlib
from collections.abc import Iterator

from keras.src.backend.common import global_state

_COUNTERS = "object_name_uids"


@contextlib.contextmanager
def counted_from_zero() -> Iterator[None]:
    """Names unnamed layers as in a fresh process: `dense`, `dense_1` and so on.

    Keras counts names per process, so that a model built twice has other variable paths the second
    time, but checkpoints are keyed by paths. Other global state of Keras, such as the dtype policy,
    is unchanged; the count is restored on exit.
    """
    before = global_state.get_global_attribute(_COUNTERS)
    global_state.set_global_attribute(_COUNTERS, collections.defaultdict(int))
    try:
        yield
    finally:
        global_state.set_global_attribute(_COUNTERS, before)
