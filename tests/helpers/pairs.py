"""Pairs of texts that a tiny Transformer learns, and that model."""

import dataclasses

import numpy as np
from memory_source import Memory, OpenMemory
from texts import WORDS

from modelzoo.data import Dataset, Text, TextTarget, Words
from modelzoo.data.bound import BoundData
from modelzoo.data.columns import Column
from modelzoo.data.inputs.text import BoundText
from modelzoo.data.sources.source import Source
from modelzoo.data.targets.text_target import BoundTextTarget
from modelzoo.models import Transformer

LETTERS = {word: word[0] * 2 for word in WORDS}

TINY = Transformer(
    num_encoder_layers=1,
    num_decoder_layers=1,
    hidden_dim=16,
    intermediate_dim=32,
    num_heads=2,
    dropout=0.0,
)


def _columns(split, number, most):
    """Some words and, backwards, another for each; every third pair has a second reference."""
    rng = np.random.default_rng(len(split))
    rows = [rng.choice(WORDS, rng.integers(1, most + 1)) for _ in range(number)]
    targets = [" ".join(LETTERS[word] for word in reversed(row)) for row in rows]
    references = [
        [text, f"{text} {text}"] if k % 3 == 0 else [text] for k, text in enumerate(targets)
    ]
    return {
        "source": Column("source", "text", [" ".join(row) for row in rows]),
        "target": Column("target", "list", references),
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phrases(Source):
    """So many pairs of texts of up to `most` words in each split, in stored order."""

    number: int = 40
    most: int = 6

    sliced = "stored"
    ordered = "stored"

    def open(self):
        splits = ("train", "validation", "test")
        columns = {split: _columns(split, self.number, self.most) for split in splits}
        return OpenMemory(Memory(splits=columns))


def phrases(number=40, most=6, tokenizer=None, lengths=(4, 8), target=None, **fields):
    """A data set of pairs; `fields` of `Dataset`."""
    return Dataset(
        source=Phrases(number=number, most=most),
        inputs=Text(columns=("source",), tokenizer=tokenizer or Words(), lengths=lengths),
        target=target or TextTarget(),
        **fields,
    )


def pair_data(lengths=(4, 8), shared=True):
    """Bound data of pairs over `WORDS`."""
    config = Text(lengths=lengths, tokenizer=Words())
    source = Words().train([" ".join(WORDS)])
    target = source if shared else Words().train([" ".join(LETTERS.values())])
    return BoundData(
        {"": BoundText(config, source, True)},
        BoundTextTarget(TextTarget(), target, lengths, shared),
    )
