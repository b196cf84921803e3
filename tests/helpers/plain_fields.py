"""An input and a target that take cells as they are, for tests of sources."""

import dataclasses
import hashlib
import os
from typing import ClassVar, Literal

import numpy as np
import tensorflow as tf

from modelzoo.data.columns import BadExample, Form, Wanted
from modelzoo.data.dataset import Dataset
from modelzoo.data.inputs.input import BoundInput, Input, Store


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plain(Input):
    """Cells of the accepted forms; an empty cell is bad."""

    accepted: tuple[Form, ...] = ("text",)
    split_key: Literal["value", "id", "time"] = "value"
    kind: ClassVar[str] = "plain"
    default_column: ClassVar[str] = "text"
    noun: ClassVar[str] = "texts"
    many: ClassVar[bool] = True
    forms: ClassVar[tuple[Form, ...]] = ()

    def wanted(self, key):
        return dataclasses.replace(super().wanted(key), forms=self.accepted)

    def parse(self, rows, key):
        if self.split_key != "value":
            return None
        cells = [rows.values(column) for column in rows.columns[key]]
        joined = [cell[0] if len(cell) == 1 else tuple(cell) for cell in zip(*cells, strict=True)]
        return [cell if cell else BadExample("is empty") for cell in joined]

    def fit(self, train, key, target):
        return BoundPlain(self)

    def load(self, learned, folder):
        return BoundPlain(self)


@dataclasses.dataclass(frozen=True)
class BoundPlain(BoundInput):
    config: Plain

    def model_specs(self):
        return {}

    def open(self, view, key, on_bad, whole=False):
        return Nothing()

    def features(self, raw, training, seeds, weight):
        return {}, None

    def serving(self):
        return {}

    def describe(self):
        return "plain"


class Nothing(Store):
    def read(self, examples, raw, width):
        return {}


def ids(source, split, inputs=None, **fields):
    """Ids of the examples of a split's text, in order."""
    return Dataset(source=source, inputs=inputs or Plain(), **fields).open().split(split).ids


def wants(key, columns, *forms, **fields):
    """What a field asks of a source."""
    columns = (columns,) if isinstance(columns, str) else columns
    return Wanted(key, columns, "text", forms, **fields)


def read(source, split, *wanted):
    """Rows of a base split of a source's config."""
    return source.open().read(wanted, [split])[split]


def cells(rows, key):
    """The cells of the columns of a key, lists of Python values."""
    found = [rows.values(column) for column in rows.columns[key]]
    return [
        [
            value.tolist() if isinstance(value, np.ndarray | np.generic | tf.Tensor) else value
            for value in values
        ]
        for values in found
    ]


def hashed_part(keys, first=0, last=100):
    """Numbers of the keys whose hash lies between two percentages, in the order of the hashes."""
    digests = [hashlib.blake2b(os.fsencode(key)).digest() for key in keys]
    shares = [int.from_bytes(digest[:4], "big") / 2**32 for digest in digests]
    order = sorted(range(len(keys)), key=lambda k: (digests[k], keys[k]))
    return [k for k in order if first / 100 <= shares[k] < last / 100]
