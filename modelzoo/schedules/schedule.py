"""Learning-rate schedules: factors of the peak rate as functions of the step."""

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Literal

import tensorflow as tf

from modelzoo.fields.checks import check_at_least, check_durations, check_positive
from modelzoo.fields.duration import Duration, parse_duration
from modelzoo.fields.errors import UserError

Factor = Callable[[tf.Tensor], tf.Tensor]
Steps = Callable[[Duration], int]


def _float(steps: tf.Tensor) -> tf.Tensor:
    """A number of steps, once whole numbers are compared: float32 counts up to 2**24 only."""
    return tf.cast(steps, tf.float32)


def _progress(step: tf.Tensor, length: int) -> tf.Tensor:
    """The share of `length` at `step`, from 0 to 1."""
    return tf.clip_by_value(_float(step) / length, 0.0, 1.0)


def _half_cosine(progress: tf.Tensor) -> tf.Tensor:
    """From 1 down to 0 at `progress` 0 to 1."""
    return 0.5 * (1.0 + tf.cos(math.pi * progress))


def _check_share(**fields: float) -> None:
    for name, value in fields.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be between 0 and 1, got {value!r}")


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Base of the schedules with a linear warmup; what follows is `after_warmup` or `after`.

    warmup: length of the rise from `peak / warmup_steps` at the first step to the peak, which a
        shorter run, such as a trial, never reaches.
    """

    warmup: Duration = 0

    def __post_init__(self):
        try:
            parse_duration(self.warmup)
        except ValueError as error:
            raise ValueError(f"warmup {error}") from None

    def bind(self, total_steps: int, steps: Steps) -> Factor:
        """The factor of the step (an integer scalar) as float32; `steps` converts lengths."""
        warmup = steps(self.warmup)
        after = self.after(warmup, total_steps, steps)

        def factor(step: tf.Tensor) -> tf.Tensor:
            step = tf.cast(step, tf.int64)
            rising = _float(step + 1) / max(warmup, 1)
            return tf.where(step < warmup, rising, after(step - warmup))

        return factor

    def after(self, warmup: int, total_steps: int, steps: Steps) -> Factor:
        """The factor of the number of steps (int64) since the warmup."""
        rest = max(total_steps - warmup, 1)
        return lambda step: self.after_warmup(_progress(step, rest))

    def after_warmup(self, progress: tf.Tensor) -> tf.Tensor:
        """The factor at `progress` in [0, 1] of the steps after the warmup."""
        raise NotImplementedError

    def describe(self, total_steps: int, steps: Steps) -> str:
        """The schedule and its warmup in words."""
        name, warmup = type(self).__name__, steps(self.warmup)
        never = ", which the run never ends" if warmup > total_steps else ""
        return f"{name} after {warmup} steps of warmup{never}" if warmup else name


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
        _check_share(final=self.final)

    def after_warmup(self, progress: tf.Tensor) -> tf.Tensor:
        """`final + (1 - final) (1 + cos(pi progress)) / 2`."""
        return self.final + (1.0 - self.final) * 0.5 * (1.0 + tf.cos(math.pi * progress))


@dataclasses.dataclass(frozen=True)
class Polynomial(Schedule):
    """`(1 - progress) ** power` from the peak down to `final` of it; power 1 is a straight line.

    power: of the share that is left.
    final: factor at the end of the run.
    """

    power: float = 1.0
    final: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        check_positive(power=self.power)
        _check_share(final=self.final)

    def after_warmup(self, progress: tf.Tensor) -> tf.Tensor:
        """`final + (1 - final) (1 - progress) ** power`."""
        return self.final + (1.0 - self.final) * (1.0 - progress) ** self.power


@dataclasses.dataclass(frozen=True)
class Piecewise(Schedule):
    """Constant pieces: the peak, then from each boundary on the factor beside it.

    boundaries: lengths from the start of the run, rising, none within the warmup.
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
                raise ValueError(f"boundaries must rise, got {self.boundaries!r}")
        if len(self.factors) != len(self.boundaries):
            raise ValueError(
                f"factors must be one for each of the {len(self.boundaries)} boundaries, "
                f"got {self.factors!r}"
            )
        for factor in self.factors:
            check_at_least(0, factors=factor)

    def after(self, warmup: int, total_steps: int, steps: Steps) -> Factor:
        """The factor of the last boundary that is reached; UserError where they do not rise."""
        at = [steps(boundary) for boundary in self.boundaries]
        if sorted(at) != at or min(at, default=warmup) < warmup:
            raise UserError(
                "config.optimizer.schedule.boundaries must rise and come after the warmup of "
                f"{warmup} steps, got {self.boundaries!r}, which are the steps {at}"
            )
        factors = tf.constant([1.0, *self.factors])
        starts = tf.constant(at, tf.int64) - warmup
        return lambda step: tf.gather(factors, tf.math.count_nonzero(step >= starts))


