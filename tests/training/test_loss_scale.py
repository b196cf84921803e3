"""Training in float16: gradients stay above zero, and an overflow costs one update, no more."""

import dataclasses
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from runs import change, train
from stepping import NORMED, TINY_CNN, assert_close, batches_of, feed, make, run

import modelzoo
from modelzoo.fields.errors import UserError
from modelzoo.models import CNN
from modelzoo.optimizers import SGD, AdamW
from modelzoo.training import checkpoint, run_folder
from modelzoo.training.config import TrainConfig
from modelzoo.training.loss_scale import LossScale

HALF = {"precision": "float16"}


def overflowing(steps, *bad):
    """Batches of which those numbered `bad` hold one image beyond float16, in the last rows."""
    batches = batches_of(steps)
    batches["weight"][:, -1] = 1.0
    batches["image"][list(bad), -1] = 1e6
    return batches


def test_the_scale_by_hand():
    scale = LossScale(4.0, growth=2)
    values, seen = [tf.constant(4.0), tf.constant(0, tf.int64)], []
    for ok in (True, True, True, False, True, True, False, False, False, False, True):
        values = scale.next_values(*values, tf.constant(ok))
        seen.append((float(values[0]), int(values[1])))
    up = [(4, 1), (8, 0), (8, 1)]
    assert seen == [*up, (4, 0), (4, 1), (8, 0), (4, 0), (2, 0), (1, 0), (1, 0), (1, 1)]
    most = [tf.constant(2.0**24), tf.constant(1, tf.int64)]
    assert float(scale.next_values(*most, tf.constant(True))[0]) == 2**24


@pytest.mark.field("TrainConfig.loss_scale")
def test_scaling_keeps_gradients_that_float16_rounds_to_zero():
    def gradients(**settings):
        model = CNN(filters=(4, 4), padding="same", dense=(8,))
        step, state = make(model, SGD(1.0, momentum=0.9), **settings)
        kernel = next(v for v in state.trainable if v.path == "logits/kernel")
        # Gradients of about 1e-8 behind it; a momentum holds them, weights would round them.
        kernel.assign(kernel * 1e-6)
        step(feed(step, batches_of(1)), 1)
        slots = {n: v for n, v in state.arrays().items() if "momentum" in n}
        return {n: v for n, v in slots.items() if "conv" in n or "dense" in n}

    exact = gradients()
    scaled = gradients(**HALF)
    plain = gradients(loss_scale=1.0, **HALF)
    for name, value in exact.items():
        size = np.linalg.norm(value)
        assert 0 < size < 1e-5, name
        assert np.linalg.norm(scaled[name] - value) < 0.02 * size, name
        assert np.linalg.norm(plain[name] - value) > 0.2 * size, name


def test_the_same_update_over_replicas_and_micro_batches_where_one_replica_overflows():
    # The last rows are those of the last replica, the last micro-batch: never of the first.
    batches = overflowing(5, 1, 3)
    splits = ({}, {"replicas": 2}, {"replicas": 4}, {"accumulate": 4})
    runs = []
    for split in (*splits, {"replicas": 2, "accumulate": 2}):
        arrays, _ = run(
            TINY_CNN,
            SGD(0.1, momentum=0.9),
            5,
            batches,
            steps_per_loop=5,
            ema_decay=0.9,
            **HALF,
            **split,
        )
        runs.append(arrays)
        assert arrays["loss_scale/scale"] == 2.0**13
        assert arrays["loss_scale/good_steps"] == 1
        assert arrays["optimizer/sgd/iteration"] == 3
    for arrays in runs[1:]:
        assert_close(runs[0], arrays, 3e-3)
    moved = (
        runs[0]["model/conv1/kernel"] - make(TINY_CNN, SGD(0.1))[1].arrays()["model/conv1/kernel"]
    )
    assert np.abs(moved).max() > 0.03


@pytest.mark.parametrize("model", [NORMED, dataclasses.replace(NORMED, synchronized=False)])
def test_an_overflow_on_one_replica_changes_only_the_scale_and_the_step(model):
    step, state = make(model, AdamW(0.01), replicas=2, ema_decay=0.9, **HALF)
    batches = overflowing(3, 1)
    cuts = [{k: v[n : n + 1] for k, v in batches.items()} for n in range(3)]
    step(feed(step, cuts[0]), 1)
    before = state.arrays()
    report = step(feed(step, cuts[1]), 1)
    assert (report["ok"].tolist(), report["alive"].tolist()) == ([0], [1])
    after = state.arrays()
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {"loss_scale/scale", "loss_scale/good_steps"}
    assert (int(state.step.numpy()), after["loss_scale/scale"]) == (2, 2.0**14)
    assert step(feed(step, cuts[2]), 1)["ok"].tolist() == [1]
    for variable in state.assigned:
        copies = step.strategy.experimental_local_results(variable.value)
        np.testing.assert_array_equal(*(copy.numpy() for copy in copies), err_msg=variable.path)


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_loop_goes_on_after_an_overflow(replicas):
    model = CNN(filters=(4,), dense=(8,), dropout=0.5)
    settings = {"replicas": replicas, "ema_decay": 0.9, "loss_scale_growth": 2, **HALF}
    batches = overflowing(6, 1, 2)
    single, _ = run(model, SGD(0.1, momentum=0.9), 6, batches, **settings)
    looped, report = run(model, SGD(0.1, momentum=0.9), 6, batches, steps_per_loop=6, **settings)
    assert report["ok"].tolist() == [1, 0, 0, 1, 1, 1]
    assert report["alive"].all()
    np.testing.assert_array_equal(
        report["loss_scale"] / 2.0**15, [1, 1, 1 / 2, 1 / 4, 1 / 4, 1 / 2]
    )
    for name in single:
        np.testing.assert_array_equal(single[name], looped[name], err_msg=name)


