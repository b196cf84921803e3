"""Boxes against a plain loop over the same draws."""

import numpy as np
import pytest
import tensorflow as tf

from modelzoo.data.augment.boxes import TRIES, inside, random_boxes
from modelzoo.fields.hashing import random_integers, random_uniform


def seeds_of(count):
    return np.stack([np.full(count, -3), np.arange(count)], -1)


def by_loop(draws, height, width, area, aspect):
    """The size of the first draw that fits, as torchvision looks for it; None where none does."""
    for k in range(TRIES):
        size = height * width * (area[0] + (area[1] - area[0]) * draws[k])
        ratio = np.exp(np.log(aspect[0]) + np.log(aspect[1] / aspect[0]) * draws[TRIES + k])
        w, h = round(np.sqrt(size * ratio)), round(np.sqrt(size / ratio))
        if 0 < w <= width and 0 < h <= height:
            return h, w
    return None


@pytest.mark.parametrize(
    "height, width, area, aspect",
    [
        (32, 32, (0.08, 1.0), (0.75, 4 / 3)),
        (20, 60, (0.1, 0.6), (0.3, 1.2)),
        (2, 3, (0.01, 0.5), (0.1, 9.0)),
    ],
)
def test_boxes_are_the_first_draws_that_fit(height, width, area, aspect):
    seeds = seeds_of(400)
    boxes, found = random_boxes(seeds, 50, tf.constant(height), tf.constant(width), area, aspect)
    draws = random_uniform(seeds, 50, 2 * TRIES).numpy().astype(np.float64)
    expected = [by_loop(row, height, width, area, aspect) for row in draws]
    assert found.numpy().mean() > 0.5
    assert found.numpy().tolist() == [size is not None for size in expected]
    sizes = [size for size in expected if size is not None]
    np.testing.assert_array_equal(boxes.numpy()[found, 2:], sizes)
    # Each place in turn, the edges too.
    top, left, rows, columns = boxes.numpy()[found].T
    tops = random_integers(seeds[found], 50 + 2 * TRIES, tf.constant(height - rows + 1))
    np.testing.assert_array_equal(top, tops)
    assert (left >= 0).all() and (left + columns <= width).all()
    assert left.min() == 0 and (left + columns).max() == width


def test_areas_and_aspects_fill_their_ranges():
    boxes, found = random_boxes(
        seeds_of(4000), 0, tf.constant(400), tf.constant(400), (0.1, 0.4), (0.5, 2.0)
    )
    assert found.numpy().all()
    _, _, rows, columns = boxes.numpy().T.astype(np.float64)
    areas, aspects = rows * columns / 400**2, np.log2(columns / rows)
    for values, low, high in ((areas, 0.1, 0.4), (aspects, -1, 1)):
        places = np.sort((values - low) / (high - low))
        assert abs(places - np.arange(4000) / 4000).max() < 2 / np.sqrt(4000)


def test_inside_marks_the_boxes_pixels():
    boxes = np.array([[0, 1, 2, 3], [3, 0, 1, 1], [1, 1, 0, 2]], np.int32)
    expected = np.zeros((3, 4, 5), bool)
    for mask, (top, left, rows, columns) in zip(expected, boxes, strict=True):
        mask[top : top + rows, left : left + columns] = True
    np.testing.assert_array_equal(inside(tf.constant(boxes), 4, 5), expected)
