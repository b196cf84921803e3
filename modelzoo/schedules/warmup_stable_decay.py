"""A constant learning rate with a decay in the last part of the run."""

import dataclasses
from typing import Literal

import tensorflow as tf

from modelzoo.fields.checks import check_durations, check_share
from modelzoo.fields.errors import FieldError
from modelzoo.schedules.schedule import Factor, ToSteps, WarmupSchedule, half_cosine, progress


@dataclasses.dataclass(frozen=True)
class WarmupStableDecay(WarmupSchedule):
    """The peak, then a decay in the last part of the run (Hu et al. 2024; Hägele et al. 2024).

    decay: the last part, as a share of the run (0.2) or a duration (2000 steps, "10 epochs"); it
        never starts before the warmup ends.
    shape: of the decay: a straight line, half a cosine or `1 - sqrt(progress)`.
    final: factor at the end of the run.
    """

    decay: int | float | str = 0.2
    shape: Literal["linear", "cosine", "1-sqrt"] = "1-sqrt"
    final: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.decay, float):
            check_durations(decay=self.decay)
        elif not 0 < self.decay <= 1:
            raise FieldError("decay", f"must be a share above 0 and at most 1, got {self.decay!r}")
        check_share(final=self.final)

    def decay_start(self, warmup: int, total_steps: int, to_steps: ToSteps) -> int:
        """Returns the step at which the decay begins."""
        if isinstance(self.decay, float):
            length = round(self.decay * total_steps)
        else:
            length = to_steps(self.decay)
        return max(total_steps - length, warmup)

    def bind_after_warmup(self, warmup: int, total_steps: int, to_steps: ToSteps) -> Factor:
        """Returns the factor as a function of the number of steps since the warmup."""
        start = self.decay_start(warmup, total_steps, to_steps)
        length = max(total_steps - start, 1)
        fall = {
            "linear": lambda share: 1.0 - share,
            "cosine": half_cosine,
            "1-sqrt": lambda share: 1.0 - tf.sqrt(share),
        }[self.shape]

        def factor(step: tf.Tensor) -> tf.Tensor:
            share = progress(step + (warmup - start), length)
            return self.final + (1.0 - self.final) * fall(share)

        return factor

    def describe(self, total_steps: int, to_steps: ToSteps) -> str:
        """Returns the schedule, its warmup and the start of its decay in words."""
        start = self.decay_start(to_steps(self.warmup), total_steps, to_steps)
        return f"{super().describe(total_steps, to_steps)}, decaying from step {start} on"
