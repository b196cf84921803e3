"""Texts that a tiny model learns, and that model."""

import dataclasses
from typing import ClassVar

import keras
import numpy as np
from bound_data import target_of
from memory_source import Memory, OpenMemory

from modelzoo.data import ClassLabel, Dataset, Tags, Text, TokenLabels, Values, Words
from modelzoo.data.bound import BoundData
from modelzoo.data.columns import Column
from modelzoo.data.inputs.text import BoundText
from modelzoo.data.sources.source import Source
from modelzoo.data.targets.token_labels import BoundTokenLabels
from modelzoo.fields.input_specs import only_tokens
from modelzoo.models.layers.inputs import keras_inputs

WORDS = ("ant", "bee", "cät", "dog", "emu", "fox", "gnu", "hen")
NAMES = {
    "class": ("few", "many"),
    "tags": ("ants", "bees", "cats"),
    "values": ("length", "bees"),
    "labels": ("long", "short"),
}
TARGETS = {
    "class": lambda: ClassLabel(columns=("class",)),
    "tags": lambda: Tags(columns=("ants", "bees", "cats")),
    "values": lambda: Values(columns=("length", "bees")),
    "labels": lambda: TokenLabels(columns=("labels",)),
}
# Empty, very long, emoji, right to left, one word that is unknown, and bytes that are not UTF-8.
ODD = ["", "bee " * 3000, "🐜 ant 👩‍👩‍👧 bee", "שלום עולם ant", "zebra", b"ant \xff\xc3( bee"]


def _columns(split, number):
    """Some words in any order, and what is true of them."""
    rng = np.random.default_rng(len(split))
    rows = [rng.choice(WORDS, rng.integers(1, 14)).tolist() for _ in range(number)]
    return {
        "text": Column("text", "text", [" ".join(row) for row in rows]),
        "class": Column(
            "class", "class", np.array([len(row) > 6 for row in rows], np.int64), NAMES["class"]
        ),
        **{
            name: Column(name, "text", [str(int(word in row)) for row in rows])
            for name, word in zip(NAMES["tags"], WORDS[:3], strict=True)
        },
        "length": Column("length", "number", np.array([len(row) for row in rows], np.float32)),
        "count": Column("bees", "number", np.array([row.count("bee") for row in rows], np.float32)),
        "labels": Column(
            "labels", "list", [["short" if w in WORDS[3:] else "long" for w in row] for row in rows]
        ),
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sentences(Source):
    """So many sentences in each split, in stored order."""

    number: int = 40

    sliced = "stored"
    ordered = "stored"

    def open(self):
        splits = ("train", "validation", "test")
        return OpenMemory(Memory(splits={split: _columns(split, self.number) for split in splits}))


def sentences(kind="class", number=40, **fields):
    """A data set of sentences with a target of that kind; `fields` of `Text` and `Dataset`."""
    text = {
        name: fields.pop(name)
        for name in ("tokenizer", "vocabulary", "lengths", "keep", "end")
        if name in fields
    }
    target = TARGETS[kind]()
    if kind == "values":
        target = Values(columns=("length", "count"))
    return Dataset(
        source=Sentences(number=number),
        inputs=Text(**{"tokenizer": Words(split="whitespace"), **text}),
        target=target,
        **fields,
    )


@dataclasses.dataclass(frozen=True)
class Bag:
    """The mean of the words' vectors, without the padding."""

    input_kinds: ClassVar[tuple[str, ...]] = ("tokens",)

    def build(self, inputs, num_outputs, per_token=False):
        name, spec = only_tokens(inputs)
        tensors = keras_inputs(inputs)
        tokens, mask = tensors[name], tensors[spec.mask]
        x = keras.layers.Embedding(spec.vocab_size, 6, name="embedding")(tokens)
        x = keras.layers.Dense(6, activation="tanh", name="hidden")(x)
        if not per_token:
            real = keras.ops.cast(mask, x.dtype)[..., None]
            count = keras.ops.maximum(keras.ops.sum(real, axis=1), 1)
            x = keras.ops.sum(x * real, axis=1) / keras.ops.sqrt(count)
        logits = keras.layers.Dense(num_outputs, name="logits")(x)
        return keras.Model(tensors, logits)


def text_data(kind="class", names=None, end=False, **fields):
    """Bound data of texts over `WORDS`; `fields` of `Text`."""
    config = Text(**{"lengths": (4, 8), "tokenizer": Words(), **fields})
    text = BoundText(config, Words().train([" ".join(WORDS)]), end)
    names = tuple(names or NAMES[kind])
    if kind == "labels":
        target = BoundTokenLabels(
            config=TokenLabels(), names=names, source="inputs", lengths=config.lengths
        )
    else:
        target = target_of(names, kind)
    return BoundData({"": text}, target)
