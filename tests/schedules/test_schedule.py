import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from modelzoo.fields.duration import to_steps
from modelzoo.fields.errors import UserError
from modelzoo.schedules import (
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    InverseSqrt,
    OneCycle,
    Piecewise,
    Polynomial,
    WarmupStableDecay,
)

ALL = [
    Constant(),
    Cosine(),
    Polynomial(),
    Piecewise(boundaries=(40, "6 epochs"), factors=(0.5, 0.1)),
    Exponential(),
    CosineRestarts(period="1 epoch"),
    InverseSqrt(timescale=20),
    WarmupStableDecay(),
    OneCycle(),
]


def steps_of(length):
    """Of batches of 10 from epochs of 100 examples."""
    return to_steps(length, lambda examples: examples / 10, 100)


def factors(schedule, total, steps):
    factor = schedule.bind(total, steps_of)
    return np.array([float(factor(tf.constant(s, tf.int64))) for s in steps])


@pytest.mark.field("WarmupSchedule.warmup")
def test_warmup_rises_to_the_peak_in_equal_steps():
    expected = [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    np.testing.assert_allclose(factors(Constant(warmup=4), 20, range(6)), expected)
    # 2 epochs of 100 examples in batches of 10 are 20 steps.
    np.testing.assert_allclose(factors(Constant(warmup="2 epochs"), 40, [0, 9, 19]), [0.05, 0.5, 1])


@pytest.mark.parametrize("schedule", ALL, ids=lambda schedule: type(schedule).__name__)
def test_what_all_schedules_share(schedule):
    total = 100
    steps = range(total + 1)
    got = factors(schedule, total, steps)
    assert got.max() == 1.0 and got.min() >= 0.0 and np.isfinite(got).all()
    # A function of the step alone, whichever is asked for first, the same in a graph.
    factor = tf.function(schedule.bind(total, steps_of))
    again = [factor(tf.constant(s, tf.int64)) for s in (60, 0)]
    np.testing.assert_allclose(again, got[[60, 0]], rtol=1e-6)
    if isinstance(schedule, OneCycle):
        return
    assert got[0] == 1.0
    warm = type(schedule)(**{**vars(schedule), "warmup": 10})
    after = factors(warm, total, steps)
    np.testing.assert_allclose(after[:11], [*np.arange(1, 11) / 10, 1.0], rtol=1e-6)
    if not isinstance(schedule, (Piecewise, WarmupStableDecay)):  # Theirs count from the start.
        np.testing.assert_allclose(after[10:], factors(schedule, 90, range(91)), rtol=1e-5)
    # A shorter run, such as a trial, rises all along.
    np.testing.assert_allclose(factors(warm, 4, range(4)), [0.1, 0.2, 0.3, 0.4], rtol=1e-6)


FAR = 2**25  # There, one step more or less is the same float32.


@pytest.mark.parametrize(
    "late, early",
    [
        (Constant(FAR), Constant()),
        (Cosine(FAR), Cosine()),
        (Polynomial(FAR), Polynomial()),
        (Piecewise(0, (FAR + 1, FAR + 3), (0.5, 0.1)), Piecewise(0, (1, 3), (0.5, 0.1))),
        (Exponential(FAR, 0.5, 2), Exponential(0, 0.5, 2)),
        (Exponential(0, 0.5, FAR + 1, True), Piecewise(0, (1,), (0.5,))),
        (CosineRestarts(FAR, 3), CosineRestarts(0, 3)),
        (InverseSqrt(FAR, 4), InverseSqrt(0, 4)),
        (WarmupStableDecay(decay=6), WarmupStableDecay(decay=6)),
        (OneCycle(FAR / (FAR + 7)), OneCycle(0.0)),
    ],
    ids=str,
)
def test_steps_beyond_float32_are_told_apart(late, early):
    got = factors(late, FAR + 8, range(FAR, FAR + 8))
    np.testing.assert_allclose(got, factors(early, 8, range(8)), rtol=1e-6)


@pytest.mark.field("Cosine.final")
def test_cosine_by_hand():
    got = factors(Cosine(final=0.1), 100, [0, 25, 50, 75, 100, 130])
    expected = [0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * p)) for p in (0, 0.25, 0.5, 0.75, 1, 1)]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.field("Polynomial.power", "Polynomial.final")
@pytest.mark.parametrize("power, final", [(1.0, 0.0), (2.0, 0.1), (0.5, 0.3)])
def test_polynomial_is_that_of_keras(power, final):
    theirs = keras.optimizers.schedules.PolynomialDecay(1.0, 40, final, power)
    got = factors(Polynomial(power=power, final=final), 40, range(42))
    np.testing.assert_allclose(got, [float(theirs(s)) for s in range(42)], rtol=1e-5, atol=1e-6)
    assert got[10] == pytest.approx(final + (1 - final) * 0.75**power)


