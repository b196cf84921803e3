"""Base classes of learning rate schedules, which map a step to a factor of the peak rate."""

import dataclasses
import math
from collections.abc import Callable

import tensorflow as tf

from modelzoo.fields.duration import Duration, parse_duration
from modelzoo.fields.errors import FieldError

Factor = Callable[[tf.Tensor], tf.Tensor]
"""From a step (an integer scalar) to the factor of the peak rate (a float32 scalar)."""

ToSteps = Callable[[Duration], int]
"""From a duration to steps of the run's batches."""


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Base of all schedules."""

    def bind(self, total_steps: int, to_steps: ToSteps) -> Factor:
        """Returns the schedule of a run.

        Args:
            total_steps: Length of the run.
            to_steps: Converts durations to steps.

        Raises:
            UserError: The durations do not fit the run.
        """
        raise NotImplementedError

    def describe(self, total_steps: int, to_steps: ToSteps) -> str:
        """Returns the schedule in words, for the summary of a run."""
        return type(self).__name__


@dataclasses.dataclass(frozen=True)
class WarmupSchedule(Schedule):
    """Base of the schedules that start with a linear warmup.

    A subclass overrides `at_progress`, or `bind_after_warmup` if it needs the steps.

    warmup: duration of the rise from `peak / warmup_steps` at the first step to the peak. A run
        shorter than the warmup, such as a trial, rises until its end.
    """

    warmup: Duration = 0

    def __post_init__(self):
        try:
            parse_duration(self.warmup)
        except ValueError as error:
            raise FieldError("warmup", str(error)) from None

    def bind(self, total_steps: int, to_steps: ToSteps) -> Factor:
        """Returns the schedule of a run; see `Schedule.bind`."""
        warmup = to_steps(self.warmup)
        after = self.bind_after_warmup(warmup, total_steps, to_steps)

        def factor(step: tf.Tensor) -> tf.Tensor:
            step = tf.cast(step, tf.int64)
            rising = as_float(step + 1) / max(warmup, 1)
            return tf.where(step < warmup, rising, after(step - warmup))

        return factor

    def bind_after_warmup(self, warmup: int, total_steps: int, to_steps: ToSteps) -> Factor:
        """Returns the factor as a function of the number of steps (int64) since the warmup."""
        rest = max(total_steps - warmup, 1)
        return lambda step: self.at_progress(progress(step, rest))

    def at_progress(self, progress: tf.Tensor) -> tf.Tensor:
        """Returns the factor at `progress`, from 0 at the end of the warmup to 1 at the end."""
        raise NotImplementedError

    def describe(self, total_steps: int, to_steps: ToSteps) -> str:
        """Returns the schedule and its warmup in words."""
        name, warmup = type(self).__name__, to_steps(self.warmup)
        never = ", longer than the run" if warmup > total_steps else ""
        return f"{name} after {warmup} steps of warmup{never}" if warmup else name


def as_float(steps: tf.Tensor) -> tf.Tensor:
    """Converts a number of steps to float32, which represents integers up to 2**24 only.

    Compare and subtract integers first.
    """
    return tf.cast(steps, tf.float32)


def progress(step: tf.Tensor, length: int) -> tf.Tensor:
    """Returns the share of `length` at `step`, clipped to [0, 1]."""
    return tf.clip_by_value(as_float(step) / length, 0.0, 1.0)


def half_cosine(progress: tf.Tensor) -> tf.Tensor:
    """Returns a value that falls from 1 at `progress` 0 to 0 at `progress` 1."""
    return 0.5 * (1.0 + tf.cos(math.pi * progress))