@dataclasses.dataclass(frozen=True)
class Exponential(Schedule):
    """The peak times `decay ** (steps since the warmup / steps of every)`.

    The defaults are EfficientNet's (Tan and Le 2019).

    decay: factor for one length `every`.
    every: the length.
    staircase: fall once at the end of each length instead of at each step.
    """

    decay: float = 0.97
    every: Duration = "2.4 epochs"
    staircase: bool = False

    def __post_init__(self):
        super().__post_init__()
        check_durations(every=self.every)
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay must be above 0 and at most 1, got {self.decay!r}")

    def after(self, warmup: int, total_steps: int, steps: Steps) -> Factor:
        """The factor of the number of steps since the warmup."""
        every = steps(self.every)

        def factor(step: tf.Tensor) -> tf.Tensor:
            return self.decay ** (_float(step // every) if self.staircase else _float(step) / every)

        return factor


@dataclasses.dataclass(frozen=True)
class CosineRestarts(Schedule):
    """Half cosines, one after the other, each from its peak (Loshchilov and Hutter 2017: SGDR).

    period: length of the first.
    period_multiplier: length of each next one as a factor of the one before.
    peak_multiplier: peak above `final` of each next one as a factor of the one before.
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
        _check_share(final=self.final)

    def after(self, warmup: int, total_steps: int, steps: Steps) -> Factor:
        """The factor of the number of steps since the warmup."""
        starts, length, end = [], float(steps(self.period)), 0.0
        while not starts or end < total_steps - warmup:
            starts.append(round(end))
            end += length
            length *= self.period_multiplier
        lengths = [b - a for a, b in itertools.pairwise([*starts, round(end)])]
        peaks = [self.peak_multiplier**k for k in range(len(starts))]
        starts, lengths, peaks = tf.constant(starts, tf.int64), _float(lengths), _float(peaks)

        def factor(step: tf.Tensor) -> tf.Tensor:
            number = tf.maximum(tf.searchsorted(starts, [step], side="right")[0] - 1, 0)
            progress = _float(step - starts[number]) / lengths[number]
            cosine = _half_cosine(tf.clip_by_value(progress, 0.0, 1.0))
            return self.final + (1.0 - self.final) * peaks[number] * cosine

        return factor


@dataclasses.dataclass(frozen=True)
class InverseSqrt(Schedule):
    """The peak times `1 / sqrt(1 + steps since the warmup / steps of timescale)`.

    With a warmup of the same length it is that of Vaswani et al. (2017), section 5.3, whose rate
    falls with the root of the step.

    timescale: length after which the rate has fallen to `1 / sqrt(2)` of the peak.
    """

    timescale: Duration = 10_000

    def __post_init__(self):
        super().__post_init__()
        check_durations(timescale=self.timescale)

    def after(self, warmup: int, total_steps: int, steps: Steps) -> Factor:
        """The factor of the number of steps since the warmup."""
        timescale = steps(self.timescale)
        return lambda step: 1.0 / tf.sqrt(1.0 + tf.maximum(_float(step), 0.0) / timescale)


@dataclasses.dataclass(frozen=True)
class WarmupStableDecay(Schedule):
    """The peak, until a last part of the run brings it down (Hu et al. 2024; Hägele et al. 2024).

    decay: that last part, a share of the run (0.2) or a length (2000 steps, "10 epochs"); what of
        it a warmup takes up is left out.
    shape: of the fall: a straight line, half a cosine or `1 - sqrt(progress)`.
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
            raise ValueError(f"decay must be a share above 0 and at most 1, got {self.decay!r}")
        _check_share(final=self.final)

    def start(self, warmup: int, total_steps: int, steps: Steps) -> int:
        """The step at which the fall begins."""
        share = isinstance(self.decay, float)
        length = round(self.decay * total_steps) if share else steps(self.decay)
        return max(total_steps - length, warmup)

    def after(self, warmup: int, total_steps: int, steps: Steps) -> Factor:
        """The factor of the number of steps since the warmup."""
        start = self.start(warmup, total_steps, steps)
        length = max(total_steps - start, 1)
        fall = {
            "linear": lambda progress: 1.0 - progress,
            "cosine": _half_cosine,
            "1-sqrt": lambda progress: 1.0 - tf.sqrt(progress),
        }[self.shape]

        def factor(step: tf.Tensor) -> tf.Tensor:
            progress = _progress(step + (warmup - start), length)
            return self.final + (1.0 - self.final) * fall(progress)

        return factor

    def describe(self, total_steps: int, steps: Steps) -> str:
        """The schedule, its warmup and the start of its fall in words."""
        start = self.start(steps(self.warmup), total_steps, steps)
        return f"{super().describe(total_steps, steps)}, falling from step {start} on"


@dataclasses.dataclass(frozen=True)
class OneCycle:
    """A rise to the peak and a longer fall far below its start (Smith and Topin 2018).

    It is its own warmup. Momentum does not change along.

    rise: share of the run up to the peak.
    div: peak over the rate of the first step.
    final_div: peak over the rate of the last step.
    shape: of both parts: straight lines or half cosines.
    """

    rise: float = 0.3
    div: float = 25.0
    final_div: float = 1e5
    shape: Literal["linear", "cosine"] = "cosine"

    def __post_init__(self):
        _check_share(rise=self.rise)
        check_at_least(1, div=self.div, final_div=self.final_div)

    def peak(self, total_steps: int) -> int:
        """The step of the peak."""
        return round(self.rise * (total_steps - 1))

    def bind(self, total_steps: int, steps: Steps) -> Factor:
        """The factor of the step (an integer scalar) as float32."""
        peak = self.peak(total_steps)
        fall = _half_cosine if self.shape == "cosine" else lambda progress: 1.0 - progress

        def factor(step: tf.Tensor) -> tf.Tensor:
            step = tf.cast(step, tf.int64)
            up = fall(_progress(peak - step, max(peak, 1)))
            down = fall(_progress(step - peak, max(total_steps - 1 - peak, 1)))
            low = tf.where(step < peak, 1.0 / self.div, 1.0 / self.final_div)
            return low + (1.0 - low) * tf.where(step < peak, up, down)

        return factor

    def describe(self, total_steps: int, steps: Steps) -> str:
        """The schedule and its peak in words."""
        return f"OneCycle with its peak at step {self.peak(total_steps)}"
