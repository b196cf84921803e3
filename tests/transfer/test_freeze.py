"""Frozen weights: nothing of training touches them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from stepping import BATCH, NORMED, TINY_CNN, assert_close, batches_of, feed, make, run

from modelzoo.fields.errors import UserError
from modelzoo.optimizers import SGD, AdamW
from modelzoo.transfer.freeze import freeze

STEM = ("^conv1",)


def weights(arrays, kind="model"):
    return {n.removeprefix(f"{kind}/"): v for n, v in arrays.items() if n.startswith(f"{kind}/")}


def is_stem(path):
    return path.startswith("conv1")


@pytest.mark.field("TrainConfig.freeze")
@pytest.mark.parametrize("replicas", [1, 2])
def test_frozen_weights_keep_their_bits_and_the_others_move(replicas):
    settings = {"freeze": STEM, "ema_decay": 0.9, "replicas": replicas}
    before = make(NORMED, AdamW(0.01), **settings)[1].arrays()
    after, _ = run(NORMED, AdamW(0.01), 3, **settings)
    old, new, average = weights(before), weights(after), weights(after, "ema")
    assert set(old) == set(new) == set(average)
    for path in new:
        # The stem's moving statistics are among them.
        assert np.array_equal(old[path], new[path]) == is_stem(path), path
        assert np.array_equal(new[path], average[path]) == is_stem(path), path
    assert any(is_stem(path) and "moving" in path for path in new)
    slots = [name for name in after if name.startswith("optimizer/")]
    assert slots and not [name for name in slots if "conv1" in name]


def test_the_same_update_over_replicas():
    optimizer, settings = SGD(0.1, momentum=0.9), {"freeze": STEM, "precision": "float64"}
    one, two = (run(NORMED, optimizer, 3, replicas=n, **settings)[0] for n in (1, 2))
    assert_close(one, two, 1e-9)


def test_a_frozen_layer_uses_its_moving_statistics():
    step, state = make(NORMED, SGD(0.1), freeze=("^(?!logits)",), precision="float64")
    rng = np.random.default_rng(0)
    for variable in state.frozen:
        if "moving" in variable.path:
            variable.assign(rng.uniform(0.5, 2, variable.shape))
    batches = batches_of(1, "float64")
    # With all but the head frozen, training computes what inference does.
    logits = state.model({"image": batches["image"][0]}, training=False).numpy()
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    losses = -log_p[np.arange(BATCH), batches["label"][0]]
    report = step(feed(step, batches), 1)
    np.testing.assert_allclose(report["loss_sum"], (losses * batches["weight"][0]).sum(), rtol=1e-5)


def test_a_layer_that_is_frozen_in_part_goes_on_as_before():
    settings = {"freeze": ("gamma",), "precision": "float64"}
    before = make(NORMED, SGD(0.1), **settings)[1].arrays()
    after, report = run(NORMED, SGD(0.1), 1, **settings)
    free, free_report = run(NORMED, SGD(0.1), 1, precision="float64")
    assert report["loss_sum"] == free_report["loss_sum"]
    for name in weights(after):
        expected = before if "gamma" in name else free
        np.testing.assert_array_equal(after[f"model/{name}"], expected[f"model/{name}"])


def test_no_gradient_is_computed_for_a_frozen_layer():
    def gradient_ops(**settings):
        step, _ = make(NORMED, SGD(0.1), **settings)
        graph = step._run.get_concrete_function(
            feed(step, batches_of(1)), tf.constant(1, tf.int32)
        ).graph
        return [op.type for op in graph.get_operations()].count("Conv2DBackpropFilter")

    whole, rest = gradient_ops(), gradient_ops(freeze=STEM)
    assert (whole, rest) == (2, 1)


def test_a_penalty_on_frozen_weights_is_none():
    free, frozen = (
        make(TINY_CNN, SGD(0.1), freeze=patterns)[1].model.losses for patterns in ((), ("conv1",))
    )
    # Each kernel has one: two convolutions, a dense layer and the logits.
    assert (len(free), len(frozen)) == (4, 3)


def test_frozen_batch_norm_needs_no_collective():
    # Otherwise XLA over replicas is refused.
    step, _ = make(NORMED, SGD(0.1), freeze=("^(?!logits)",), replicas=2, xla=True)
    assert not step.collective


def test_mistakes_are_told():
    inputs = keras.Input([3])
    outputs = keras.layers.Dense(1, name="b")(keras.layers.Dense(2, name="a")(inputs))
    model = keras.Model(inputs, outputs)
    with pytest.raises(UserError, match="freeze: 'c' matches no variable; .*layers are a, b$"):
        freeze(model, ("a", "c"))
    with pytest.raises(UserError, match="freeze=a,b leaves nothing to train"):
        freeze(model, ("a", "b"))
    assert len(model.trainable_variables) == 4
