"""MixUp and CutMix of pairs, by hand in NumPy and by Keras from the result's own shares."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from modelzoo.data.augment import mixing

COUNT = 64
SEEDS = np.stack([np.full(COUNT, 9), np.arange(COUNT)], -1)
PARTNER = np.arange(COUNT) ^ 1


def batch_of(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "image": rng.normal(size=(COUNT, 6, 10, 2)).astype(np.float32),
        "weight": np.ones(COUNT, np.float32),
        "label": rng.integers(0, 3, COUNT),
    }


def mixed(batch=None, rows=slice(None), seeds=SEEDS, **alphas):
    batch = batch or batch_of()
    options = {"mixup": 0.0, "cutmix": 0.0, "cutmix_share": 0.5, **alphas}
    found = mixing.mix_rows(
        tf.constant(batch["image"][rows]),
        tf.constant(batch["weight"][rows]),
        seeds[rows],
        **options,
    )
    return dict(zip(("image", "weight", "mix"), (one.numpy() for one in found), strict=True))


def test_mixup_adds_neighbours_by_their_shares():
    batch, got = batch_of(), mixed(mixup=0.8)
    share = got["mix"][:, None, None, None]
    expected = share * batch["image"] + (1 - share) * batch["image"][PARTNER]
    np.testing.assert_allclose(got["image"], expected, atol=1e-6)
    assert len(np.unique(got["mix"])) > COUNT * 0.9
    np.testing.assert_array_equal(got["weight"], 1)


def test_cutmix_replaces_a_box_by_that_of_the_neighbour():
    batch, got = batch_of(), mixed(cutmix=1.0)
    cuts = 0
    for row, image in enumerate(got["image"]):
        own = (image == batch["image"][row]).all(axis=-1)
        other = (image == batch["image"][row ^ 1]).all(axis=-1)
        assert (own ^ other).all()
        rows, columns = np.flatnonzero(other.any(1)), np.flatnonzero(other.any(0))
        if len(rows):
            cuts += 1
            assert other[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert got["mix"][row] == pytest.approx(own.mean(), abs=1e-6)
    assert cuts > COUNT * 0.7


@pytest.mark.parametrize("kind", ["MixUp", "CutMix"])
def test_images_and_targets_are_mixed_as_by_the_layers_of_keras(kind):
    layer = getattr(keras.layers, kind)()
    batch, got = batch_of(), mixed(**{kind.lower(): 1.0})
    transformation = {
        "permutation_order": PARTNER,
        "mix_weight": got["mix"],
        "batch_masks": got["image"] != batch["image"],
    }
    expected = layer.transform_images(batch["image"], transformation)
    np.testing.assert_allclose(got["image"], expected, atol=1e-6)
    targets = np.eye(3, dtype=np.float32)[batch["label"]]
    expected = layer.transform_labels(targets, transformation)
    np.testing.assert_allclose(mixing.blend(tf.constant(targets), got["mix"]), expected, atol=1e-6)


def test_boxes_of_cutmix_have_the_drawn_area():
    # Away from the borders nothing is clipped: a box has 1 - share of the area.
    share = tf.constant(np.linspace(0, 1, 2000), tf.float32)
    seeds = np.stack([np.zeros(2000), np.arange(2000)], -1).astype(np.int64)
    top, left, rows, columns = mixing._cut_boxes(seeds, share, 400, 200).numpy().T
    whole = (top > 0) & (left > 0) & (top + rows < 400) & (left + columns < 200)
    areas = (rows * columns / 80000)[whole]
    assert whole.sum() > 200
    np.testing.assert_allclose(areas, 1 - share.numpy()[whole], atol=0.02)
    assert (rows >= 0).all() and (columns >= 0).all()
    assert (top + rows <= 400).all() and (left + columns <= 200).all()
    # The coordinates of small boxes are uniform and independent.
    small = share.numpy() > 0.9
    assert np.ptp(top[small]) > 300 and np.ptp(left[small]) > 150
    assert abs(np.corrcoef(top[small], left[small])[0, 1]) < 5 / np.sqrt(small.sum())


@pytest.mark.parametrize("alpha", [0.1, 0.2, 1.0, 4.0])
def test_shares_are_of_the_beta_distribution(alpha):
    seeds = np.stack([np.zeros(5000), np.arange(5000)], -1).astype(np.int64)
    shares = mixing._beta(tf.constant(seeds), 0, alpha).numpy()
    places = np.array([0.001, 0.05, 0.3, 0.5, 0.8, 0.95, 0.999])
    below = (shares[:, None] < places).mean(axis=0)
    np.testing.assert_allclose(
        below, scipy.stats.beta(alpha, alpha).cdf(places), atol=2.5 / np.sqrt(5000)
    )


def test_cutmix_share_divides_the_rows_between_both():
    both = mixed(mixup=0.5, cutmix=1.0, cutmix_share=0.25)
    up, cut = mixed(mixup=0.5), mixed(cutmix=1.0)
    is_cut = (both["image"] == cut["image"]).all(axis=(1, 2, 3))
    is_up = (both["image"] == up["image"]).all(axis=(1, 2, 3))
    assert (is_cut ^ is_up).all() and 0.1 < is_cut.mean() < 0.45
    np.testing.assert_array_equal(both["mix"], np.where(is_cut, cut["mix"], up["mix"]))


def test_weights_follow_the_targets():
    batch = batch_of()
    batch["weight"] = np.random.default_rng(3).choice([0.0, 0.5, 1, 3], COUNT).astype(np.float32)
    plain, got = mixed(mixup=1.0), mixed(batch, mixup=1.0)
    share = plain["mix"]
    own, others = share * batch["weight"], (1 - share) * batch["weight"][PARTNER]
    np.testing.assert_allclose(got["weight"], own + others, rtol=1e-5)
    np.testing.assert_allclose(got["weight"] * got["mix"], own, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(got["image"], plain["image"])


@pytest.mark.parametrize("alphas", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 1.0, "cutmix": 1.0}])
def test_even_parts_of_a_batch_are_mixed_as_the_whole_is(alphas):
    whole = mixed(**alphas)
    for rows in (slice(0, 2), slice(2, 40), slice(40, 64)):
        part = mixed(rows=rows, **alphas)
        for name, value in part.items():
            np.testing.assert_array_equal(value, whole[name][rows], err_msg=name)


def test_blend_is_linear_in_targets_of_any_rank():
    rng = np.random.default_rng(0)
    share = rng.uniform(size=4).astype(np.float32)
    share[:2] = (1, 0)
    for shape in ((4,), (4, 3)):
        values = rng.normal(size=shape).astype(np.float32)
        got = mixing.blend(tf.constant(values), tf.constant(share)).numpy()
        for row, partner in enumerate((1, 0, 3, 2)):
            expected = share[row] * values[row] + (1 - share[row]) * values[partner]
            np.testing.assert_allclose(got[row], expected, rtol=1e-6)
        np.testing.assert_array_equal(got[:2], values[[0, 0]])
