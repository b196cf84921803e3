"""Pairs of texts of TensorFlow Datasets, read from their prepared files."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from modelzoo.data.pair_config import EncodedPairData, Pairs, Side
from modelzoo.data.tfds import Tfds
from modelzoo.data.tfds_targets import find_feature
from modelzoo.fields.errors import UserError

_PIECE = 1024


@dataclasses.dataclass(frozen=True)
class TfdsPairs(Tfds, EncodedPairData):
    """A prepared TFDS data set of pairs of texts, see `Tfds`, such as "wmt16_translate/de-en".

    `target` is a text, or a sequence of texts, such as "answers/text", which are the references of
    which the first is trained on. Slices are those of TFDS, in the order in which it stored the
    examples.

    Attributes:
        source_features: the features that are the source, joined, each on a line, where there are
            several; () for the supervised one.
    """

    source_features: tuple[str, ...] = ()

    def _read(self, split: str) -> Pairs:
        builder = self._builder()
        names, target, columns = self._columns(builder)
        ids, parse = self._rows(builder, split, columns)

        def pairs() -> Iterator[tuple[bytes, list[bytes]]]:
            for first in range(0, len(ids), _PIECE):
                parsed = parse(tf.range(first, min(first + _PIECE, len(ids)), dtype=tf.int64))
                sources = tf.strings.join([parsed[name] for name in names], "\n").numpy().tolist()
                found = parsed[target]
                if isinstance(found, tf.RaggedTensor):
                    targets = found.to_list()
                else:
                    targets = found[:, None].numpy().tolist()
                yield from zip(sources, targets, strict=True)

        def place(row: int, side: Side) -> str:
            feature = target if side == "target" else ", ".join(names)
            return f"data set {self.name}: {feature} of {ids[row]}"

        good, sources, references, skipped = self._decoded(pairs(), place)
        return Pairs(
            where=f"data set {self.name}",
            ids=[ids[row] for row in good],
            sources=sources,
            references=references,
            skipped=skipped,
        )

    def _columns(self, builder: Any) -> tuple[tuple[str, ...], str, dict[str, Any]]:
        """Names of the sources' features, that of the target, and how both are stored."""
        keys = builder.info.supervised_keys or ()
        supervised = keys if len(keys) == 2 and all(isinstance(key, str) for key in keys) else ()
        names = self.source_features or supervised[:1]
        target = self.target or (supervised[1] if supervised else None)
        if not names or target is None:
            raise UserError(
                f"the data set {self.name} does not say what is source and target; name them in "
                f"config.data.source_features and target, of {', '.join(builder.info.features)}"
            )
        columns = {name: self._column(builder, name, "source_features") for name in names}
        return names, target, columns | {target: self._column(builder, target, "target")}

    def _column(self, builder: Any, key: str, field: str) -> Any:
        import tensorflow_datasets as tfds

        feature, many = find_feature(builder, key, field)
        if not isinstance(feature, tfds.features.Text) or (many and field != "target"):
            raise UserError(
                f"config.data.{field}={key} of the data set {self.name} is no text, it is "
                f"{'a sequence of ' * many}{' '.join(repr(feature).split())}"
            )
        if many:
            return tf.io.RaggedFeature(tf.string, row_splits_dtype=tf.int64)
        return tf.io.FixedLenFeature([], tf.string)
