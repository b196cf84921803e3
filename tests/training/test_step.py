"""One update, however its batch is split: over replicas, over micro-batches, compiled or not."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import stepping
import tensorflow as tf
from bound_data import image_data
from stepping import (
    BATCH,
    DATA,
    EVERYTHING,
    NORMED,
    RESNET,
    SHAPE,
    TINY_CNN,
    Linear,
    assert_close,
    batches_of,
    feed,
    make,
    run,
)

from modelzoo.data import Augment
from modelzoo.fields.errors import UserError
from modelzoo.models import CNN
from modelzoo.optimizers import SGD, AdamW, Optimizer
from modelzoo.tasks import Classification, Regression, Tagging


def test_same_update_of_mixed_examples_over_replicas_and_micro_batches():
    """From raw rows: each replica mixes its own, and the update is that of the whole batch."""
    data = image_data(SHAPE, DATA.target.names, augment=Augment(mixup=0.4, cutmix=1.0, flip=True))
    task = Classification(label_smoothing=0.1, class_weights=(1.0, 2.0, 0.5))
    raw = batches_of(2)
    raw["target/label"] = raw.pop("label")
    raw["image"] = np.random.default_rng(0).integers(0, 256, raw["image"].shape, np.uint8)
    seeds = np.arange(2 * BATCH * 2).reshape(2, BATCH, 2)

    def mixed_by(parts):
        """The batches, of which each part's rows were mixed apart."""
        rows = BATCH // parts
        made = [
            data.features(
                {k: tf.constant(v[step, part : part + rows]) for k, v in raw.items()},
                training=True,
                seeds=tf.constant(seeds[step, part : part + rows]),
            )
            for step in range(2)
            for part in range(0, BATCH, rows)
        ]
        return {
            name: np.reshape([one[name] for one in made], [2, BATCH, *made[0][name].shape[1:]])
            for name in made[0]
        }

    options = {"task": task, "data": data, "precision": "float64"}
    optimizer = SGD(0.1, momentum=0.9)
    whole, _ = run(TINY_CNN, optimizer, 2, mixed_by(1), **options)
    for replicas, parts in ((2, 1), (1, 2)):
        split = {**options, "replicas": replicas, "accumulate": parts}
        assert_close(whole, run(TINY_CNN, optimizer, 2, mixed_by(replicas), **split)[0], 1e-9)


@pytest.mark.parametrize(
    "model, replicas, precision, tolerance",
    [
        (RESNET, (2,), "float64", 1e-9),
        (RESNET, (2,), "float32", 1e-5),
        (NORMED, (2, 4), "float64", 1e-9),
        (TINY_CNN, (2, 4), "float64", 1e-9),
        (TINY_CNN, (2,), "float32", 1e-5),
    ],
)
def test_same_update_over_replicas(model, replicas, precision, tolerance):
    optimizer = SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
    task = Classification(label_smoothing=0.1, class_weights=(1.0, 2.0, 0.5))
    settings = {"task": task, "precision": precision, **EVERYTHING}
    one, _ = run(model, optimizer, **settings)
    for number in replicas:
        assert_close(one, run(model, optimizer, replicas=number, **settings)[0], tolerance)


TAGGING = Tagging(label_smoothing=0.1, positive_weights=(1.0, 3.0, 0.5))
HUBER = Regression(loss="huber", delta=0.3, target_mean=(5, 4, 6), target_std=(2, 1, 3))


