"""Inverse square root decay."""

import dataclasses

import tensorflow as tf

from modelzoo.fields.checks import check_durations
from modelzoo.fields.duration import Duration
from modelzoo.schedules.schedule import Factor, ToSteps, WarmupSchedule, as_float


@dataclasses.dataclass(frozen=True)
class InverseSqrt(WarmupSchedule):
    """The peak times `1 / sqrt(1 + steps since the warmup / steps of timescale)`.

    With a warmup equal to `timescale` it is the schedule of Vaswani et al. (2017), section 5.3,
    whose rate falls with the square root of the step.

    timescale: duration after which the rate has fallen to `1 / sqrt(2)` of the peak.
    """

    timescale: Duration = 10_000

    def __post_init__(self):
        super().__post_init__()
        check_durations(timescale=self.timescale)

    def bind_after_warmup(self, warmup: int, total_steps: int, to_steps: ToSteps) -> Factor:
        """Returns the factor as a function of the number of steps since the warmup."""
        timescale = to_steps(self.timescale)
        return lambda step: 1.0 / tf.sqrt(1.0 + tf.maximum(as_float(step), 0.0) / timescale)
