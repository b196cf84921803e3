"""A folder of images, one folder per class."""

import dataclasses
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from modelzoo.data.files import FileImages, Files, by_hash
from modelzoo.data.images import SUFFIXES
from modelzoo.data.source import Source
from modelzoo.data.splits import MissingSplitError, split_name, split_slice
from modelzoo.errors import UserError


@dataclasses.dataclass(frozen=True)
class ImageFolder(FileImages):
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

    def _open(self, split: str, encoded: bool = False) -> Source:
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

        def rows_before(percent: int) -> int:
            return int(np.searchsorted(images.places, percent / 100))

        def first() -> Sequence[str]:
            # The training images' whichever split is opened.
            base = split_name(self.train_split)
            other = base in folders and base != name
            return _list_images(root, folders[base], classes).files if other else images.files

        part = split_slice(split, len(images.files), rows_before)
        files, labels = images.files[part], images.labels[part]
        found = Files(f"folder {root}", root, files, labels, tuple(classes))
        return self._open_files(found, first, encoded)


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
    files, labels = [], []
    for label, name in enumerate(classes):
        path = os.path.join(folder, name)
        found = _image_names(path) if os.path.isdir(path) else ()
        if not found:
            raise UserError(
                f"the class folder {path} is missing or has no images ({', '.join(SUFFIXES)}); "
                "every split needs images of every class"
            )
        files += [f"{prefix}{name}/{file}" for file in found]
        labels += [label] * len(found)
    order, places = by_hash(files)
    return _Images([files[k] for k in order], np.array(labels, np.int64)[order], places)


def _image_names(folder: str) -> list[str]:
    """Names of the files in a folder that are images by their suffixes, hidden ones apart."""
    with os.scandir(folder) as entries:
        return [
            entry.name
            for entry in entries
            if entry.name[0] != "." and entry.name.lower().endswith(SUFFIXES) and not entry.is_dir()
        ]
