"""The moving average of the weights, and what begins at them."""

import numpy as np
import pytest
import tensorflow as tf
from stepping import NORMED, Linear, batches_of, feed, make

from modelzoo.optimizers import SGD, ScheduleFreeAdamW
from modelzoo.training.state import ema_rate


@pytest.mark.parametrize("decay", [0.15, 0.2])
def test_moving_average_by_hand_until_its_rise_is_over(decay):
    step, state = make(Linear(), SGD(0.5), ema_decay=decay, precision="float64")
    batches = batches_of(4, "float64")
    average = state.arrays()["model/logits/kernel"]
    # The rise is 1/10, 2/11, 3/12, 4/13: each decay ends it at a step of its own.
    for k, rise in enumerate((1 / 10, 2 / 11, 3 / 12, 4 / 13)):
        step(feed(step, {name: v[k : k + 1] for name, v in batches.items()}), 1)
        arrays, rate = state.arrays(), min(decay, rise)
        average = rate * average + (1 - rate) * arrays["model/logits/kernel"]
        np.testing.assert_allclose(arrays["ema/logits/kernel"], average, atol=1e-7)
        assert np.abs(average - arrays["model/logits/kernel"]).max() > 1e-4


def test_the_moving_average_rises_to_its_decay():
    rates = [float(ema_rate(tf.constant(step), 0.99)) for step in (0, 5, 889, 891, 10**6)]
    np.testing.assert_allclose(rates, [0.1, 0.4, 890 / 899, 0.99, 0.99], rtol=1e-6)


def test_what_begins_at_the_weights_begins_at_those_taken_over():
    _, state = make(Linear(), ScheduleFreeAdamW())
    taken = {name: v + 1 for name, v in state.arrays().items() if name.startswith("model/")}
    state.start_from(taken, "raw")
    slots = {v.path: v.numpy() for v in state.optimizer_state if v.path.endswith("momentum")}
    assert len(slots) == len(taken)
    for name, value in taken.items():
        (slot,) = [
            v for path, v in slots.items() if name.replace("model/", "").replace("/", "_") in path
        ]
        np.testing.assert_array_equal(slot, value)


@pytest.mark.field("ScheduleFreeAdamW.learning_rate")
@pytest.mark.parametrize("rate", [0.01, 0.03])
def test_the_first_schedule_free_step_is_as_long_as_the_rate(rate):
    step, state = make(Linear(), ScheduleFreeAdamW(rate), precision="float64")
    before = state.arrays()["model/logits/kernel"]
    step(feed(step, {name: v[:1] for name, v in batches_of(4, "float64").items()}), 1)
    moved = np.abs(state.arrays()["model/logits/kernel"] - before)
    np.testing.assert_allclose(moved, rate, rtol=1e-4)


@pytest.mark.parametrize("replicas", [1, 2])
def test_schedule_free_evaluates_the_mean_of_its_steps(replicas):
    optimizer = ScheduleFreeAdamW(0.03, weight_decay=0.1)
    step, state = make(NORMED, optimizer, replicas, precision="float64")
    step(feed(step, {name: v[:1] for name, v in batches_of(1, "float64").items()}), 1)
    arrays = state.arrays()
    # After one step, z, x and y are equal.
    for name in (v.path for v in state.trainable):
        np.testing.assert_allclose(arrays[f"ema/{name}"], arrays[f"model/{name}"], atol=1e-12)
    step(feed(step, {name: v[:2][1:] for name, v in batches_of(2, "float64").items()}), 1)
    arrays, evaluated = state.arrays(), state.select_weights("ema")
    momentums = [v.numpy() for v in state.optimizer_state if v.path.endswith("momentum")]
    for name, z in zip((v.path for v in state.trainable), momentums, strict=True):
        x = (arrays[f"model/{name}"] - 0.1 * z) / 0.9
        np.testing.assert_allclose(arrays[f"ema/{name}"], x, atol=1e-12)
        assert np.abs(evaluated[name].numpy() - arrays[f"model/{name}"]).max() > 1e-5
    for name in (v.path for v in state.statistics):
        np.testing.assert_array_equal(arrays[f"ema/{name}"], arrays[f"model/{name}"])
