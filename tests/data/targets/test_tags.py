"""Tags from lists, separated texts, columns of 0 or 1, arrays and records."""

import numpy as np
import pytest
import tensorflow as tf
from memory_source import Memory

from modelzoo.data.columns import Column
from modelzoo.data.dataset import Dataset
from modelzoo.data.inputs import image_store
from modelzoo.data.inputs.image import Image
from modelzoo.data.inputs.input import Change
from modelzoo.data.targets.tags import BoundTags, Tags
from modelzoo.fields.errors import UserError

TAGS = [("b", "a"), (), ("c",), ("a",)]
TABLE = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]], np.float32)
LABELS = [[number for number, one in enumerate(row) if one] for row in TABLE]


def dataset(*columns, lazy=False, separator=None, **fields):
    images = Column("x", "array", np.zeros((len(columns[0].values), 2, 2), np.uint8))
    split = {"x": images, **{column.name: column for column in columns}}
    return Dataset(
        source=Memory(splits={"train": split}, lazy=lazy),
        inputs=Image(columns=("x",)),
        target=Tags(columns=tuple(column.name for column in columns), separator=separator),
        **fields,
    )


SEPARATED = [" ; ".join(tags) for tags in TAGS]
FORMS = {
    "lists": {"columns": [Column("t", "list", TAGS)]},
    "separator": {"columns": [Column("t", "text", SEPARATED)], "separator": ";"},
    "lists and texts": {
        "columns": [Column("t", "list", ["a;b", [], ["c"], "a"])],
        "separator": ";",
    },
    "texts": {
        "columns": [
            Column(n, "text", [str(int(v)) for v in TABLE[:, k]]) for k, n in enumerate("abc")
        ]
    },
    "numbers": {"columns": [Column(n, "number", TABLE[:, k] > 0) for k, n in enumerate("abc")]},
    "array": {"columns": [Column("t", "array", TABLE.astype(np.int64), names=tuple("abc"))]},
    "numbers of names": {"columns": [Column("t", "list", LABELS, names=tuple("abc"))]},
}
LAZY = {
    f"lazy {name}": {**FORMS[name], "lazy": True}
    for name in ("numbers", "array", "numbers of names")
}


def labels_of(split):
    return split.gather(np.arange(split.num_examples))["target/label"]


def opened(columns, **fields):
    return dataset(*columns, **fields).open()


@pytest.mark.field("Tags.separator", "Field.columns")
@pytest.mark.parametrize("fields", [*FORMS.values(), *LAZY.values()], ids=[*FORMS, *LAZY])
def test_tags_are_a_0_or_1_for_each_name(fields):
    split = opened(**fields).split("train")
    assert split.bound.target.names == ("a", "b", "c")
    assert labels_of(split).dtype == tf.float32
    np.testing.assert_array_equal(labels_of(split), TABLE)
    assert split.bound.describe() == "3 tags, images 2x2x1"


@pytest.mark.parametrize("form", ["numbers of names", "array"])
def test_labels_stay_in_records_that_are_read_anyway(form, monkeypatch):
    monkeypatch.setattr(image_store, "MEMORY_LIMIT", 0)
    (column,) = FORMS[form]["columns"]
    png = tf.io.encode_png(np.zeros((2, 2, 1), np.uint8)).numpy()
    split = {"x": Column("x", "bytes", [png] * 4, shape=(2, 2, 1)), "t": column}
    data = Dataset(
        source=Memory(splits={"train": split}, lazy=True),
        inputs=Image(columns=("x",)),
        target=Tags(columns=("t",)),
    )
    read = tf.function(data.open().split("train").gather)
    raw = read(tf.constant([3, 0, 2], tf.int64))
    assert "encoded" in raw
    np.testing.assert_array_equal(raw["target/label"], TABLE[[3, 0, 2]])


def test_array_tags_without_names_are_numbered():
    split = opened([Column("t", "array", TABLE)]).split("train")
    assert split.bound.target.names == ("t/0", "t/1", "t/2")


@pytest.mark.parametrize(
    "columns, message",
    [
        ([Column("t", "text", ["0", "2"])], "train/1: has '2' in the column t, not 0 or 1"),
        ([Column("t", "number", [0, 0.5])], "train/1: has 0.5 in t, not 0 or 1"),
        ([Column("t", "array", np.array([[0, 1], [0, 2]]))], "train/1: has 2 in t/1, not 0 or 1"),
        ([Column("t", "list", [["a"], "b"])], "train/1: has 'b' in the column t, not a list"),
    ],
)
def test_other_values_are_named_or_skipped(columns, message):
    with pytest.raises(UserError, match=message):
        opened(columns).split("train")
    split = opened(columns, on_bad="skip").split("train")
    assert split.ids == ["train/0"] and labels_of(split).shape[0] == 1


def test_a_column_without_any_tag_is_refused():
    with pytest.raises(UserError, match="memory has no tags in the column t"):
        opened([Column("t", "list", [(), ()])]).split("train")


@pytest.mark.parametrize("fields", [{"separator": ""}, {"separator": ";", "columns": ("a", "b")}])
def test_separators_that_cannot_be_are_refused(fields):
    with pytest.raises(ValueError, match="^separator must be None"):
        Tags(**fields)


def test_other_names_are_mapped_and_missing_ones_are_0():
    bound = opened(**FORMS["lists"]).bound
    for lazy in (False, True):
        arrays = Column("t", "array", np.array([[1, 0], [1, 1]]), names=("c", "a"))
        split = dataset(arrays, lazy=lazy).open(bound).split("train")
        assert labels_of(split).numpy().tolist() == [[0, 0, 1], [1, 0, 1]]
    with pytest.raises(UserError, match="1 of its tags .* the first 'x'; it knows a, b, c"):
        dataset(Column("t", "list", [("x", "a")])).open(bound).split("train")


def test_mixed_examples_blend_their_tags():
    bound = BoundTags(Tags(), ("a", "b"))
    raw = {"label": tf.constant([[1.0, 0.0], [0.0, 0.0]])}
    assert bound.features(raw, None)["label"] is raw["label"]
    batch = bound.features(raw, Change(tf.constant([0.75, 0.5]), tf.ones(2)))
    assert batch["label"].numpy().tolist() == [[0.75, 0], [0.5, 0]]


def test_json_and_what_is_saved(tmp_path):
    bound = BoundTags(Tags(), ("b", "a"))
    assert bound.label_to_json(np.array([0.0, 1.0])) == ["a"]
    assert bound.config.load(bound.save(tmp_path), tmp_path, {}) == bound
