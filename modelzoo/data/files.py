"""Images in files of their own: those of a folder, or those that a table names."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from modelzoo.data.config import EncodedImageData
from modelzoo.data.images import decode, read_header
from modelzoo.data.source import (
    EncodedRows,
    Source,
    bad_image,
    channel_mismatch,
    decode_reason,
    decoded_at_once,
    open_encoded,
    size_mismatch,
)
from modelzoo.data.spec import ImageSpec, Targets
from modelzoo.fields.errors import UserError

# A long colour profile or preview picture may stand before what tells the shape.
_HEADER_BYTES = (2**12, 2**16, -1)


class Files(NamedTuple):
    """Image files and what is known of them.

    where: how messages name the place. root: the folder that `files`, the paths, are relative to.
    labels: of the files, as `targets` says (see `ImageSpec`). class_names: as in `ImageSpec`.
    """

    where: str
    root: str
    files: Sequence[str]
    labels: np.ndarray
    class_names: tuple[str, ...]
    targets: Targets = "class"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileImages(EncodedImageData):
    """What the sources whose images are files have in common."""

    def _open_files(
        self, found: Files, first: Callable[[], Sequence[str]], encoded: bool
    ) -> Source:
        """Opens files; the first one of `first` gives the shape that no field does."""
        if self.image_size is not None and self.channels is not None:
            shape = (*self.image_size, self.channels)
        else:
            shape = self._first_shape(found, first())
        spec = self._spec(found.where, shape, found.class_names, found.targets)
        rows = EncodedRows(
            where=found.where,
            ids=found.files,
            read=_reader(found),
            fixed_size=self.image_size is None,
            fixed_channels=self.channels is None,
        )
        # Where all are brought to one shape, what is no image is told when its turn comes.
        compared = self.on_bad_image == "error" and (rows.fixed_size or rows.fixed_channels)
        if compared and not decoded_at_once(spec, rows, encoded):
            _check_headers(rows, found.root, spec)
        return open_encoded(spec, rows, self.on_bad_image, encoded)

    def _first_shape(self, found: Files, files: Sequence[str]) -> tuple[int, int, int]:
        """Shape of the first image, or of the first good one where bad ones are skipped."""
        for file in files:
            try:
                return tuple(decode(tf.io.read_file(os.path.join(found.root, file))).shape)
            except tf.errors.OpError as error:
                if self.on_bad_image == "error":
                    raise UserError(bad_image(found.where, file, decode_reason(error))) from None
        raise UserError(f"{found.where}: none of the {len(files)} images can be decoded")


def _reader(found: Files) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    with tf.device("CPU:0"):
        paths = tf.constant([os.path.join(found.root, file) for file in found.files])
        labels = tf.constant(found.labels)

    def read(rows: tf.Tensor) -> dict[str, tf.Tensor]:
        encoded = tf.map_fn(tf.io.read_file, tf.gather(paths, rows))
        return {"encoded": encoded, "label": tf.gather(labels, rows)}

    return read


def _check_headers(rows: EncodedRows, root: str, spec: ImageSpec) -> None:
    """Raises UserError for the first file whose first bytes tell that it cannot be used."""

    def header(file: str) -> tuple[int, int, int] | str:
        try:
            with open(os.path.join(root, file), "rb", buffering=0) as opened:
                data = b""
                for size in _HEADER_BYTES:
                    data += opened.read(size)
                    try:
                        return read_header(data)
                    except ValueError as error:
                        reason = str(error)
                return reason
        except OSError as error:
            return f"cannot be read ({error.strerror})"

    with ThreadPoolExecutor(16) as pool:
        for file, found in zip(rows.ids, pool.map(header, rows.ids), strict=True):
            if isinstance(found, str):
                raise UserError(bad_image(rows.where, file, found))
            if rows.fixed_size and found[:2] != (spec.height, spec.width):
                raise UserError(size_mismatch(rows.where, file, found[:2], spec))
            if rows.fixed_channels and found[2] != spec.channels:
                raise UserError(bad_image(rows.where, file, channel_mismatch(found[2], spec)))
