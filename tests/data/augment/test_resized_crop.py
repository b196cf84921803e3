"""Random parts, resized: against PIL's crop and resize of the same box."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from modelzoo.data.augment import resized_crop
from modelzoo.data.augment.boxes import random_boxes
from modelzoo.fields import hashing

SHAPE = (12, 16, 3)


def photo(height, width, channels=3):
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (5, 6, channels), np.uint8)
    image = Image.fromarray(coarse if channels == 3 else coarse[..., 0])
    return image.resize((width, height), Image.Resampling.BICUBIC)


def pixels(image):
    array = np.asarray(image)
    return array if array.ndim == 3 else array[..., None]


@pytest.mark.parametrize("height, width, channels", [(50, 70, 3), (9, 11, 1)])
def test_a_box_is_cut_from_the_original_and_resized(height, width, channels):
    image = photo(height, width, channels)
    area, aspect = (0.1, 0.9), (0.5, 2.0)
    seen = set()
    for number in range(12):
        seed = tf.constant([8, number], tf.int64)
        got = resized_crop.crop(tf.constant(pixels(image)), seed, SHAPE, area, aspect)
        boxes, found = random_boxes(
            seed[None],
            hashing.RESIZED_CROP,
            tf.constant(height),
            tf.constant(width),
            area,
            aspect,
        )
        assert found.numpy().all()
        top, left, rows, columns = boxes[0].numpy().tolist()
        part = image.crop((left, top, left + columns, top + rows)).convert("RGB")
        expected = np.asarray(part.resize((16, 12), Image.Resampling.BILINEAR), int)
        assert abs(got.numpy() - expected).max() <= 1
        seen.add((top, left, rows, columns))
    assert len(seen) == 12


@pytest.mark.parametrize(
    "height, width, box",
    [
        (10, 90, (0, 35, 10, 20)),  # Twice as wide as high at most.
        (90, 10, (35, 0, 20, 10)),
    ],
)
def test_the_centre_is_taken_where_no_draw_fits(height, width, box):
    image = photo(height, width)
    top, left, rows, columns = box
    got = resized_crop.crop(
        tf.constant(pixels(image)), tf.constant([1, 1], tf.int64), SHAPE, (1.0, 1.0), (0.5, 2.0)
    )
    part = image.crop((left, top, left + columns, top + rows))
    expected = np.asarray(part.resize((16, 12), Image.Resampling.BILINEAR), int)
    assert abs(got.numpy() - expected).max() <= 1


def test_a_whole_image_of_the_size_is_not_touched():
    image = pixels(photo(12, 16))
    got = resized_crop.crop(
        tf.constant(image), tf.constant([1, 1], tf.int64), SHAPE, (1.0, 1.0), (4 / 3, 4 / 3)
    )
    np.testing.assert_array_equal(got, image)