@pytest.mark.field("Piecewise.boundaries", "Piecewise.factors")
def test_piecewise_falls_at_its_boundaries():
    schedule = Piecewise(boundaries=(5, "1 epoch", "150 examples"), factors=(0.5, 2.0, 0.0))
    got = factors(schedule, 20, range(20))
    np.testing.assert_allclose(got, [1] * 5 + [0.5] * 5 + [2] * 5 + [0] * 5)
    # Keras's first piece has one step more: its boundary still belongs to it.
    theirs = keras.optimizers.schedules.PiecewiseConstantDecay([4, 9, 14], [1.0, 0.5, 2.0, 0.0])
    np.testing.assert_allclose(got, [float(theirs(s)) for s in range(20)])
    # He et al. (2015), section 4.2: divided by 10 at 32k and 48k iterations.
    he = Piecewise(boundaries=(32_000, 48_000), factors=(0.1, 0.01))
    got = factors(he, 64_000, [0, 31_999, 32_000, 47_999, 48_000, 63_999])
    np.testing.assert_allclose(got, [1, 1, 0.1, 0.1, 0.01, 0.01])
    assert factors(Piecewise(boundaries=(), factors=()), 9, [8]) == [1]


@pytest.mark.field("Exponential.decay", "Exponential.every", "Exponential.staircase")
@pytest.mark.parametrize("staircase", [False, True])
def test_exponential_is_that_of_keras(staircase):
    theirs = keras.optimizers.schedules.ExponentialDecay(1.0, 10, 0.8, staircase)
    got = factors(Exponential(decay=0.8, every="1 epoch", staircase=staircase), 40, range(40))
    np.testing.assert_allclose(got, [float(theirs(s)) for s in range(40)], rtol=1e-5)
    assert got[15] == pytest.approx(0.8 if staircase else 0.8**1.5)


@pytest.mark.field("CosineRestarts.period", "CosineRestarts.period_multiplier")
@pytest.mark.field("CosineRestarts.peak_multiplier", "CosineRestarts.final")
@pytest.mark.parametrize("multiplier, peak, final", [(1.0, 1.0, 0.0), (2.0, 0.5, 0.1)])
def test_restarts_are_those_of_keras(multiplier, peak, final):
    theirs = keras.optimizers.schedules.CosineDecayRestarts(1.0, 10, multiplier, peak, final)
    schedule = CosineRestarts(0, "1 epoch", multiplier, peak, final)
    got = factors(schedule, 80, range(80))
    np.testing.assert_allclose(got, [float(theirs(s)) for s in range(80)], atol=1e-5)
    second = final + (1 - final) * peak
    np.testing.assert_allclose(got[[0, 5, 10]], [1, (1 + final) / 2, second], rtol=1e-6)


def test_restarts_of_broken_periods_follow_each_other():
    # 4, 6, 9 and 13.5 steps: restarts at 4, 10, 19, and the last is over at 32.5.
    got = factors(CosineRestarts(period=4, period_multiplier=1.5), 30, range(30))
    np.testing.assert_array_equal(np.flatnonzero(got == 1), [0, 4, 10, 19])
    assert got[29] == pytest.approx(0.5 * (1 + math.cos(math.pi * 10 / 13)), abs=0.01)


@pytest.mark.field("InverseSqrt.timescale")
def test_inverse_sqrt_is_that_of_vaswani():
    # Their step, from 1 on, is one above ours; the peak is held for a step.
    got = factors(InverseSqrt(warmup=8, timescale=8), 100, range(100))
    theirs = [min(s**-0.5, s * 8**-1.5) * 8**0.5 for s in range(1, 101)]
    np.testing.assert_allclose(got[:8], theirs[:8], rtol=1e-6)
    np.testing.assert_allclose(got[9:], theirs[8:-1], rtol=1e-6)
    got = factors(InverseSqrt(timescale="2 epochs"), 100, [0, 20, 60])
    np.testing.assert_allclose(got, [1, 0.5**0.5, 0.5], rtol=1e-6)


@pytest.mark.field("WarmupStableDecay.shape", "WarmupStableDecay.final")
@pytest.mark.parametrize(
    "shape, middle", [("linear", 0.5), ("cosine", 0.5), ("1-sqrt", 1 - 0.5**0.5)]
)
def test_warmup_stable_decay_by_hand(shape, middle):
    schedule = WarmupStableDecay(warmup=10, decay=20, shape=shape, final=0.2)
    got = factors(schedule, 100, [9, 10, 79, 80, 90, 100])
    np.testing.assert_allclose(got, [1, 1, 1, 1, 0.2 + 0.8 * middle, 0.2], rtol=1e-6)
    quarter = {"linear": 0.75, "cosine": 0.5 + 0.5**1.5, "1-sqrt": 0.5}[shape]
    assert factors(schedule, 100, [85]) == pytest.approx(0.2 + 0.8 * quarter)


