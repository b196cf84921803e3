"""Learning-rate schedules: factors of the peak rate as functions of the step."""

import dataclasses
import math
from collections.abc import Callable

import tensorflow as tf

from modelzoo.train.length import Length, parse_length

Factor = Callable[[tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Base of the schedules: linear warmup, then `after_warmup`.

    warmup: length of the rise from `peak / warmup_steps` at the first step to the peak, which a
        shorter run, such as a trial, never reaches.
    """

    warmup: Length = 0

    def __post_init__(self):
        try:
            parse_length(self.warmup)
        except ValueError as error:
            raise ValueError(f"warmup {error}") from None

    def bind(self, total_steps: int, steps: Callable[[Length], int]) -> Factor:
        """The factor of the step (an integer scalar) as float32; `steps` converts lengths."""
        warmup = steps(self.warmup)

        def factor(step: tf.Tensor) -> tf.Tensor:
            step = tf.cast(step, tf.float32)
            progress = tf.clip_by_value((step - warmup) / max(total_steps - warmup, 1), 0.0, 1.0)
            rising = (step + 1.0) / max(warmup, 1)
            return tf.where(step < warmup, rising, self.after_warmup(progress))

        return factor

    def after_warmup(self, progress: tf.Tensor) -> tf.Tensor:
        """The factor at `progress` in [0, 1] of the steps after the warmup."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Constant(Schedule):
    """The peak rate throughout."""

    def after_warmup(self, progress: tf.Tensor) -> tf.Tensor:
        """1 everywhere."""
        return tf.ones_like(progress)


@dataclasses.dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from the peak down to `final` of it (Loshchilov and Hutter 2017, eq. 5).

    final: factor at the end of the run.
    """

    final: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.final <= 1:
            raise ValueError(f"final must be between 0 and 1, got {self.final!r}")

    def after_warmup(self, progress: tf.Tensor) -> tf.Tensor:
        """`final + (1 - final) (1 + cos(pi progress)) / 2`."""
        return self.final + (1.0 - self.final) * 0.5 * (1.0 + tf.cos(math.pi * progress))
