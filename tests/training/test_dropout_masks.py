"""Dropout draws from the seed, the step, the micro-batch, the replica and the layer."""

import numpy as np
from stepping import BATCH, Linear, batches_of, feed, make, run

from modelzoo.optimizers import SGD


def test_dropout_masks_differ_by_replica_step_and_micro_batch_and_repeat_with_the_seed():
    same = {k: np.repeat(v[:, :4], 4, axis=1) for k, v in batches_of(1).items()}
    same["weight"][:] = 1.0
    rows = {k: v[:, : BATCH // 2] for k, v in same.items()}
    twice = {k: np.concatenate([v, v], axis=1) for k, v in rows.items()}
    twice["weight"] = (np.arange(BATCH) % (BATCH // 2) == 0).astype("float32")[None]

    def kernel(batches=same, **settings):
        arrays, _ = run(Linear(0.5), SGD(0.1), 1, batches, **settings)
        return arrays["model/logits/kernel"]

    np.testing.assert_array_equal(kernel(replicas=2), kernel(replicas=2))
    assert not np.allclose(kernel(replicas=1), kernel(replicas=1, seed=6))
    plain = make(Linear(0.5), SGD(0.1))[1].arrays()["model/logits/kernel"]
    whole = kernel(replicas=2, batches=twice) - plain
    micro = kernel(accumulate=2, batches=twice) - plain
    # One example, twice: its pixel moves nothing only where both masks drop it, a quarter of all.
    for change in (whole, micro):
        assert 0.1 < (change == 0).all(axis=1).mean() < 0.4


def test_each_step_and_each_layer_has_a_mask_of_its_own():
    batches = batches_of(3)
    batches["weight"] = (np.arange(BATCH) == 0).astype("float32") * np.ones([3, 1], "float32")

    def dropped(*dropout):
        """For each step, the pixels of the only example that moved nothing: `[steps, pixels]`."""
        step, state = make(Linear(*dropout), SGD(0.1))
        kernels = [state.arrays()["model/logits/kernel"]]
        for k in range(3):
            step(feed(step, {name: v[k : k + 1] for name, v in batches.items()}), 1)
            kernels.append(state.arrays()["model/logits/kernel"])
        return (np.diff(kernels, axis=0) == 0).all(axis=2)

    one, two = dropped(0.5), dropped(0.5, 0.5)
    assert not dropped().any()
    np.testing.assert_allclose(one.mean(axis=1), 0.5, atol=0.15)
    # Where two masks are independent they differ in half of the pixels.
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert 0.35 < (one[a] != one[b]).mean() < 0.65
    # What passes one layer, a half of it passes the other.
    np.testing.assert_allclose(two.mean(axis=1), 0.75, atol=0.1)
