"""Cosine decay."""

import dataclasses
import math

import tensorflow as tf

from modelzoo.fields.checks import check_share
from modelzoo.schedules.schedule import WarmupSchedule


@dataclasses.dataclass(frozen=True)
class Cosine(WarmupSchedule):
    """Half a cosine from the peak down to `final` of it (Loshchilov and Hutter 2017, eq. 5).

    final: factor at the end of the run.

    Example:
        >>> factor = Cosine(warmup=10).bind(total_steps=110, to_steps=int)
        >>> [round(float(factor(step)), 3) for step in (0, 9, 60, 110)]
        [0.1, 1.0, 0.5, 0.0]
    """

    final: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        check_share(final=self.final)

    def at_progress(self, progress: tf.Tensor) -> tf.Tensor:
        """Returns `final + (1 - final) (1 + cos(pi progress)) / 2`."""
        return self.final + (1.0 - self.final) * 0.5 * (1.0 + tf.cos(math.pi * progress))
