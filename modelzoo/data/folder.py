"""A folder of images, one folder per class."""

import dataclasses
import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from modelzoo.data.config import EncodedImageData
from modelzoo.data.images import SUFFIXES, decode, read_header
from modelzoo.data.source import (
    EncodedRows,
    ImageSource,
    bad_image,
    channel_mismatch,
    decode_reason,
    fits_in_memory,
    open_encoded,
    size_mismatch,
)
from modelzoo.data.spec import ImageSpec
from modelzoo.data.splits import MissingSplitError, split_name, split_slice
from modelzoo.errors import UserError

# A long colour profile or preview picture may stand before what tells the shape.
_HEADER_BYTES = (2**12, 2**16, -1)


@dataclasses.dataclass(frozen=True)
class ImageFolder(EncodedImageData):
    """PNG, JPEG, GIF and BMP files of any size under `SPLIT/CLASS/` or only `CLASS/`.

    Without split folders everything is the split "train", to be sliced: "train[:80%]" and
    "train[80%:]". Files are ordered by a hash of their path, so that a slice is a random part, the
    same each time. A percentage is one of the range of hashes: "train[:80%]" takes about 80 % of
    the files, and none of them changes sides when others are added or removed; row numbers, as in
    "train[:500]", count the files that are there. Classes are the names of their folders, sorted.
    Images are the files whose names end in .png, .jpg, .jpeg, .gif or .bmp, in any case; others
    and hidden ones are not looked at.

    Attributes:
        data_dir: the folder.
    """

    data_dir: str

    def _open(self, split: str) -> ImageSource:
        root = os.path.expanduser(self.data_dir)
        name = split_name(split)
        folders = _split_folders(root)
        if name not in folders:
            raise MissingSplitError(
                f"{root} has no split {name!r}; it has {', '.join(folders)} "
                "(folders of class folders), and slices of them such as 'train[:80%]'"
            )
        fields = (self.train_split, self.validation_split, self.test_split)
        used = {name, *(split_name(text) for text in fields if text)} & set(folders)
        classes = sorted(set().union(*(_subfolders(folders[other]) for other in used)))
        images = _list_images(root, folders[name], classes)
        where = f"folder {root}"
        if self.image_size is not None and self.channels is not None:
            shape = (*self.image_size, self.channels)
        else:
            # The training images' whichever split is opened.
            base = split_name(self.train_split)
            other = base in folders and base != name
            first = _list_images(root, folders[base], classes) if other else images
            shape = self._first_shape(root, where, first.files)
        spec = self._spec(where, shape, tuple(classes))

        def rows_before(percent: int) -> int:
            return int(np.searchsorted(images.places, percent / 100))

        part = split_slice(split, len(images.files), rows_before)
        files, labels = images.files[part], images.labels[part]
        rows = EncodedRows(
            where=where,
            ids=files,
            read=_reader(root, files, labels),
            fixed_size=self.image_size is None,
            fixed_channels=self.channels is None,
        )
        # Where all are brought to one shape, what is no image is told when its turn comes.
        compared = self.on_bad_image == "error" and (rows.fixed_size or rows.fixed_channels)
        if compared and not fits_in_memory(spec, len(files)):
            _check_headers(rows, root, spec)
        return open_encoded(spec, rows, self.on_bad_image)

    def _first_shape(self, root: str, where: str, files: Sequence[str]) -> tuple[int, int, int]:
        """Shape of the first image, or of the first good one where bad ones are skipped."""
        for file in files:
            try:
                return tuple(decode(tf.io.read_file(os.path.join(root, file))).shape)
            except tf.errors.OpError as error:
                if self.on_bad_image == "error":
                    raise UserError(bad_image(where, file, decode_reason(error))) from None
        raise UserError(f"{where}: none of the {len(files)} images can be decoded")


def _reader(root: str, files: Sequence[str], labels: np.ndarray):
    with tf.device("CPU:0"):
        paths = tf.constant([os.path.join(root, file) for file in files])
        labels = tf.constant(labels, tf.int64)

    def read(rows: tf.Tensor) -> dict[str, tf.Tensor]:
        encoded = tf.map_fn(tf.io.read_file, tf.gather(paths, rows))
        return {"encoded": encoded, "label": tf.gather(labels, rows)}

    return read


def _subfolders(folder: str) -> dict[str, str]:
    """Name to path of the folders in a folder, hidden ones apart, sorted by name."""
    try:
        with os.scandir(folder) as entries:
            folders = {
                entry.name: entry.path
                for entry in entries
                if entry.is_dir() and not entry.name.startswith((".", "__"))
            }
            return dict(sorted(folders.items()))
    except OSError as error:
        raise UserError(
            f"cannot open the image folder {folder}: {error.strerror}; check config.data.data_dir"
        ) from None


def _split_folders(root: str) -> dict[str, str]:
    """Split name to folder: what holds folders itself, or else the root as "train"."""
    children = _subfolders(root)
    if not children:
        raise UserError(f"{root} holds no folders; images belong in CLASS/ or SPLIT/CLASS/ there")
    splits = {name: path for name, path in children.items() if _subfolders(path)}
    return splits or {"train": root}


class _Images(NamedTuple):
    """The image files of one split, in the order of their hashes.

    files: paths relative to the root. labels: int64 `[n]`. places: the hashes as fractions of the
    largest, float64 `[n]`.
    """

    files: list[str]
    labels: np.ndarray
    places: np.ndarray


def _list_images(root: str, folder: str, classes: Sequence[str]) -> _Images:
    prefix = "" if folder == root else os.path.basename(folder) + "/"
    found = []
    for label, name in enumerate(classes):
        path = os.path.join(folder, name)
        count = len(found)
        for file in _image_names(path) if os.path.isdir(path) else ():
            relative = f"{prefix}{name}/{file}"
            found.append((hashlib.blake2b(os.fsencode(relative)).digest(), relative, label))
        if len(found) == count:
            raise UserError(
                f"the class folder {path} is missing or has no images ({', '.join(SUFFIXES)}); "
                "every split needs images of every class"
            )
    found.sort()
    return _Images(
        files=[relative for _, relative, _ in found],
        labels=np.array([label for *_, label in found], np.int64),
        places=np.frombuffer(b"".join(digest[:4] for digest, *_ in found), ">u4") / 2**32,
    )


def _image_names(folder: str) -> list[str]:
    """Names of the files in a folder that are images by their suffixes, hidden ones apart."""
    with os.scandir(folder) as entries:
        return [
            entry.name
            for entry in entries
            if entry.name[0] != "." and entry.name.lower().endswith(SUFFIXES) and not entry.is_dir()
        ]


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
