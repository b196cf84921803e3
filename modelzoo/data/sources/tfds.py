"""Data sets of TensorFlow Datasets, read from their prepared files by row."""

import dataclasses
import difflib
import os
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from modelzoo.data.columns import Column, Rows, Tensors, Wanted, in_pieces
from modelzoo.data.sources.source import OpenSource, Source
from modelzoo.data.sources.tfds_features import Feature, default_feature, find_feature
from modelzoo.data.sources.tfrecords import TFRecords
from modelzoo.fields.errors import UserError

Read = Callable[[tf.Tensor], Tensors]


@dataclasses.dataclass(frozen=True)
class Tfds(Source):
    """A data set that TFDS has prepared; nothing is downloaded.

    Columns are features; "objects/label" is a feature within another. `Image` reads an image and
    `Text` a text. `ClassLabel` reads a class label. `Tags` reads a sequence of class labels or a
    dict of booleans. `Values` reads a number, an array or a dict of numbers. `TextTarget` reads a
    text or a sequence of texts. The default is the supervised feature, or the only one of the kind.

    Slices are those of TFDS, and examples come in the order in which it stored them.

    Attributes:
        name: such as "cifar10", "imdb_reviews" or "NAME/CONFIG:1.0.0".
        data_dir: the folder of TFDS's files; None for its default (`TFDS_DATA_DIR` or
            `~/tensorflow_datasets`).

    Example:
        >>> from modelzoo.data.sources.tfds import Tfds
        >>> Tfds("glue/sst2").sliced
        'stored'
    """

    name: str
    data_dir: str | None = None

    sliced = ordered = "stored"

    def open(self) -> "OpenTfds":
        return OpenTfds(self.name, _builder(self.name, self.data_dir))


class OpenTfds(OpenSource):
    """An opened data set. Its records are read by row if there are images, else all at once."""

    def __init__(self, name: str, builder: Any):
        self._builder = builder
        self._info = builder.info
        self.where = f"data set {name}"
        self.split_names = tuple(builder.info.splits)

    def default_columns(self, wanted: Wanted) -> tuple[str, ...]:
        return (default_feature(self._info, wanted, self.where),)

    def read(self, wanted: Sequence[Wanted], splits: Collection[str]) -> Mapping[str, Rows]:
        features = {
            one.key: [find_feature(self._info, name, one, self.where) for name in one.columns]
            for one in wanted
        }
        return {split: self._rows(features, split) for split in splits}

    def _rows(self, wanted: Mapping[str, Sequence[Feature]], split: str) -> Rows:
        features = {one.key: one for group in wanted.values() for one in group}
        count = self._info.splits[split].num_examples
        if not count:
            raise UserError(f"{self.where}: the split {split!r} is empty")
        read = self._reader(list(features.values()), split)
        # Images may not fit in memory.
        lazy = any(one.shape is not None for one in features.values())
        values = dict.fromkeys(features) if lazy else _read_all(read, count)
        columns = {
            key: Column(key, one.form, values[key], names=one.names, shape=one.shape)
            for key, one in features.items()
        }
        return Rows(
            split=split,
            where=self.where,
            ids=[f"{split}/{row}" for row in range(count)],
            place=lambda row: f"{self.where}, {split}/{row}",
            columns={
                key: tuple(columns[one.key] for one in group) for key, group in wanted.items()
            },
            read=read if lazy else None,
        )

    def _reader(self, features: Sequence[Feature], split: str) -> Read:
        """Reads the cells of rows (int64 `[n]`), by feature, in a graph as well."""
        records = _records(self.where, self._builder, split)
        stored = {name: value for one in features for name, value in one.stored.items()}

        def load(rows: np.ndarray) -> np.ndarray:
            return np.array(records.__getitems__(rows.tolist()), object)

        def read(rows: tf.Tensor) -> Tensors:
            # Stateless, so that op determinism lets the pipeline read and decode in parallel.
            serialized = tf.numpy_function(load, [rows], tf.string, stateful=False)
            parsed = tf.io.parse_example(tf.ensure_shape(serialized, rows.shape), stored)
            return {one.key: one.cells(parsed) for one in features}

        return read


def _read_all(read: Read, count: int) -> dict[str, Sequence[Any] | np.ndarray]:
    """The cells of all rows: arrays of numbers, else lists."""
    pieces = list(in_pieces(read, np.arange(count)))
    found: dict[str, Sequence[Any] | np.ndarray] = {}
    for key, first in pieces[0].items():
        parts = [piece[key] for piece in pieces]
        if isinstance(first, tf.RaggedTensor):
            found[key] = [list(map(_text, cell)) for part in parts for cell in part.to_list()]
        else:
            values = np.concatenate([part.numpy() for part in parts])
            found[key] = values.tolist() if first.dtype == tf.string else values
    return found


def _text(item: Any) -> Any:
    """An item of a list, bytes as a text if they are UTF-8."""
    try:
        return item.decode() if isinstance(item, bytes) else item
    except UnicodeDecodeError:
        return item


def _records(where: str, builder: Any, split: str) -> Any:
    """Random access to the records of a split."""
    instructions = builder.info.splits[split].file_instructions
    kind = builder.info.file_format.value
    if kind == "tfrecord":
        return TFRecords(
            [(one.filename, one.skip, one.take, one.examples_in_shard) for one in instructions]
        )
    if kind == "array_record":
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        return ArrayRecordDataSource(instructions)
    raise UserError(
        f"{where} is prepared as {kind}, which has no random access; prepare it with "
        "--file_format=array_record or tfrecord"
    )


def _builder(name: str, data_dir: str | None) -> Any:
    """The read-only builder of a prepared data set."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import read_only_builder

    data_dir = os.path.expanduser(data_dir or str(tfds.core.constants.DATA_DIR))
    try:
        return read_only_builder.builder_from_files(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        pass
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(f"cannot open the data set {name!r}: {reason}") from None
    known = tfds.list_builders(with_community_datasets=False)
    base = name.partition("/")[0].partition(":")[0]
    if base not in known:
        near = difflib.get_close_matches(base, known, 3)
        hint = f"did you mean {' or '.join(near)}?" if near else "and TFDS knows no such name"
        raise UserError(f"no data set {name!r} is prepared in {data_dir}; {hint}")
    # The command `tfds build` does not start without apache-beam.
    code = (
        "import tensorflow_datasets as tfds; "
        f"tfds.builder({name!r}, data_dir={data_dir!r}).download_and_prepare()"
    )
    special = set(code) & set('"$`\\!')
    quoted = shlex.quote(code) if special else f'"{code}"'
    raise UserError(
        f"the data set {name!r} is not prepared in {data_dir}; prepare it with: python -c {quoted}"
    )
