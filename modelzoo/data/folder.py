"""A folder of images, one folder per class."""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from modelzoo.data.files import FileImages, Files
from modelzoo.data.images import SUFFIXES
from modelzoo.data.source import Source
from modelzoo.data.splits import MissingSplitError, by_hash, part_by_hash, split_name, split_names
from modelzoo.fields.errors import UserError


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
        root, name = os.path.expanduser(self.data_dir), split_name(split)
        used = split_names(split, self.train_split, self.validation_split, self.test_split)
        folders, classes = class_folders(root, name, used)
        files, labels = list_files(root, folders[name], classes, "images", SUFFIXES)

        def first() -> Sequence[str]:
            # The training images' whichever split is opened.
            base, others = split_name(self.train_split), files
            if base in folders and base != name:
                others, _ = list_files(root, folders[base], classes, "images", SUFFIXES)
            return [others[k] for k in by_hash(others)[0]]

        part = part_by_hash(split, files)
        chosen = [files[k] for k in part]
        found = Files(f"folder {root}", root, chosen, labels[part], tuple(classes))
        return self._open_files(found, first, encoded)


def class_folders(
    root: str, split: str, used: set[str], classes: Sequence[str] | None = None
) -> tuple[dict[str, str], list[str]]:
    """The folders of the splits by name, and the classes.

    Those are the folders, sorted, that the splits of the names `used` hold, unless `classes` says.
    Raises MissingSplitError where there is no such split.
    """
    folders = _split_folders(root)
    if split not in folders:
        raise MissingSplitError(
            f"{root} has no split {split!r}; it has {', '.join(folders)} "
            "(folders of class folders), and slices of them such as 'train[:80%]'"
        )
    names = set().union(*(_subfolders(folders[name]) for name in used & set(folders)))
    return folders, sorted(names if classes is None else classes)


def list_files(
    root: str, folder: str, classes: Sequence[str], kind: str, suffixes: tuple[str, ...]
) -> tuple[list[str], np.ndarray]:
    """The files in the class folders of a split's folder, hidden ones apart.

    Returns paths relative to the root, and labels int64 `[n]`. A file belongs by its suffix, in any
    case; `kind` is the word for them. Raises UserError for a class without files.
    """
    prefix = "" if folder == root else os.path.basename(folder) + "/"
    files, labels = [], []
    for label, name in enumerate(classes):
        path, found = os.path.join(folder, name), []
        if os.path.isdir(path):
            with os.scandir(path) as entries:
                found = [
                    f"{prefix}{name}/{entry.name}"
                    for entry in entries
                    if entry.name[0] != "." and entry.name.lower().endswith(suffixes)
                    if not entry.is_dir()
                ]
        if not found:
            raise UserError(
                f"the class folder {path} is missing or has no {kind} ({', '.join(suffixes)}); "
                f"every split needs {kind} of every class"
            )
        files += found
        labels += [label] * len(found)
    return files, np.array(labels, np.int64)


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
            f"cannot open the folder {folder}: {error.strerror}; check config.data.data_dir"
        ) from None


def _split_folders(root: str) -> dict[str, str]:
    """Split name to folder: what holds folders itself, or else the root as "train"."""
    children = _subfolders(root)
    if not children:
        raise UserError(f"{root} holds no folders; files belong in CLASS/ or SPLIT/CLASS/ there")
    splits = {name: path for name, path in children.items() if _subfolders(path)}
    return splits or {"train": root}
