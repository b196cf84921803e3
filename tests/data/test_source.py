import dataclasses
import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from modelzoo.data import source as source_module
from modelzoo.data.source import EncodedRows, open_encoded, source_from_arrays
from modelzoo.data.spec import ImageSpec
from modelzoo.fields.errors import UserError

SPEC = ImageSpec(4, 4, 1, ("a", "b"))


def encoded_rows(broken=()):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4, 4), np.uint8)
    files = []
    for row, image in enumerate(pixels):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        files.append(file.getvalue()[: 30 if row in broken else None])
    files, labels = tf.constant(files), tf.constant([0, 1, 0, 1, 0, 1], tf.int64)

    def read(rows):
        return {"encoded": tf.gather(files, rows), "label": tf.gather(labels, rows)}

    ids = [f"row{row}" for row in range(6)]
    return EncodedRows("here", ids, read, fixed_size=True, fixed_channels=True), pixels


def test_gather_works_in_a_graph_and_marks_padding():
    arrays = {"image": np.zeros((3, 4, 4, 1), np.uint8), "label": np.array([0, 1, 1])}
    source = source_from_arrays(SPEC, ["x", "y", "z"], arrays)
    dataset = tf.data.Dataset.from_tensors(np.array([2, -1])).map(source.gather)
    [raw] = dataset.as_numpy_iterator()
    assert raw["index"].tolist() == [2, -1] and raw["weight"].tolist() == [1, 0]
    assert raw["image"].shape == (2, 4, 4, 1) and raw["label"][0] == 1


def test_the_memory_limit_decides_when_images_are_decoded(monkeypatch):
    rows, pixels = encoded_rows()
    monkeypatch.setattr(source_module, "MEMORY_LIMIT", pixels.size)
    raw = open_encoded(SPEC, rows, "error").gather(np.arange(6))
    np.testing.assert_array_equal(raw["image"][..., 0], pixels)
    monkeypatch.setattr(source_module, "MEMORY_LIMIT", pixels.size - 1)
    raw = open_encoded(SPEC, rows, "error").gather(np.arange(6))
    assert "image" not in raw and raw["encoded"].dtype == tf.string


def test_what_would_be_resized_stays_encoded_where_that_is_asked_for():
    rows, pixels = encoded_rows()
    small = dataclasses.replace(SPEC, height=2, width=2)
    resized = dataclasses.replace(rows, fixed_size=False)
    assert open_encoded(small, resized, "error").gather(np.arange(6))["image"].shape == (6, 2, 2, 1)
    raw = open_encoded(small, resized, "error", encoded=True).gather(np.arange(6))
    decoded = [tf.io.decode_image(one)[..., 0] for one in raw["encoded"]]
    np.testing.assert_array_equal(decoded, pixels)
    # Images that all have the model's size lose nothing in memory.
    raw = open_encoded(SPEC, rows, "error", encoded=True).gather(np.arange(6))
    np.testing.assert_array_equal(raw["image"][..., 0], pixels)


def test_check_names_the_first_bad_row_and_passes_over_padding(monkeypatch):
    monkeypatch.setattr(source_module, "MEMORY_LIMIT", 0)
    rows, _ = encoded_rows(broken=(2, 4))
    source = open_encoded(SPEC, rows, "error")
    source.check(np.array([0, 1, -1, 3]))
    with pytest.raises(UserError, match="here: the image row4 is corrupt"):
        source.check(np.array([5, 4, 2]))


@pytest.mark.parametrize("limit", [0, 2**20])
def test_skipping_closes_the_gaps(monkeypatch, limit):
    monkeypatch.setattr(source_module, "MEMORY_LIMIT", limit)
    rows, _ = encoded_rows(broken=(0, 3))
    source = open_encoded(SPEC, rows, "skip")
    assert source.ids == ["row1", "row2", "row4", "row5"] and source.num_examples == 4
    assert [name for name, _ in source.skipped] == ["row0", "row3"]
    assert source.gather(np.arange(4))["label"].numpy().tolist() == [1, 0, 0, 1]
    source.check(np.arange(4))
