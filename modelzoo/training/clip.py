"""Clipping of the reduced gradient."""

from collections.abc import Sequence

import tensorflow as tf

from modelzoo.training.config import TrainConfig


def global_norm(gradients: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns the Euclidean norm of all tensors together, in the dtype of the first."""
    dtype = gradients[0].dtype
    return tf.sqrt(2 * tf.add_n([tf.cast(tf.nn.l2_loss(g), dtype) for g in gradients]))


def clip(gradients: Sequence[tf.Tensor], settings: TrainConfig) -> list[tf.Tensor]:
    """Clips the elements, then the norm of each gradient, then the global norm."""
    gradients = list(gradients)
    if settings.clip_value is not None:
        bound = settings.clip_value
        gradients = [tf.clip_by_value(g, -bound, bound) for g in gradients]
    if settings.clip_norm is not None:
        gradients = [tf.clip_by_norm(g, settings.clip_norm) for g in gradients]
    if settings.clip_global_norm is not None:
        norm = global_norm(gradients)
        # Pascanu et al. 2013, algorithm 1.
        scale = settings.clip_global_norm / tf.maximum(norm, settings.clip_global_norm)
        gradients = [g * tf.cast(scale, g.dtype) for g in gradients]
    return gradients
