"""A constant learning rate."""

import dataclasses

import tensorflow as tf

from modelzoo.schedules.schedule import WarmupSchedule


@dataclasses.dataclass(frozen=True)
class Constant(WarmupSchedule):
    """The peak rate in all steps after the warmup."""

    def at_progress(self, progress: tf.Tensor) -> tf.Tensor:
        """Returns 1."""
        return tf.ones_like(progress)
