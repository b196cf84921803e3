import numpy as np
import pytest
import tensorflow as tf
from texts import spec_of

from modelzoo.data.text_source import text_source
from modelzoo.tasks.text import TextClassification

TEXTS = ["ant bee cät", "", "dog emu fox gnu hen ant bee cät dog emu", "zebra ant"]


def source_of(targets="class", labels=(0, 1, 0, 1), **options):
    spec = spec_of(targets, **options)
    return text_source(spec, list("abcd"), TEXTS, labels), spec


def ids_of(spec, text):
    return [spec.tokenizer.vocabulary.index(w) if w != "zebra" else 1 for w in text.split()]


@pytest.mark.field("TextData.keep")
@pytest.mark.parametrize("keep", ["start", "end", "ends"])
@pytest.mark.parametrize("longest", [7, 8])
def test_texts_are_cut_and_padded(keep, longest):
    source, spec = source_of(keep=keep, lengths=(4, longest), labels=np.array([0, 1, 0, 1]))
    assert source.lengths.tolist() == [3, 1, longest, 2]
    long = ids_of(spec, TEXTS[2])
    half = longest // 2
    left = {
        "start": long[:longest],
        "end": long[-longest:],
        "ends": long[: longest - half] + long[-half:],
    }[keep]
    raw = source.gather([2, 0, -1], longest)
    assert raw["tokens"][0].numpy().tolist() == left
    assert raw["tokens"][1].numpy().tolist() == ids_of(spec, TEXTS[0]) + [0] * (longest - 3)
    assert raw["weight"].numpy().tolist() == [1, 1, 0]
    # What is served is cut as what was trained on.
    task = TextClassification().bind(spec)
    served = task.features({"text": tf.constant(TEXTS)}, training=False)["tokens"]
    np.testing.assert_array_equal(served, source.gather(range(4), longest)["tokens"])


def test_a_row_is_read_at_any_length():
    source, spec = source_of(labels=np.array([0, 1, 0, 1]))
    read = tf.function(source.gather)
    for length in (1, 3, 5):
        tokens = read(tf.constant([0], tf.int64), tf.constant(length, tf.int64))["tokens"]
        padded = ids_of(spec, TEXTS[0]) + [0] * 5
        assert tokens[0].numpy().tolist() == padded[:length]
    assert source.gather([0])["tokens"].shape == (1, 8)
    assert source.gather([1])["text"].numpy().tolist() == [b""]


def test_labels_are_cut_with_their_tokens():
    labels = [np.array([0, 1, 0]), np.array([], np.int64), np.arange(10) % 2, np.array([-1, 1])]
    source, _ = source_of("labels", labels, keep="end")
    raw = source.gather([2, 3, 1], 8)
    assert raw["label"][0].numpy().tolist() == [0, 1] * 4
    assert raw["label"][1].numpy().tolist() == [-1, 1] + [-1] * 6
    assert raw["label"][2].numpy().tolist() == [-1] * 8


def test_a_subset_has_its_rows_alone():
    source, _ = source_of(labels=np.array([0, 1, 0, 1]))
    part = source.subset(np.array([3, 0]))
    assert part.num_examples == 2 and part.ids == ["d", "a"] and part.lengths.tolist() == [2, 3]
    np.testing.assert_array_equal(part.gather([0], 4)["tokens"], source.gather([3], 4)["tokens"])
    assert part.gather([0, 1], 4)["label"].numpy().tolist() == [1, 0]
