import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from modelzoo.data.augment import Augment


def batch(count=64, shape=(5, 7, 3)):
    rng = np.random.default_rng(0)
    images = rng.integers(1, 256, (count, *shape), np.uint8)
    return images, np.stack([np.full(count, -7), np.arange(count)], -1).astype(np.int64)


def test_each_image_is_a_crop_of_the_padded_one_maybe_mirrored():
    images, seeds = batch()
    results = Augment(crop_padding=2, flip=True)(tf.constant(images), tf.constant(seeds)).numpy()
    seen = set()
    for image, result in zip(images, results, strict=True):
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
        found = [
            (y, x, mirrored)
            for y in range(5)
            for x in range(5)
            for mirrored in (False, True)
            if (padded[y : y + 5, x : x + 7][:, :: -1 if mirrored else 1] == result).all()
        ]
        assert len(found) == 1
        seen.add(found[0])
    assert {y for y, _, _ in seen} == {x for _, x, _ in seen} == set(range(5))
    assert {mirrored for *_, mirrored in seen} == {False, True}


@pytest.mark.parametrize("jit", [False, True])
def test_the_split_of_the_batch_does_not_matter(jit):
    images, seeds = batch(12)
    augment = Augment(crop_padding=1, flip=True)
    whole = augment(tf.constant(images), tf.constant(seeds)).numpy()
    function = tf.function(augment.__call__, jit_compile=jit)
    order = [5, 0, 11, 3, 4, 1, 2, 10, 9, 8, 7, 6]
    for rows in (order[:1], order[1:5], order[5:]):
        part = function(tf.constant(images[rows]), tf.constant(seeds[rows])).numpy()
        np.testing.assert_array_equal(part, whole[rows])


def test_another_epoch_gives_other_crops():
    images, seeds = batch()
    augment = Augment(crop_padding=2, flip=True)
    first = augment(tf.constant(images), tf.constant(seeds)).numpy()
    second = augment(tf.constant(images), tf.constant(seeds + [1, 0])).numpy()
    assert (first != second).any(axis=(1, 2, 3)).mean() > 0.9


@pytest.mark.field("Augment.crop_padding", "Augment.flip")
def test_each_field_does_its_part_alone():
    images, seeds = batch()
    np.testing.assert_array_equal(Augment()(tf.constant(images), tf.constant(seeds)), images)
    flipped = Augment(flip=True)(tf.constant(images), tf.constant(seeds)).numpy()
    same = (flipped == images).all(axis=(1, 2, 3))
    mirror = (flipped == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same ^ mirror).all() and 0.2 < mirror.mean() < 0.8
    cropped = Augment(crop_padding=1)(tf.constant(images), tf.constant(seeds)).numpy()
    assert (cropped != images).any()


def test_a_dynamic_batch_in_a_dataset():
    images, seeds = batch(10)
    dataset = tf.data.Dataset.from_tensor_slices((images, seeds)).batch(4).map(Augment(1, True))
    assert dataset.element_spec.shape == (None, 5, 7, 3)
    parts = np.concatenate(list(dataset.as_numpy_iterator()))
    np.testing.assert_array_equal(parts, Augment(1, True)(tf.constant(images), tf.constant(seeds)))


def test_negative_padding_is_refused():
    with pytest.raises(ValueError, match="crop_padding must be at least 0, got -1"):
        dataclasses.replace(Augment(), crop_padding=-1)
