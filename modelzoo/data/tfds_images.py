"""Image data sets of TensorFlow Datasets, read from their prepared files by row."""

import dataclasses
import difflib
import os
import shlex

import numpy as np
import tensorflow as tf

from modelzoo.data.config import EncodedImageData
from modelzoo.data.images import decode
from modelzoo.data.records import TFRecords
from modelzoo.data.source import EncodedRows, Source, fits_in_memory, open_encoded
from modelzoo.data.splits import MissingSplitError
from modelzoo.data.tfds_targets import find_target
from modelzoo.errors import UserError


@dataclasses.dataclass(frozen=True)
class TfdsImages(EncodedImageData):
    """A prepared TFDS data set of images and what they show; nothing is ever downloaded.

    The digits of scikit-learn, name "digits", need no preparing.

    Attributes:
        name: such as "cifar10", "fashion_mnist" or "NAME/CONFIG:1.0.0".
        data_dir: where TFDS keeps its files; None for its default (`TFDS_DATA_DIR` or
            `~/tensorflow_datasets`).
        target: the feature that is learned: a class label; a sequence of class labels or a dict of
            booleans, which are tags; numbers or a dict of them, which are values. One within
            another is "objects/label". None is the only class label.
    """

    name: str
    data_dir: str | None = None
    target: str | None = None

    def _open(self, split: str, encoded: bool = False) -> Source:
        builder = self._builder()
        info = _split_info(builder, split)
        image_key = _image_key(builder)
        feature = builder.info.features[image_key]
        target = find_target(builder, self.target)
        if info.num_examples == 0:
            raise UserError(f"the split {split!r} of {self.name} is empty")
        records = _records(builder, info)
        columns = {image_key: tf.io.FixedLenFeature([], tf.string), **target.columns}

        def read(rows: tf.Tensor) -> dict[str, tf.Tensor]:
            # Stateless, so that op determinism lets the pipeline read and decode in parallel.
            serialized = tf.numpy_function(
                lambda rows: np.array(records.__getitems__(rows.tolist()), object),
                [rows],
                tf.string,
                stateful=False,
            )
            parsed = tf.io.parse_example(tf.ensure_shape(serialized, rows.shape), columns)
            return {"encoded": parsed[image_key], "label": target.label(parsed)}

        first = read(tf.constant([0], tf.int64))
        if target.targets == "class" and first["label"][0] < 0:
            raise UserError(f"the split {split!r} of {self.name} has no labels")
        shape = feature.shape
        if None in shape:
            try:
                shape = tuple(decode(first["encoded"][0]).shape)
            except tf.errors.OpError:
                raise UserError(
                    f"{self.name}: the first image of {split!r} is corrupt; "
                    "set config.data.image_size and config.data.channels"
                ) from None
        rows = EncodedRows(
            where=f"data set {self.name}",
            ids=_ids(builder, info),
            read=read,
            fixed_size=self.image_size is None,
            fixed_channels=self.channels is None,
        )
        spec = self._spec(rows.where, shape, target.names, target.targets)
        if rows.fixed_size and None in feature.shape and not fits_in_memory(spec, len(records)):
            raise UserError(
                f"the images of {self.name} may be of any size; "
                "set config.data.image_size=(H, W) to bring all to one"
            )
        return open_encoded(spec, rows, self.on_bad_image, encoded)

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


def _image_key(builder) -> str:
    """Name of the one image, by the supervised keys where there are several."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    images = [key for key, value in features.items() if isinstance(value, tfds.features.Image)]
    supervised = builder.info.supervised_keys or ()
    if len(supervised) == 2 and supervised[0] in images:
        images = [supervised[0]]
    if len(images) != 1:
        raise UserError(
            f"the data set {builder.name} is not one of one image in each example; its features "
            f"are {', '.join(features)}"
        )
    if features[images[0]].np_dtype != np.uint8:
        raise UserError(
            f"the images of {builder.name} are {features[images[0]].np_dtype}, not uint8"
        )
    return images[0]


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
