"""What new data keeps of the data that initial weights were trained on, or does not."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from memory_source import Memory

from modelzoo.data import (
    Characters,
    ClassLabel,
    Dataset,
    Image,
    Series,
    Subwords,
    Text,
    TextTarget,
    Words,
)
from modelzoo.data.bound import BoundData
from modelzoo.data.columns import Column

LABEL = {"label": Column("label", "text", ["x", "y"])}


def columns(**named):
    return {name: Column(name, form, values) for name, (form, values) in named.items()} | LABEL


def images(channels, **fields):
    shape = (2, 3, 3, channels)
    pixels = {"path": Column("path", "array", np.zeros(shape, np.uint8), shape=shape[1:])}
    return pixels | LABEL, Image(**fields), ClassLabel()


def series(scale, features=("a", "b")):
    values = {name: ("number", [scale, 3.0 * scale]) for name in features}
    return columns(**values), Series(columns=features, layout="rows_are_examples"), ClassLabel()


def texts(words, target=None, **fields):
    target = target or ClassLabel()
    cells = columns(text=("text", [words, words]), target=("text", [words.upper()] * 2))
    return cells, Text(**{"tokenizer": Words(), **fields}), target


def classes(*names):
    cells, one, target = texts("a b")
    return cells | {"label": Column("label", "text", list(names))}, one, target


OWN = TextTarget(tokenizer=Words(), lengths=(9,))


@pytest.mark.parametrize(
    "before, after, kept, remark",
    [
        (images(3), images(3), True, None),
        (
            images(3, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0)),
            images(3),
            True,
            "are those of the initial weights, 0.1, 0.2, 0.3 and 1, 2, 3",
        ),
        (images(1, mean=(0.1,)), images(1), True, "are those of the initial weights, 0.1 and 0.5"),
        (images(1, mean=(0.1,)), images(1, mean=(0.1,)), True, None),
        (images(1, mean=(0.1,)), images(1, mean=(0.2,)), False, "are not those of the initial"),
        (images(1, mean=(0.1,)), images(3), False, "are not those of the initial weights, 0.1"),
        (images(1), images(1, std=(0.2,)), False, "not those of the initial weights, 0.5 and 0.5"),
        (series(1.0), series(9.0), True, "are those of the initial weights"),
        (series(1.0), series(1.0), True, None),
        (series(1.0), series(9.0, ("a",)), False, "the initial weights have 2"),
        (texts("a b"), texts("c d"), True, "is that of the initial weights, 4 words"),
        (texts("a b"), texts("c d", tokenizer=Characters()), False, "is not that of the initial"),
        (texts("a b"), texts("c d", tokenizer=Words(size=9)), False, "init_skip=embedding"),
        (texts("a b"), texts("a b", tokenizer=Words(size=9)), False, "init_skip=embedding"),
        (texts("a b", TextTarget()), texts("c d", TextTarget()), True, "is that of the initial"),
        (
            texts("a b", OWN, tokenizer=Subwords(size=20)),
            texts("c d", OWN, tokenizer=Subwords(size=20)),
            True,
            "the vocabulary of config.data.target is that of the initial weights",
        ),
        (
            texts("a b", OWN),
            texts("c d", dataclasses.replace(OWN, tokenizer=Words(lower=True))),
            False,
            "the vocabulary of config.data.target is not that of the initial weights",
        ),
        (classes("cat", "dog"), classes("cat", "dog"), True, "the vocabulary of"),
        (classes("cat", "dog"), classes("cat", "fly"), False, "such as fly in place of dog: skip"),
        (images(1), texts("a b"), False, None),
    ],
)
def test_what_initial_weights_expect_is_kept_or_said(before, after, kept, remark, tmp_path):
    first, second = (
        Dataset(source=Memory(splits={"train": cells}), inputs=one, target=target)
        for cells, one, target in (before, after)
    )
    trained = first.open().bound
    opened = second.open(trained=trained)
    bound = opened.bound
    assert (remark is None) == (opened.inherited == [])
    assert remark is None or remark in opened.inherited[-1]
    assert all("\n" not in line for line in opened.inherited)
    # Kept or not, what was learned is saved, and read again as it is.
    bound.save(tmp_path)
    assert BoundData.load(second, tmp_path).fingerprint() == bound.fingerprint()
    for one in (bound, BoundData.load(second, tmp_path)):
        same = learned(one) == learned(trained)
        assert same == kept, (learned(one), learned(trained))
    raw = opened.split("train").gather([0, 1])
    for one in (bound, BoundData.load(second, tmp_path)):
        assert_equal(one.features(raw, training=False), bound.features(raw, training=False))


def learned(bound):
    """What models expect of the inputs and the target."""
    (one,) = bound.inputs.values()
    found = [getattr(one.config, name, None) for name in ("mean", "std")]
    found += [getattr(one, name, None) for name in ("mean", "std", "tokenizer")]
    return [*found, bound.target.names, getattr(bound.target, "tokenizer", None)]


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(tf.convert_to_tensor(value), other[name], err_msg=name)
