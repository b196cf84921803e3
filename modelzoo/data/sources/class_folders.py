"""Files in folders, one folder per class."""

import dataclasses
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from modelzoo.data.columns import Column, Rows, Wanted
from modelzoo.data.sources.files import describe, is_hidden, is_of_model, list_files, printable
from modelzoo.data.sources.source import ROLES, OpenSource, Source
from modelzoo.fields.errors import FieldError, UserError


@dataclasses.dataclass(frozen=True)
class ClassFolders(Source):
    """Files under `SPLIT/CLASS/` or only `CLASS/`, such as images or texts.

    The columns are "file" and "class". Files are those whose suffix the input reads, such as .png
    or .txt, in any case. Hidden files, folders in a class folder and folders of models are left
    out; a remark counts what is left out. Links are followed.

    A folder is a split if it holds folders and is called such as "train" or "val", or holds no
    files; or else it is a class.

    Without split folders everything is the split "train", to be sliced: "train[:80%]" and
    "train[80%:]". A slice is a random part, the same each time: a range of hashes of the file's
    path or, for texts, of the text. "train[:80%]" has about 80 % of the files, and no file moves
    between slices when others are added or removed; numbers, as in "train[:500]", count files.

    Attributes:
        path: the folder.
        classes: the folders that are classes, such as ("neg", "pos"); None for all that the splits
            in use have. The classes are sorted; a split may lack some of them.

    Example:
        >>> import pathlib, tempfile
        >>> from modelzoo.data.sources.class_folders import ClassFolders
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> for name in ("train/cat", "train/dog", "test/cat", "test/dog"):
        ...     (folder / name).mkdir(parents=True)
        >>> ClassFolders(str(folder)).open().split_names
        ('test', 'train')
    """

    path: str
    classes: tuple[str, ...] | None = None

    holds_files = True

    def __post_init__(self):
        if self.classes is not None and not self.classes:
            raise FieldError("classes", "must be None or the names of folders, got ()")

    @property
    def folder_of_data(self) -> str:
        return self.path

    def open(self) -> "OpenClassFolders":
        return OpenClassFolders(self)


class OpenClassFolders(OpenSource):
    """Opened class folders; files are listed by `read`, and read by the input."""

    def __init__(self, config: ClassFolders):
        self._root = os.path.expanduser(config.path)
        self._classes = config.classes
        self._folders = _split_folders(self._root)
        self.where = f"folder {printable(self._root)}"
        self.split_names = tuple(self._folders)

    def default_columns(self, wanted: Wanted) -> tuple[str, ...]:
        return ("file" if "file" in wanted.forms else "class",)

    def read(self, wanted: Sequence[Wanted], splits: Collection[str]) -> Mapping[str, Rows]:
        self.check_columns(wanted, {"file": "file", "class": "class"})
        files = [one for one in wanted if "file" in one.columns]
        suffixes = {one.suffixes for one in files}
        if len(suffixes) != 1:
            kinds = " and ".join(one.noun for one in files) or "no files"
            raise UserError(f"{self.where} can be read as one kind of files, got {kinds}")
        classes = set(self._classes or ())
        if self._classes is None:
            classes.update(*(_subfolders(self._folders[split]) for split in splits))
        names, one = tuple(sorted(classes)), files[0]
        found = {split: [self._files(split, name, one) for name in names] for split in splits}
        for label, name in enumerate(names):
            listed = [each[label] for each in found.values()]
            if not any(paths for paths, _ in listed):
                paths = [os.path.join(self._folders[split], name) for split in sorted(splits)]
                path = next(filter(os.path.isdir, paths), paths[0])
                left_out = sum((others for _, others in listed), Counter[str]())
                there = f", only {describe(left_out)}" if left_out else ""
                raise UserError(
                    f"the class folder {printable(path)} is missing or has no {one.noun} "
                    f"({', '.join(one.suffixes)}){there}; every class needs {one.noun} in some "
                    "split"
                )
        return {split: self._rows(wanted, split, names, found[split], one) for split in splits}

    def _rows(
        self,
        wanted: Sequence[Wanted],
        split: str,
        classes: Sequence[str],
        files: Sequence[tuple[list[str], Counter[str]]],
        one: Wanted,
    ) -> Rows:
        paths = [path for found, _ in files for path in found]
        labels = np.repeat(np.arange(len(files)), [len(found) for found, _ in files])
        left_out = sum((others for _, others in files), Counter[str]())
        with os.scandir(self._folders[split]) as entries:
            for entry in entries:
                if entry.is_dir():
                    left_out["folders of models"] += is_of_model(entry.path)
                else:
                    beside = entry.name.lower().endswith(one.suffixes)
                    left_out["beside the class folders"] += beside
        remarks: tuple[str, ...] = ()
        if left_out := +left_out:  # Without zeros.
            remarks = (f"left out of {split!r} in {self.where}: {describe(left_out)}",)
        absolute = os.path.abspath(self._root)
        ids = list(map(printable, paths))
        columns = {
            "file": Column(
                "file", "file", [os.path.join(absolute, path) for path in paths], keys=ids
            ),
            "class": Column(
                "class", "class", labels.astype(np.int64), names=tuple(map(printable, classes))
            ),
        }
        return Rows(
            split=split,
            where=self.where,
            ids=ids,
            place=lambda row: printable(os.path.join(self._root, paths[row])),
            columns={one.key: tuple(columns[name] for name in one.columns) for one in wanted},
            remarks=remarks,
        )

    def _files(self, split: str, name: str, wanted: Wanted) -> tuple[list[str], Counter[str]]:
        """The files of a class, relative to the root, and the counts of those left out."""
        folder = self._folders[split]
        path = os.path.join(folder, name)
        prefix = f"{name}/" if folder == self._root else f"{os.path.basename(folder)}/{name}/"
        found: list[str] = []
        left_out: Counter[str] = Counter()
        if os.path.isdir(path):
            found, left_out = list_files(path, wanted.suffixes, nested=False, shown=prefix)
        return [prefix + file for file in found], left_out


def _subfolders(folder: str) -> dict[str, str]:
    """Name to path of the folders of data in a folder, sorted by name."""
    try:
        with os.scandir(folder) as entries:
            found = sorted((one.name, one.path) for one in entries if one.is_dir())
            return {
                name: path for name, path in found if not (is_hidden(name) or is_of_model(path))
            }
    except OSError as error:
        raise UserError(
            f"cannot open the folder {folder}: {error.strerror}; check config.data.source.path"
        ) from None


def _split_folders(root: str) -> dict[str, str]:
    """Split name to folder: each folder that is a split, or else the root as "train"."""
    children = _subfolders(root)
    if not children:
        raise UserError(
            f"{root} contains no folders; put the files into CLASS/ or SPLIT/CLASS/ there"
        )
    splits = {name: path for name, path in children.items() if _is_split(name, path)}
    return splits or {"train": root}


def _is_split(name: str, path: str) -> bool:
    """Whether a folder holds class folders, and is no class with a stray folder in it."""
    if not _subfolders(path):
        return False
    with os.scandir(path) as entries:
        files = any(not (is_hidden(one.name) or one.is_dir()) for one in entries)
    return not files or any(name in names for names in ROLES.values())