@pytest.mark.parametrize("task, kind", [(TAGGING, "tags"), (HUBER, "values")])
def test_same_update_of_other_tasks_over_replicas_and_micro_batches(task, kind):
    rng = np.random.default_rng(3)
    batches, shape = batches_of(4), (4, BATCH, 3)
    tags, values = rng.random(shape) < 0.4, rng.normal(5, 2, shape)
    batches["label"] = (tags if kind == "tags" else values).astype(np.float32)
    settings = {
        "task": task,
        "data": image_data(SHAPE, ("a", "b", "c"), kind),
        "precision": "float64",
        "clip_global_norm": 0.5,
    }
    optimizer = SGD(0.1, momentum=0.9)
    whole, report = run(TINY_CNN, optimizer, 4, batches, **settings)
    for split in ({"accumulate": 4}, {"replicas": 2, "accumulate": 2}):
        arrays, same = run(TINY_CNN, optimizer, 4, batches, **settings, **split)
        assert_close(whole, arrays, 1e-9)
        for name in report:
            np.testing.assert_allclose(same[name], report[name], rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("precision, tolerance", [("float64", 1e-9), ("float32", 1e-5)])
def test_same_update_over_micro_batches(precision, tolerance):
    optimizer = SGD(0.1, momentum=0.9, weight_decay=0.01)
    arrays = [
        run(TINY_CNN, optimizer, accumulate=n, precision=precision, **EVERYTHING)[0]
        for n in (1, 2, 4)
    ]
    assert_close(arrays[0], arrays[1], tolerance)
    assert_close(arrays[0], arrays[2], tolerance)
    both, _ = run(TINY_CNN, optimizer, accumulate=2, replicas=2, precision=precision, **EVERYTHING)
    assert_close(arrays[0], both, tolerance)


def test_synchronized_batch_norm_with_micro_batches_equals_one_replica_with_them():
    # Statistics are those of one micro-batch over all replicas: interleave the rows accordingly.
    optimizer = SGD(0.1)
    batches = batches_of(3)
    swap = np.arange(BATCH).reshape(2, 2, BATCH // 4).transpose(1, 0, 2).reshape(-1)
    swapped = {k: v[:, swap] for k, v in batches.items()}
    one, _ = run(NORMED, optimizer, 3, batches, accumulate=2, precision="float64")
    two, _ = run(NORMED, optimizer, 3, swapped, accumulate=2, replicas=2, precision="float64")
    assert_close(one, two, 1e-9)


def test_plain_batch_norm_keeps_the_mean_of_the_replicas_statistics():
    model = dataclasses.replace(NORMED, synchronized=False)
    batches = batches_of(1)
    whole, _ = run(model, SGD(0.1), 1, batches, replicas=2, precision="float64")
    halves = []
    for rows in (slice(0, 8), slice(8, 16)):
        twice = {k: np.concatenate([v[:, rows]] * 2, axis=1) for k, v in batches.items()}
        halves.append(run(model, SGD(0.1), 1, twice, precision="float64")[0])
    for name in (n for n in whole if "moving" in n):
        mean = (halves[0][name] + halves[1][name]) / 2
        np.testing.assert_allclose(whole[name], mean, atol=1e-12, err_msg=name)


def test_replicas_hold_the_same_bits_after_a_step():
    model = dataclasses.replace(NORMED, synchronized=False)
    step, state = make(model, AdamW(0.01), replicas=2, ema_decay=0.9)
    step(feed(step, batches_of(1)), 1)
    for variable in state.assigned:
        first, second = (
            c.numpy() for c in step.strategy.experimental_local_results(variable.value)
        )
        np.testing.assert_array_equal(first, second, err_msg=variable.path)


def test_adam_over_replicas_and_micro_batches_in_float64():
    # Where the true gradient is zero, Adam's sign of a rounding error is anybody's guess.
    optimizer = AdamW(0.01, weight_decay=0.1)
    one, _ = run(TINY_CNN, optimizer, precision="float64", ema_decay=0.99)
    split, _ = run(
        TINY_CNN, optimizer, precision="float64", ema_decay=0.99, replicas=2, accumulate=2
    )
    assert_close(one, split, 1e-9)


@pytest.mark.parametrize("model", [RESNET, CNN(filters=(4,), dense=(8,), pooling="average")])
def test_xla_gives_the_same_update(model):
    optimizer = SGD(0.1, momentum=0.9)
    plain, _ = run(model, optimizer, 3, ema_decay=0.9, accumulate=2)
    compiled, _ = run(model, optimizer, 3, ema_decay=0.9, accumulate=2, xla=True)
    assert_close(plain, compiled, 1e-4)


def test_xla_over_replicas_and_its_refusal_with_synchronized_statistics():
    model = dataclasses.replace(NORMED, synchronized=False)
    plain, _ = run(model, SGD(0.1), 2, replicas=2)
    compiled, _ = run(model, SGD(0.1), 2, replicas=2, xla=True)
    assert_close(plain, compiled, 1e-4)
    with pytest.raises(UserError, match="synchronized"):
        make(NORMED, SGD(0.1), replicas=2, xla=True)


@pytest.mark.parametrize("replicas", [1, 2])
def test_steps_per_loop_changes_nothing(replicas):
    model = CNN(filters=(4,), dense=(8,), dropout=0.5)
    single, _ = run(model, SGD(0.1), 6, replicas=replicas)
    looped, report = run(model, SGD(0.1), 6, replicas=replicas, steps_per_loop=4)
    assert len(report["ok"]) == 2  # 6 = 4 + 2: the second call runs two steps.
    for name in single:
        np.testing.assert_array_equal(single[name], looped[name], err_msg=name)


def test_first_update_against_numpy():
    """Weighted, clipped softmax regression with decay, momentum and averaging, by hand."""
    model = Linear()
    optimizer = SGD(0.5, momentum=0.9, weight_decay=0.1)
    settings = {"clip_global_norm": 0.3, "ema_decay": 0.9, "precision": "float64"}
    _, state = make(model, optimizer, **settings)
    before = state.arrays()
    batches = batches_of(1, "float64")
    after, report = run(model, optimizer, 1, batches, **settings)
    (kernel,) = [n for n in before if n.startswith("model/") and n.endswith("kernel")]
    (bias,) = [n for n in before if n.startswith("model/") and n.endswith("bias")]
    # Images reach the model in float32 at least; the flattened pixels are its features.
    x = batches["image"][0].reshape(BATCH, -1)
    y, w = np.eye(3)[batches["label"][0]], batches["weight"][0].astype("float64")
    logits = x @ before[kernel] + before[bias]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    residual = (p - y) * w[:, None] / w.sum()
    gradients = [x.T @ residual, residual.sum(0)]
    norm = np.sqrt(sum((g**2).sum() for g in gradients))
    assert norm > 0.3
    np.testing.assert_allclose(report["grad_norm"], [norm], rtol=1e-5)
    np.testing.assert_allclose(report["loss_sum"], [-(w * np.log((p * y).sum(1))).sum()], rtol=1e-5)
    expected_kernel = before[kernel] * (1 - 0.5 * 0.1) - 0.5 * gradients[0] * 0.3 / norm
    expected_bias = before[bias] - 0.5 * gradients[1] * 0.3 / norm
    np.testing.assert_allclose(after[kernel], expected_kernel, atol=1e-8)
    np.testing.assert_allclose(after[bias], expected_bias, atol=1e-8)
    ema = 0.1 * before[kernel] + 0.9 * expected_kernel  # The rate of step 0 is 1 / 10.
    np.testing.assert_allclose(after[kernel.replace("model/", "ema/")], ema, atol=1e-7)


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_step_that_is_not_finite_changes_nothing_nor_do_those_after_it(replicas):
    batches = batches_of(4)
    batches["image"][2, 0] = np.nan
    step, state = make(NORMED, AdamW(0.01), replicas=replicas, ema_decay=0.9, steps_per_loop=4)
    report = step(feed(step, batches), 4)
    assert report["ok"].tolist() == [1, 1, 0, 0]
    assert int(state.step.numpy()) == 2
    expected, _ = run(
        NORMED, AdamW(0.01), 2, batches, replicas=replicas, ema_decay=0.9, steps_per_loop=2
    )
    got = state.arrays()
    for name in expected:
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)


def test_weights_of_zero_alone_have_no_gradient():
    batches = batches_of(1)
    batches["weight"][:] = 0
    step, state = make(TINY_CNN, SGD(0.1, weight_decay=0.5))
    before = state.arrays()
    report = step(feed(step, batches), 1)
    assert (report["ok"].tolist(), report["grad_norm"].tolist()) == ([1], [0])
    after = state.arrays()
    np.testing.assert_allclose(
        after["model/logits/kernel"], before["model/logits/kernel"] * 0.95, rtol=1e-6
    )
    np.testing.assert_array_equal(after["model/logits/bias"], before["model/logits/bias"])


def test_weights_that_overflow_change_nothing():
    step, state = make(TINY_CNN, SGD(1e38))
    before = state.arrays()
    assert step(feed(step, batches_of(1)), 1)["ok"].tolist() == [0]
    for name, value in state.arrays().items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


COUNT_COLLECTIVES = """
import dataclasses, json, sys
import tensorflow as tf
from modelzoo.optimizers import SGD

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
sys.path.append(sys.argv[1])
import stepping as test


def collectives(model, **settings):
    # The cross-device operations of a user's run, unlike those of the other tests.
    strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
    step, _ = test.make(
        model, SGD(0.1, momentum=0.9), replicas=2, strategy=strategy,
        **test.EVERYTHING, **settings,
    )
    batches = test.feed(step, test.batches_of(settings.get("steps_per_loop", 1)))
    graph = step._run.get_concrete_function(batches, tf.constant(1)).graph.as_graph_def()
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    return [n.op for n in nodes if "Collective" in n.op or "Nccl" in n.op or "AllReduce" in n.op]


cnn = test.CNN(filters=(4, 4), padding="same", dense=(8,), dropout=0.5)
normed = test.NORMED
plain = dataclasses.replace(normed, synchronized=False)
print(json.dumps({
    "cnn": collectives(cnn),
    "accumulate": collectives(cnn, accumulate=4),
    "steps_per_loop": collectives(cnn, steps_per_loop=3),
    "plain": collectives(plain, accumulate=2),
    "synchronized": collectives(normed),
}))
"""


def test_one_batched_all_reduce_for_an_update():
    # In a process of its own: only there can the default operations have two devices.
    done = subprocess.run(
        [sys.executable, "-c", COUNT_COLLECTIVES, os.path.dirname(stepping.__file__)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    # A replica has one node in the graph, whatever the number of variables and micro-batches.
    for name in ("cnn", "accumulate", "steps_per_loop", "plain"):
        assert found[name] == ["CollectiveReduceV2"] * 2, name
    # The count does see more where there are more: two layers synchronize their statistics.
    assert len(found["synchronized"]) > 2 * 2


def test_optimizer_is_typed():
    with pytest.raises(NotImplementedError):
        Optimizer().build()
