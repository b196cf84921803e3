"""Cosine decay with warm restarts."""

import dataclasses
import itertools

import tensorflow as tf

from modelzoo.fields.checks import check_at_least, check_durations, check_positive, check_share
from modelzoo.fields.duration import Duration
from modelzoo.schedules.schedule import Factor, ToSteps, WarmupSchedule, as_float, half_cosine


@dataclasses.dataclass(frozen=True)
class CosineRestarts(WarmupSchedule):
    """Consecutive half cosines, each from its own peak (SGDR, Loshchilov and Hutter 2017).

    period: duration of the first.
    period_multiplier: duration of each period as a factor of the previous one.
    peak_multiplier: peak above `final` of each period as a factor of the previous one.
    final: factor at the end of each period.
    """

    period: Duration = "10 epochs"
    period_multiplier: float = 2.0
    peak_multiplier: float = 1.0
    final: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        check_durations(period=self.period)
        check_at_least(1, period_multiplier=self.period_multiplier)
        check_positive(peak_multiplier=self.peak_multiplier)
        check_share(final=self.final)

    def bind_after_warmup(self, warmup: int, total_steps: int, to_steps: ToSteps) -> Factor:
        """Returns the factor as a function of the number of steps since the warmup."""
        begins: list[int] = []
        length, end = float(to_steps(self.period)), 0.0
        while not begins or end < total_steps - warmup:
            begins.append(round(end))
            end += length
            length *= self.period_multiplier
        lengths = [b - a for a, b in itertools.pairwise([*begins, round(end)])]
        peaks = [self.peak_multiplier**k for k in range(len(begins))]
        starts, lengths, peaks = tf.constant(begins, tf.int64), as_float(lengths), as_float(peaks)

        def factor(step: tf.Tensor) -> tf.Tensor:
            number = tf.maximum(tf.searchsorted(starts, [step], side="right")[0] - 1, 0)
            progress = as_float(step - starts[number]) / lengths[number]
            cosine = half_cosine(tf.clip_by_value(progress, 0.0, 1.0))
            return self.final + (1.0 - self.final) * peaks[number] * cosine

        return factor
