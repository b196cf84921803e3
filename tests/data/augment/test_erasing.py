import numpy as np
import pytest
import tensorflow as tf

from modelzoo.data.augment import erasing
from modelzoo.data.augment.boxes import STREAMS
from modelzoo.fields import hashing
from modelzoo.fields.hashing import random_uniform

COUNT = 300
SEEDS = np.stack([np.full(COUNT, 6), np.arange(COUNT)], -1)
IMAGES = np.random.default_rng(0).integers(1, 256, (COUNT, 20, 24, 3), np.uint8)
FILL = np.zeros(3, np.uint8)


def erase(
    probability=1.0, area=(0.05, 0.3), aspect=(0.5, 2.0), fill=FILL, images=IMAGES, seeds=SEEDS
):
    return erasing.erase(tf.constant(images), seeds, probability, area, aspect, fill).numpy()


def test_one_filled_box_of_the_ranges_is_erased_and_nothing_else():
    results = erase()
    areas = []
    for image, result in zip(IMAGES, results, strict=True):
        gone = (result == 0).all(axis=-1)
        rows, columns = np.flatnonzero(gone.any(1)), np.flatnonzero(gone.any(0))
        box = gone[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert box.all() and box.sum() == gone.sum()
        areas.append(gone.mean())
        # The sides are rounded to pixels.
        assert 0.5 / 1.4 < box.shape[1] / box.shape[0] < 2 * 1.4
        np.testing.assert_array_equal(result[~gone], image[~gone])
    assert 0.04 < min(areas) < 0.07 and 0.27 < max(areas) < 0.33


def test_the_probability_is_that_of_each_image():
    results = erase(probability=0.3)
    changed = (results != IMAGES).any(axis=(1, 2, 3))
    draws = random_uniform(SEEDS, hashing.ERASING + STREAMS, 1).numpy()[:, 0]
    np.testing.assert_array_equal(changed, draws < 0.3)
    np.testing.assert_array_equal(results[changed], erase()[changed])
    assert 0.2 < changed.mean() < 0.4


def test_a_box_that_fits_nowhere_erases_nothing():
    np.testing.assert_array_equal(erase(area=(1.0, 1.0), aspect=(3.0, 3.0)), IMAGES)


def test_noise_is_uniform_and_each_images_own():
    results = erase(area=(1.0, 1.0), aspect=(1.2, 1.2), fill=None)
    assert (results != IMAGES).mean() > 0.99
    counts = np.bincount(results.ravel(), minlength=256)
    assert abs(counts - results.size / 256).max() < 6 * np.sqrt(results.size / 256)
    assert abs(np.corrcoef(results[0].ravel(), results[1].ravel())[0, 1]) < 0.2
    rows = slice(7, 9)
    again = erase(
        area=(1.0, 1.0), aspect=(1.2, 1.2), fill=None, images=IMAGES[rows], seeds=SEEDS[rows]
    )
    np.testing.assert_array_equal(again, results[rows])


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 1)])
def test_small_images_are_filled_with_noise_too(shape):
    images = np.zeros((40, *shape), np.uint8)
    ratio = shape[1] / shape[0]
    results = erase(area=(1, 1), aspect=(ratio, ratio), fill=None, images=images, seeds=SEEDS[:40])
    assert results.shape == images.shape and (results > 0).mean() > 0.9
