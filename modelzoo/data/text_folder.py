"""A folder of texts, one folder per class."""

import dataclasses
import os
from concurrent.futures import ThreadPoolExecutor

from modelzoo.data.folder import class_folders, list_files
from modelzoo.data.splits import part_by_hash, split_name, split_names
from modelzoo.data.text_config import EncodedTextData, Texts


@dataclasses.dataclass(frozen=True)
class TextFolder(EncodedTextData):
    """Text files (UTF-8) under `SPLIT/CLASS/` or only `CLASS/`, whose names end in .txt.

    Without split folders everything is the split "train", to be sliced: "train[:80%]" and
    "train[80%:]". Texts are ordered by a hash of them, so that a slice is a random part, the same
    each time; a percentage is one of the range of hashes, see `ImageFolder`, and does not part
    files of one text. Files beside the class folders are not looked at; a bad text counts in every
    slice of its split.

    Attributes:
        data_dir: the folder.
        classes: the folders that are classes, such as ("neg", "pos"); None for all.
    """

    data_dir: str
    classes: tuple[str, ...] | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.classes is not None and not self.classes:
            raise ValueError("classes must be None or the names of folders, got ()")

    def _read(self, split: str) -> Texts:
        root, name = os.path.expanduser(self.data_dir), split_name(split)
        used = split_names(split, self.train_split, self.validation_split, self.test_split)
        folders, classes = class_folders(root, name, used, self.classes)
        files, labels = list_files(root, folders[name], classes, "texts", (".txt",))
        where, paths = f"folder {root}", [os.path.join(root, file) for file in files]
        with ThreadPoolExecutor(8) as pool:
            good, texts, skipped = self._decoded(where, files, pool.map(_bytes, paths))
        part = part_by_hash(split, texts)
        rows = [good[k] for k in part]
        return Texts(
            where=where,
            ids=[files[row] for row in rows],
            texts=[texts[k] for k in part],
            labels=labels[rows],
            class_names=tuple(classes),
            skipped=skipped,
        )


def _bytes(path: str) -> bytes | OSError:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError as error:
        return error