@pytest.mark.field("WarmupStableDecay.decay")
@pytest.mark.parametrize("decay, start", [(0.3, 70), (30, 70), ("3 epochs", 70), (1.0, 10)])
def test_the_decay_is_a_share_or_a_length(decay, start):
    schedule = WarmupStableDecay(warmup=10, decay=decay, shape="linear")
    middle = (start + 100) // 2
    np.testing.assert_allclose(factors(schedule, 100, [start, middle]), [1, 0.5], rtol=1e-6)
    words = f"WarmupStableDecay after 10 steps of warmup, decaying from step {start} on"
    assert schedule.describe(100, steps_of) == words


@pytest.mark.field("OneCycle.rise", "OneCycle.div", "OneCycle.final_div", "OneCycle.shape")
def test_one_cycle_by_hand():
    got = factors(OneCycle(0.25, 10.0, 100.0, "linear"), 101, [0, 10, 25, 50, 100, 120])
    np.testing.assert_allclose(got, [0.1, 0.46, 1, 0.67, 0.01, 0.01], rtol=1e-5)
    got = factors(OneCycle(0.5, 10.0, 100.0, "cosine"), 101, [0, 25, 50, 75, 100])
    np.testing.assert_allclose(got, [0.1, 0.55, 1, 0.505, 0.01], rtol=1e-5)
    eighth = 0.1 + 0.9 * (1 - math.cos(math.pi / 5)) / 2
    assert factors(OneCycle(0.5, 10.0), 101, [10]) == pytest.approx(eighth)
    assert OneCycle(0.25).describe(101, steps_of) == "OneCycle with its peak at step 25"
    # A run of one step is at its peak.
    assert factors(OneCycle(), 1, [0]) == [1]


def test_the_warmup_in_words():
    assert Cosine().describe(40, steps_of) == "Cosine"
    assert Cosine(warmup="1 epoch").describe(40, steps_of) == "Cosine after 10 steps of warmup"
    words = "Constant after 10 steps of warmup, longer than the run"
    assert Constant(warmup=10).describe(4, steps_of) == words


@pytest.mark.parametrize(
    "build, word",
    [
        (lambda: Constant(warmup="5 eons"), "warmup"),
        (lambda: Cosine(final=2.0), "final"),
        (lambda: Polynomial(power=0.0), "power"),
        (lambda: Piecewise(boundaries=("60 epochs", "30 epochs", 8)), "boundaries"),
        (lambda: Piecewise(boundaries=(30, 30), factors=(0.1, 0.1)), "boundaries"),
        (lambda: Piecewise(boundaries=(0,), factors=(0.1,)), "boundaries"),
        (lambda: Piecewise(boundaries=("soon",), factors=(0.1,)), "boundaries"),
        (lambda: Piecewise(boundaries=(30, 60)), "factors must be one for each of the 2"),
        (lambda: Piecewise(boundaries=(30,), factors=(-1.0,)), "factors"),
        (lambda: Exponential(decay=0.0), "decay"),
        (lambda: Exponential(every=0), "every"),
        (lambda: CosineRestarts(period=0), "period"),
        (lambda: CosineRestarts(period_multiplier=0.5), "period_multiplier"),
        (lambda: CosineRestarts(peak_multiplier=0.0), "peak_multiplier"),
        (lambda: InverseSqrt(timescale=0), "timescale"),
        (lambda: WarmupStableDecay(decay=1.5), "decay must be a share"),
        (lambda: WarmupStableDecay(decay="soon"), "decay"),
        (lambda: WarmupStableDecay(final=-0.1), "final"),
        (lambda: OneCycle(rise=1.5), "rise"),
        (lambda: OneCycle(div=0.5), "div"),
    ],
)
def test_mistakes_name_the_field(build, word):
    with pytest.raises(ValueError, match=f"^{word}\\b"):
        build()


@pytest.mark.parametrize(
    "boundaries, warmup", [((30, "2 epochs"), 0), (("2 epochs", 30), 25)], ids=["fall", "warmup"]
)
def test_boundaries_of_several_units_are_compared_in_steps(boundaries, warmup):
    schedule = Piecewise(warmup, boundaries, (0.1, 0.01))
    with pytest.raises(UserError, match=r"schedule\.boundaries must increase and come after "):
        schedule.bind(100, steps_of)
