"""Text data sets of TensorFlow Datasets, read from their prepared files."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from modelzoo.data.text_config import EncodedTextData, Texts
from modelzoo.data.tfds import Tfds
from modelzoo.fields.errors import UserError

_PIECE = 1024


@dataclasses.dataclass(frozen=True)
class TfdsText(Tfds, EncodedTextData):
    """A prepared TFDS data set of texts, see `Tfds`, such as "imdb_reviews" or "glue/sst2".

    Slices are those of TFDS, in the order in which it stored the examples.

    Attributes:
        text_features: the features that are text, joined, each on a line, where there are several;
            () for the only one.
    """

    text_features: tuple[str, ...] = ()

    def _read(self, split: str) -> Texts:
        builder, where = self._builder(), f"data set {self.name}"
        keys = self._text_keys(builder)
        found = self._prepared(builder, split, keys)
        stored, labels = [], []
        count = len(found.ids)
        for first in range(0, count, _PIECE):
            parsed = found.parse(tf.range(first, min(first + _PIECE, count), dtype=tf.int64))
            stored += tf.strings.join([parsed[key] for key in keys], "\n").numpy().tolist()
            labels.append(found.target.label(parsed).numpy())
        good, texts, skipped = self._decoded(where, found.ids, stored)
        return Texts(
            where=where,
            ids=[found.ids[row] for row in good],
            texts=texts,
            labels=np.concatenate(labels)[good],
            class_names=found.target.names,
            targets=found.target.targets,
            skipped=skipped,
        )

    def _text_keys(self, builder: Any) -> tuple[str, ...]:
        import tensorflow_datasets as tfds

        features = builder.info.features
        known = [key for key, value in features.items() if isinstance(value, tfds.features.Text)]
        if not self.text_features:
            supervised = builder.info.supervised_keys or ()
            chosen = [key for key in known if key in supervised[:1]] or known
            if len(chosen) != 1:
                raise UserError(
                    f"the data set {self.name} has {len(known)} features that are text; name those "
                    f"that are read in config.data.text_features, of {', '.join(features)}"
                )
            return tuple(chosen)
        wrong = next((key for key in self.text_features if key not in known), None)
        if wrong is not None:
            raise UserError(
                f"the data set {self.name} has no text {wrong!r} for config.data.text_features; "
                f"its features that are text are {', '.join(known) or 'none'}"
            )
        return self.text_features
