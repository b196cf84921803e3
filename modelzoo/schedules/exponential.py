"""Exponential decay."""

import dataclasses

import tensorflow as tf

from modelzoo.fields.checks import check_durations
from modelzoo.fields.duration import Duration
from modelzoo.fields.errors import FieldError
from modelzoo.schedules.schedule import Factor, ToSteps, WarmupSchedule, as_float


@dataclasses.dataclass(frozen=True)
class Exponential(WarmupSchedule):
    """The peak times `decay ** (steps since the warmup / steps of every)`.

    The defaults are EfficientNet's (Tan and Le 2019).

    decay: factor for one duration `every`.
    every: the duration.
    staircase: decay once at the end of each duration instead of at each step.
    """

    decay: float = 0.97
    every: Duration = "2.4 epochs"
    staircase: bool = False

    def __post_init__(self):
        super().__post_init__()
        check_durations(every=self.every)
        if not 0 < self.decay <= 1:
            raise FieldError("decay", f"must be above 0 and at most 1, got {self.decay!r}")

    def bind_after_warmup(self, warmup: int, total_steps: int, to_steps: ToSteps) -> Factor:
        """Returns the factor as a function of the number of steps since the warmup."""
        every = to_steps(self.every)

        def factor(step: tf.Tensor) -> tf.Tensor:
            power = as_float(step // every) if self.staircase else as_float(step) / every
            return self.decay**power

        return factor
