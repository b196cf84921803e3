"""Dtype policies, and the precision that some values keep whatever the policy."""

import contextlib
from collections.abc import Iterator

import keras


def at_least_float32(dtype: str) -> str:
    """Returns the dtype of inputs, logits and statistics: float32, or float64 for float64."""
    return "float64" if dtype == "float64" else "float32"


@contextlib.contextmanager
def policy_scope(name: str) -> Iterator[None]:
    """Sets Keras's dtype policy inside the block."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
