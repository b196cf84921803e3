"""Polynomial decay."""

import dataclasses

import tensorflow as tf

from modelzoo.fields.checks import check_positive, check_share
from modelzoo.schedules.schedule import WarmupSchedule


@dataclasses.dataclass(frozen=True)
class Polynomial(WarmupSchedule):
    """`(1 - progress) ** power` from the peak down to `final` of it; power 1 is a straight line.

    power: exponent of the remaining share of the run.
    final: factor at the end of the run.
    """

    power: float = 1.0
    final: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        check_positive(power=self.power)
        check_share(final=self.final)

    def at_progress(self, progress: tf.Tensor) -> tf.Tensor:
        """Returns `final + (1 - final) (1 - progress) ** power`."""
        return self.final + (1.0 - self.final) * (1.0 - progress) ** self.power
