from dataclasses import replace

import keras
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
    transformation = {"flips": mirror[:, None, None, None]}
    theirs = keras.layers.RandomFlip("horizontal").transform_images(images, transformation)
    np.testing.assert_array_equal(flipped, theirs)
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
        replace(Augment(), crop_padding=-1)


SQUARE = np.random.default_rng(4).integers(0, 256, (64, 12, 12, 3), np.uint8)
SEEDS = np.stack([np.full(64, 3), np.arange(64)], -1).astype(np.int64)
STRONG = {"rand_augment": 2, "erasing": 1.0, "mixup": 1.0, "cutmix": 1.0, "crop_area": (0.1, 1.0)}


def both(augment, **fields):
    """What comes of one call with a config, and with other values of some of its fields."""
    if augment.mixes:
        images = tf.constant(SQUARE / 255.0, tf.float32)
        return [
            one.mix(images, tf.ones(64), SEEDS)[0].numpy()
            for one in (augment, replace(augment, **fields))
        ]
    if augment.crop_area:
        return [
            np.stack(
                [
                    one.crop(tf.constant(SQUARE[k]), tf.constant(SEEDS[k]), (8, 8, 3))
                    for k in range(8)
                ]
            )
            for one in (augment, replace(augment, **fields))
        ]
    images = tf.constant(SQUARE)
    return [one(images, SEEDS, 9).numpy() for one in (augment, replace(augment, **fields))]


@pytest.mark.field(
    "Augment.brightness",
    "Augment.contrast",
    "Augment.saturation",
    "Augment.hue",
    "Augment.rand_augment",
    "Augment.rand_augment_magnitude",
    "Augment.erasing",
    "Augment.erasing_area",
    "Augment.erasing_aspect",
    "Augment.erasing_fill",
    "Augment.crop_area",
    "Augment.crop_aspect",
    "Augment.mixup",
    "Augment.cutmix",
    "Augment.cutmix_share",
)
@pytest.mark.parametrize(
    "augment, fields",
    [
        (Augment(), {"brightness": 0.3}),
        (Augment(), {"contrast": 0.3}),
        (Augment(), {"saturation": 0.3}),
        (Augment(), {"hue": 0.2}),
        (Augment(), {"rand_augment": 1}),
        (Augment(rand_augment=1), {"rand_augment_magnitude": 4}),
        (Augment(), {"erasing": 0.9}),
        (Augment(erasing=1.0), {"erasing_area": (0.5, 0.6)}),
        (Augment(erasing=1.0), {"erasing_aspect": (2.0, 3.0)}),
        (Augment(erasing=1.0), {"erasing_fill": "noise"}),
        (Augment(crop_area=(1.0, 1.0), crop_aspect=(1.0, 1.0)), {"crop_area": (0.2, 0.5)}),
        (Augment(crop_area=(0.2, 0.5)), {"crop_aspect": (0.3, 0.4)}),
        (Augment(mixup=0.2), {"mixup": 2.0}),
        (Augment(cutmix=0.2), {"cutmix": 2.0}),
        (Augment(mixup=1.0, cutmix=1.0), {"cutmix_share": 1.0}),
    ],
)
def test_each_field_changes_most_images(augment, fields):
    before, after = both(augment, **fields)
    assert before.shape == after.shape and before.dtype == after.dtype
    assert (before != after).any(axis=(1, 2, 3)).mean() > 0.3


def test_the_order_is_crop_flip_colours_operations_erasing():
    whole = Augment(3, True, brightness=0.5, hue=0.1, rand_augment=2, erasing=0.5)
    parts = (
        Augment(3, True),
        Augment(brightness=0.5, hue=0.1),
        Augment(rand_augment=2),
        Augment(erasing=0.5),
    )
    images = tf.constant(SQUARE)
    expected = images
    for part in parts:
        expected = part(expected, SEEDS, (1, 2, 3))
    np.testing.assert_array_equal(whole(images, SEEDS, (1, 2, 3)), expected)


def test_everything_at_once_does_not_depend_on_the_neighbours_nor_on_the_graph():
    augment = Augment(
        2, True, None, (0.75, 1.0), 0.4, 0.4, 0.4, 0.1, 2, 8.0, 0.5, erasing_fill="noise"
    )
    whole = augment(tf.constant(SQUARE), SEEDS).numpy()
    function = tf.function(augment.__call__)
    for rows in (slice(0, 1), slice(1, 30), slice(30, 64)):
        part = function(tf.constant(SQUARE[rows]), tf.constant(SEEDS[rows]))
        np.testing.assert_array_equal(part, whole[rows])


def test_everything_at_once_is_deterministic_under_op_determinism():
    tf.config.experimental.enable_op_determinism()
    augment = Augment(rand_augment=3, erasing=0.5, erasing_fill="noise", saturation=0.2)
    dataset = tf.data.Dataset.from_tensor_slices((SQUARE, SEEDS)).batch(16).map(augment)
    parts = np.concatenate(list(dataset.as_numpy_iterator()))
    np.testing.assert_array_equal(parts, augment(tf.constant(SQUARE), SEEDS))


def test_augmentations_that_do_not_fit_the_channels_are_refused():
    Augment(**STRONG).check_channels(3)
    Augment(flip=True, erasing=1.0).check_channels(4)
    Augment(rand_augment=1, brightness=0.1).check_channels(1)
    for field, value, channels in [("hue", 0.1, 1), ("saturation", 0.1, 1), ("rand_augment", 1, 4)]:
        with pytest.raises(ValueError, match=f"^{field} needs images of .*3 channels, got"):
            Augment(**{field: value}).check_channels(channels)


@pytest.mark.parametrize(
    "field, value",
    [
        ("crop_area", (0.0, 1.0)),
        ("crop_area", (0.5, 1.1)),
        ("crop_area", (0.5, 0.4)),
        ("crop_aspect", (-1.0, 1.0)),
        ("brightness", -0.1),
        ("hue", 0.6),
        ("rand_augment", -1),
        ("rand_augment_magnitude", 10.5),
        ("erasing", 1.5),
        ("erasing_area", (0.0, 0.1)),
        ("erasing_aspect", (2.0, 1.0)),
        ("mixup", -1.0),
        ("cutmix", -0.5),
        ("cutmix_share", 2.0),
    ],
)
def test_impossible_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=f"^{field} must be"):
        Augment(**{field: value})
