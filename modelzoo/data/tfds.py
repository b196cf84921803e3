"""Data sets of TensorFlow Datasets, read from their prepared files by row."""

import dataclasses
import difflib
import os
import shlex
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from modelzoo.data.records import TFRecords
from modelzoo.data.splits import MissingSplitError
from modelzoo.data.tfds_targets import Target, find_target
from modelzoo.fields.errors import UserError


class Prepared(NamedTuple):
    """One split.

    ids: such as "train/17". parse: rows (int64 `[n]`) to stored columns, in a graph as well.
    target: what is learned, of these.
    """

    ids: list[str]
    parse: Callable[[tf.Tensor], dict[str, Any]]
    target: Target


@dataclasses.dataclass(frozen=True)
class Tfds:
    """Fields of the sources that TFDS has prepared; nothing is ever downloaded.

    Attributes:
        name: such as "cifar10", "imdb_reviews" or "NAME/CONFIG:1.0.0".
        data_dir: where TFDS keeps its files; None for its default (`TFDS_DATA_DIR` or
            `~/tensorflow_datasets`).
        target: the feature that is learned: a class label; a sequence of class labels or a dict of
            booleans, which are tags; numbers or a dict of them, which are values; of pairs, a text.
            One within another is "objects/label". None is the only class label, or the supervised
            text.
    """

    name: str
    data_dir: str | None = None
    target: str | None = None

    def _builder(self):
        import tensorflow_datasets as tfds
        from tensorflow_datasets.core import read_only_builder

        data_dir = os.path.expanduser(self.data_dir or str(tfds.core.constants.DATA_DIR))
        if self.name == "digits":
            from modelzoo.data import digits

            digits.prepare(data_dir)
        try:
            return read_only_builder.builder_from_files(self.name, data_dir=data_dir)
        except tfds.core.DatasetNotFoundError:
            pass
        except Exception as error:
            reason = " ".join(str(error).split())
            raise UserError(f"cannot open the data set {self.name!r}: {reason}") from None
        known = tfds.list_builders(with_community_datasets=False)
        base = self.name.partition("/")[0].partition(":")[0]
        if base not in known:
            near = difflib.get_close_matches(base, [*known, "digits"], 3)
            hint = f"did you mean {' or '.join(near)}?" if near else "and TFDS knows no such name"
            raise UserError(f"no data set {self.name!r} is prepared in {data_dir}; {hint}")
        # The command `tfds build` does not start without apache-beam.
        code = (
            "import tensorflow_datasets as tfds; "
            f"tfds.builder({self.name!r}, data_dir={data_dir!r}).download_and_prepare()"
        )
        special = set(code) & set('"$`\\!')
        quoted = shlex.quote(code) if special else f'"{code}"'
        raise UserError(
            f"the data set {self.name!r} is not prepared in {data_dir}; "
            f"prepare it with: python -c {quoted}"
        )

    def _prepared(self, builder: Any, split: str, keys: Sequence[str]) -> Prepared:
        """A split with its target, and the features of these names, which are strings."""
        target = find_target(builder, self.target)
        columns = {key: tf.io.FixedLenFeature([], tf.string) for key in keys} | target.columns
        ids, parse = self._rows(builder, split, columns)
        if target.targets == "class" and target.label(parse(tf.constant([0], tf.int64)))[0] < 0:
            raise UserError(f"the split {split!r} of {self.name} has no labels")
        return Prepared(ids, parse, target)

    def _rows(
        self, builder: Any, split: str, columns: dict[str, Any]
    ) -> tuple[list[str], Callable[[tf.Tensor], dict[str, Any]]]:
        """`ids` and `parse` of `Prepared`, of the columns as `tf.io.parse_example` takes them."""
        info = _split_info(builder, split)
        if info.num_examples == 0:
            raise UserError(f"the split {split!r} of {self.name} is empty")
        records = _records(builder, info)

        def parse(rows: tf.Tensor) -> dict[str, Any]:
            # Stateless, so that op determinism lets the pipeline read and decode in parallel.
            serialized = tf.numpy_function(
                lambda rows: np.array(records.__getitems__(rows.tolist()), object),
                [rows],
                tf.string,
                stateful=False,
            )
            return tf.io.parse_example(tf.ensure_shape(serialized, rows.shape), columns)

        return _ids(builder, info), parse


def _split_info(builder, split: str):
    try:
        return builder.info.splits[split]
    except (ValueError, KeyError, AssertionError):
        names = ", ".join(
            f"{name} ({info.num_examples})" for name, info in builder.info.splits.items()
        )
        raise MissingSplitError(
            f"the data set {builder.name} has no split {split!r}; "
            f"it has {names}, and slices of them such as 'train[:90%]'"
        ) from None


def _records(builder, info):
    ranges = [
        (part.filename, part.skip, part.take, part.examples_in_shard)
        for part in info.file_instructions
    ]
    kind = builder.info.file_format.value
    if kind == "tfrecord":
        return TFRecords(ranges)
    if kind == "array_record":
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        return ArrayRecordDataSource(info.file_instructions)
    raise UserError(
        f"the data set {builder.name} is prepared as {kind}, which has no random access; "
        "prepare it with --file_format=array_record or tfrecord"
    )


def _ids(builder, info) -> list[str]:
    """Names such as "train/17": the base split and the row in it."""
    starts = {}
    for name, split in builder.info.splits.items():
        ends = np.cumsum(split.shard_lengths).tolist()
        for path, start in zip(split.filepaths, [0, *ends[:-1]], strict=True):
            starts[str(path)] = (name, start)
    ids = []
    for part in info.file_instructions:
        name, start = starts[str(part.filename)]
        start += part.skip
        ids += [f"{name}/{row}" for row in range(start, start + part.take)]
    return ids
