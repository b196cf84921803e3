"""Piecewise constant learning rates."""

import dataclasses
import itertools

import tensorflow as tf

from modelzoo.fields.checks import check_at_least, check_durations
from modelzoo.fields.duration import Duration, parse_duration
from modelzoo.fields.errors import FieldError, UserError
from modelzoo.schedules.schedule import Factor, ToSteps, WarmupSchedule


@dataclasses.dataclass(frozen=True)
class Piecewise(WarmupSchedule):
    """The peak, multiplied by another factor from each boundary on.

    boundaries: durations from the start of the run, increasing, none within the warmup.
    factors: of the peak, one for each boundary.
    """

    boundaries: tuple[Duration, ...] = ("30 epochs", "60 epochs", "80 epochs")
    factors: tuple[float, ...] = (0.1, 0.01, 0.001)

    def __post_init__(self):
        super().__post_init__()
        for boundary in self.boundaries:
            check_durations(boundaries=boundary)
        parsed = [parse_duration(boundary) for boundary in self.boundaries]
        for (first, unit), (second, other) in itertools.pairwise(parsed):
            if unit == other and not first < second:
                raise FieldError("boundaries", f"must increase, got {self.boundaries!r}")
        if len(self.factors) != len(self.boundaries):
            raise FieldError(
                "factors",
                f"must be one for each of the {len(self.boundaries)} boundaries, "
                f"got {self.factors!r}",
            )
        for factor in self.factors:
            check_at_least(0, factors=factor)

    def bind_after_warmup(self, warmup: int, total_steps: int, to_steps: ToSteps) -> Factor:
        """Returns the factor of the last boundary reached.

        Raises:
            UserError: The boundaries do not increase when counted in steps.
        """
        at = [to_steps(boundary) for boundary in self.boundaries]
        if sorted(at) != at or min(at, default=warmup) < warmup:
            raise UserError(
                "config.optimizer.schedule.boundaries must increase and come after the warmup of "
                f"{warmup} steps, got {self.boundaries!r}, which are the steps {at}"
            )
        factors = tf.constant([1.0, *self.factors])
        starts = tf.constant(at, tf.int64) - warmup
        return lambda step: tf.gather(factors, tf.math.count_nonzero(step >= starts))
