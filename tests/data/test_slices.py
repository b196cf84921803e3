import pytest
import tensorflow_datasets as tfds

from modelzoo.data.slices import split_parts, split_slice
from modelzoo.fields.errors import UserError


@pytest.mark.parametrize("count", [7, 100, 150])
@pytest.mark.parametrize(
    "text",
    [
        "rows",
        "rows[:5]",
        "rows[2:]",
        "rows[-3:]",
        "rows[1:-2]",
        "rows[:33%]",
        "rows[33%:]",
    ]
    + ["rows[-35%:]", "rows[10%:-15%]", "rows[:85%]"],
)
def test_slices_are_those_of_tfds(text, count):
    info = tfds.core.SplitInfo(
        name="rows",
        shard_lengths=[count],
        num_bytes=0,
        filename_template=tfds.core.ShardedFileTemplate(
            dataset_name="x", data_dir="/nowhere", split="rows", filetype_suffix="tfrecord"
        ),
    )
    part = tfds.core.SplitDict([info])[text].file_instructions[0]
    assert split_slice(text, count) == slice(part.skip, part.skip + part.take)
    assert split_parts(text) == [("rows", text)]


def test_a_sum_has_parts():
    parts = split_parts("train[:2] + dev+train[3%:]")
    assert parts == [("train", "train[:2]"), ("dev", "dev"), ("train", "train[3%:]")]


@pytest.mark.parametrize("text", ["rows[5:5]", "rows[:11]", "rows[-11:]", "rows[7:2]", "rows[:1%]"])
def test_empty_slices_and_those_beyond_the_rows_are_refused(text):
    with pytest.raises(UserError, match="is empty or reaches beyond.* rows has 10 examples"):
        split_slice(text, 10)


@pytest.mark.parametrize(
    "text", ["", "rows[", "rows[a:]", "rows[::2]", "a+", "rows[:0.5]", "rows[3]"]
)
def test_malformed_splits_are_refused(text):
    with pytest.raises(UserError, match="the split .* is malformed; write 'train'"):
        split_parts(text)
