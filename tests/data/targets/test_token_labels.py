"""One label per token: cells, truncation, and texts that do not fit their labels."""

import numpy as np
import pytest
import tensorflow as tf
from memory_source import Memory

from modelzoo.data.bound import BoundData
from modelzoo.data.columns import Column
from modelzoo.data.dataset import Dataset
from modelzoo.data.inputs.text import Text
from modelzoo.data.targets.token_labels import TokenLabels
from modelzoo.data.tokenizers import Characters, Subwords, Words
from modelzoo.fields.errors import UserError

SPACED = Words(split="whitespace")


def dataset(texts, labels, form="text", names=None, on_bad="error", **fields):
    columns = {
        "text": Column("text", "list" if isinstance(texts[0], list) else "text", texts),
        "label": Column("label", form, labels, names=names),
    }
    inputs = Text(**{"tokenizer": SPACED, **fields})
    source = Memory(splits={"train": columns})
    return Dataset(source=source, inputs=inputs, target=TokenLabels(), on_bad=on_bad)


def labels_of(split, bucket=None):
    raw = split.gather(np.arange(split.num_examples), bucket)
    np.testing.assert_array_equal(raw["target/label_mask"], raw["target/label"] >= 0)
    assert raw["target/label"].dtype == tf.int64
    texts = [text.decode() for text in raw["text"].numpy()]
    return dict(zip(texts, raw["target/label"].numpy().tolist(), strict=True))


@pytest.mark.field("Field.columns")
def test_labels_of_words_and_of_characters():
    data = dataset(["Anna sees  Bo", "no one"], ["N O N", "O O"], lengths=(2, 4)).open()
    split = data.split("train")
    assert data.bound.target.names == ("N", "O") and data.bound.target.noun == "classes"
    assert labels_of(split) == {"Anna sees  Bo": [0, 1, 0, -1], "no one": [1, 1, -1, -1]}
    assert split.buckets.tolist() == [1, 0] and split.tokens.tolist() == [3, 2]
    batch = data.bound.features(split.gather([1], 0), training=True)
    assert batch["label"].numpy().tolist() == [[1, 1]]
    assert batch["label_mask"].numpy().tolist() == [[True, True]]
    texts, labels = [["é", " ", "b"], ["a"]], [["v", "", "c"], ["v"]]
    data = dataset(texts, labels, "list", tokenizer=Characters(), lengths=(3,)).open()
    assert data.bound.target.names == ("", "c", "v")
    assert labels_of(data.split("train")) == {"é b": [2, 0, 1], "a": [2, -1, -1]}


def test_labels_may_be_numbers_with_names():
    data = dataset(["a b c"], [[1, -1, 0]], "list", names=("x", "y"), lengths=(4,)).open()
    assert data.bound.target.names == ("x", "y")
    assert labels_of(data.split("train")) == {"a b c": [1, -1, 0, -1]}


@pytest.mark.parametrize(
    "keep, kept", [("start", [0, 1, 2]), ("end", [3, 4, 5]), ("ends", [0, 1, 5])]
)
@pytest.mark.parametrize("end", [False, True])
def test_labels_are_truncated_with_their_tokens(keep, kept, end):
    names = "abcdef"
    fields = {"keep": keep, "lengths": (3 + end,), "end": end}
    data = dataset(["1 2 3 4 5 6", "7"], [" ".join(names), "f"], **fields).open()
    split = data.split("train")
    labels = labels_of(split)
    assert labels == {"1 2 3 4 5 6": kept + [-1] * end, "7": [5, -1, -1] + [-1] * end}
    # A label is that of its token.
    words = data.bound.words
    tokens = split.gather([0])["tokens"][0, :3].numpy()
    assert [int(words[k]) - 1 for k in tokens] == kept


@pytest.mark.parametrize(
    "tokenizer, text, labels, reason",
    [
        (SPACED, "a b c", "x y", "has 3 tokens and 2 labels"),
        (SPACED, "a b", "", "has 2 tokens and 0 labels"),
        (Characters(), "a b", "x y", "has 3 tokens and 2 labels"),
        # In lower case it has a dot of its own.
        (Characters(lower=True), "\u0130", "y", "has 2 tokens and 1 labels; its tokenizer must"),
    ],
)
def test_another_number_of_labels_than_of_tokens_is_bad(tokenizer, text, labels, reason):
    given = {"texts": ["a", text], "labels": ["x", labels], "tokenizer": tokenizer}
    with pytest.raises(UserError, match=f"memory, train/1: {reason}.*config.data.on_bad=skip"):
        dataset(**given).open().split("train")
    split = dataset(**given, on_bad="skip").open().split("train")
    assert {text: row[0] for text, row in labels_of(split).items()} == {"a": 0}
    assert [bad.reason.startswith(reason) for bad in split.skipped] == [True]


@pytest.mark.field("TokenLabels.of")
def test_labels_are_of_a_named_input(tmp_path):
    columns = {
        "a": Column("a", "text", ["one two three"]),
        "b": Column("b", "text", ["four five"]),
        "label": Column("label", "text", ["x y"]),
    }
    inputs = {
        name: Text(columns=(name,), tokenizer=SPACED, lengths=(width,))
        for name, width in (("a", 3), ("b", 4))
    }
    source = Memory(splits={"train": columns})
    data = Dataset(source=source, inputs=inputs, target=TokenLabels(of="b")).open()
    batch = data.bound.features(data.split("train").gather([0]), training=True)
    assert batch["label"].numpy().tolist() == [[0, 1, -1, -1]]
    assert batch["b/tokens"].shape == (1, 4) and batch["a/tokens"].shape == (1, 3)
    assert data.bound.target.mask_name == "b/padding_mask"
    assert data.bound.target.mask_name in batch
    data.bound.save(tmp_path)
    assert BoundData.load(data.data, tmp_path) == data.bound
    only = dataset(["a"], ["x"]).open()
    assert only.bound.target.mask_name == "padding_mask"


def test_data_without_any_label_is_an_error():
    with pytest.raises(UserError, match="memory has no labels in the column label"):
        dataset(["a"], [[-1]], "list", names=()).open().split("train")


@pytest.mark.field("TokenLabels.of")
@pytest.mark.parametrize(
    "inputs, of, message",
    [
        (Text(), None, r"inputs.tokenizer must be Characters\(\) or Words\(split='whitespace'\)"),
        (Text(tokenizer=Subwords()), None, "inputs.tokenizer must be Characters"),
        (
            Text(tokenizer=SPACED, columns=("a", "b")),
            None,
            "inputs.columns must name one column with one label per token",
        ),
        (Text(tokenizer=SPACED), "text", "target.of must be none, the only input, got 'text'"),
        ({"a": Text(), "b": Text()}, None, "target.of must be one of a, b, got none"),
        ({"a": Text(), "b": Text()}, "c", "target.of must be one of a, b, got 'c'"),
    ],
)
def test_fields_that_do_not_fit_are_errors(inputs, of, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        Dataset(source=Memory(splits={}), inputs=inputs, target=TokenLabels(of=of))
