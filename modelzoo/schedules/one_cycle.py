"""The one-cycle schedule."""

import dataclasses
from typing import Literal

import tensorflow as tf

from modelzoo.fields.checks import check_at_least, check_share
from modelzoo.schedules.schedule import Factor, Schedule, ToSteps, half_cosine, progress


@dataclasses.dataclass(frozen=True)
class OneCycle(Schedule):
    """A rise to the peak and a longer fall far below the start (Smith and Topin 2018).

    It includes its own warmup. Momentum stays constant.

    rise: share of the run up to the peak.
    div: peak divided by the rate of the first step.
    final_div: peak divided by the rate of the last step.
    shape: of both parts: straight lines or half cosines.
    """

    rise: float = 0.3
    div: float = 25.0
    final_div: float = 1e5
    shape: Literal["linear", "cosine"] = "cosine"

    def __post_init__(self):
        check_share(rise=self.rise)
        check_at_least(1, div=self.div, final_div=self.final_div)

    def peak_step(self, total_steps: int) -> int:
        """Returns the step of the peak."""
        return round(self.rise * (total_steps - 1))

    def bind(self, total_steps: int, to_steps: ToSteps) -> Factor:
        """Returns the schedule of a run; see `Schedule.bind`."""
        peak = self.peak_step(total_steps)
        fall = half_cosine if self.shape == "cosine" else lambda share: 1.0 - share

        def factor(step: tf.Tensor) -> tf.Tensor:
            step = tf.cast(step, tf.int64)
            up = fall(progress(peak - step, max(peak, 1)))
            down = fall(progress(step - peak, max(total_steps - 1 - peak, 1)))
            low = tf.where(step < peak, 1.0 / self.div, 1.0 / self.final_div)
            return low + (1.0 - low) * tf.where(step < peak, up, down)

        return factor

    def describe(self, total_steps: int, to_steps: ToSteps) -> str:
        """Returns the schedule and its peak in words."""
        return f"OneCycle with its peak at step {self.peak_step(total_steps)}"
