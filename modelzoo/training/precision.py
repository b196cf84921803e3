"""Dtype policies of training and inference, and determinism."""

import contextlib

import tensorflow as tf

from modelzoo.models.layers.precision import policy_scope

_deterministic = False
_POLICIES = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
    "float64": "float64",
}


def dtype_policy(precision: str) -> contextlib.AbstractContextManager[None]:
    """Sets Keras's dtype policy for a `TrainConfig.precision` inside the block."""
    return policy_scope(_POLICIES[precision])


def inference_precision(precision: str) -> str:
    """Returns the precision of evaluation, prediction and export: float32, or float64 for float64.

    It is the same for all three, so that the served model is the evaluated one.
    """
    return "float64" if precision == "float64" else "float32"


def set_determinism(enable: bool) -> bool:
    """Enables deterministic ops if `enable`; TensorFlow cannot disable them in the same process.

    Returns:
        False if they are enabled although `enable` is False.
    """
    global _deterministic
    if enable:
        tf.config.experimental.enable_op_determinism()
        _deterministic = True
    return enable or not _deterministic