def test_an_overflow_at_the_least_scale_ends_the_run():
    step, state = make(TINY_CNN, SGD(0.1), loss_scale=2.0, steps_per_loop=4, **HALF)
    before = state.arrays()
    report = step(feed(step, overflowing(4, 0, 1)), 4)
    assert report["alive"].tolist() == [1, 0, 0, 0]
    assert not report["ok"].any()
    assert int(state.step.numpy()) == 1
    for name, value in state.arrays().items():
        if name.startswith("model/"):
            np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_xla_scales_alike():
    model = CNN(filters=(4,), dense=(8,), pooling="average")
    batches = overflowing(3, 1)
    plain, _ = run(model, SGD(0.1), 3, batches, accumulate=2, **HALF)
    compiled, _ = run(model, SGD(0.1), 3, batches, accumulate=2, xla=True, **HALF)
    assert plain["loss_scale/scale"] == compiled["loss_scale/scale"] == 2.0**14
    assert_close(plain, compiled, 3e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float64"])
def test_other_precisions_have_no_scale(precision):
    arrays = make(TINY_CNN, SGD(0.1), precision=precision)[1].arrays()
    assert not [name for name in arrays if "scale" in name]


@pytest.fixture
def half(experiment):
    """A run whose scale starts too high for float16, falls, and rises again every other step."""
    return change(
        experiment,
        train={
            "loss_scale": 2.0**24,
            "loss_scale_growth": 2,
            "checkpoint_every": 3,
            "keep_checkpoints": 4,
            "ema_decay": 0.9,
            **HALF,
        },
    )


def test_a_run_shows_what_it_discards_and_resumes_to_the_same_bits(half, tmp_path):
    result, out = train(half, tmp_path / "whole")
    records = [r for r in run_folder.read_records(tmp_path / "whole") if r["kind"] == "train"]
    discarded = [r["discarded_steps"] for r in records]
    assert 2 < sum(discarded) == result["discarded_steps"] < 12
    assert f"12 steps in 0:00, {sum(discarded)} discarded because of overflow" in re.sub(
        r"\d+:\d\d", "0:00", out
    )
    assert all(np.log2(r["loss_scale"]) == int(np.log2(r["loss_scale"])) < 24 for r in records)
    # In which every step is discarded there is no loss to show, and in the others it is finite.
    assert [("loss" in r) for r in records] == [n < 4 for n in discarded]
    scales = []
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    for step in (6, 9, 12):
        path = checkpoint.find(tmp_path / "cut", step)
        scales.append(float(checkpoint.read(path)["loss_scale/scale"]))
        shutil.rmtree(path)
    assert len(set(scales)) > 1
    cut, out = train(half, tmp_path / "cut")
    assert "resumed at step 3" in out
    assert cut["discarded_steps"] == result["discarded_steps"]
    assert cut["eval"] == result["eval"]
    a, b = (checkpoint.read(checkpoint.find(tmp_path / name)) for name in ("whole", "cut"))
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    assert {v.dtype for v in modelzoo.load(tmp_path / "cut").model.weights} == {"float32"}


@pytest.mark.field("TrainConfig.loss_scale_growth")
def test_the_scale_doubles_after_so_many_updates(experiment, tmp_path):
    settings = {"loss_scale": 4.0, "loss_scale_growth": 3, "steps": 7, "log_every": 1}
    result, out = train(change(experiment, train={**settings, **HALF}), tmp_path)
    records = [r for r in run_folder.read_records(tmp_path) if r["kind"] == "train"]
    assert [r["loss_scale"] for r in records] == [4, 4, 4, 8, 8, 8, 16]
    assert result["discarded_steps"] == 0 and "discarded" not in out


def test_an_overflow_at_the_least_scale_is_reported(experiment, tmp_path):
    wild = change(
        experiment,
        optimizer={"learning_rate": 1e38},
        train={"loss_scale": 4.0, "steps_per_loop": 4, **HALF},
    )
    with pytest.raises(UserError, match="of step 3 are not finite at the minimum loss scale"):
        train(wild, tmp_path)


@pytest.mark.parametrize("change_of", [("float32", "float16"), ("float16", "float32")])
def test_no_run_resumes_with_another_scaled_precision(experiment, tmp_path, change_of):
    first, second = (change(experiment, train={"precision": p, "steps": 1}) for p in change_of)
    train(first, tmp_path)
    with pytest.raises(UserError, match="another config.train.precision: only float16 scales"):
        train(second, tmp_path, resume_with_changes=True)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"loss_scale": 8.0}, "^loss_scale needs precision float16, got float32"),
        ({"loss_scale_growth": 8, "precision": "bfloat16"}, "^loss_scale_growth needs precision"),
        ({"loss_scale": 3.0, **HALF}, "^loss_scale must be a power of two from 1 to"),
        ({"loss_scale": 0.5, **HALF}, "^loss_scale must be"),
        ({"loss_scale_growth": 0, **HALF}, "^loss_scale_growth must be at least 1"),
    ],
)
def test_settings_that_do_not_fit(fields, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**fields)
