"""A folder of texts, one folder per class."""

import dataclasses
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from modelzoo.data.folder import class_folders, list_files
from modelzoo.data.splits import part_by_hash, split_name, split_names
from modelzoo.data.text_config import TextData, Texts
from modelzoo.errors import UserError


@dataclasses.dataclass(frozen=True)
class TextFolder(TextData):
    """Text files (UTF-8) under `SPLIT/CLASS/` or only `CLASS/`, whose names end in .txt.

    Without split folders everything is the split "train", to be sliced: "train[:80%]" and
    "train[80%:]". Texts are ordered by a hash of them, so that a slice is a random part, the same
    each time; a percentage is one of the range of hashes, see `ImageFolder`, and does not part
    files of one text. Files that stand beside the class folders are not looked at.

    Attributes:
        data_dir: the folder.
        classes: the folders that are classes, such as ("neg", "pos"); None for all.
        on_bad_file: what an empty file or one that is not UTF-8 leads to: "error" names it, "skip"
            leaves it out and counts it. It counts in every slice of its split.
    """

    data_dir: str
    classes: tuple[str, ...] | None = None
    on_bad_file: Literal["error", "skip"] = "error"

    def __post_init__(self):
        super().__post_init__()
        if self.classes is not None and not self.classes:
            raise ValueError("classes must be None or the names of folders, got ()")

    def _read(self, split: str) -> Texts:
        root, name = os.path.expanduser(self.data_dir), split_name(split)
        used = split_names(split, self.train_split, self.validation_split, self.test_split)
        folders, classes = class_folders(root, name, used, self.classes)
        files, labels = list_files(root, folders[name], classes, "texts", (".txt",))
        good, texts, skipped = [], [], []
        with ThreadPoolExecutor(8) as pool:
            found = pool.map(_read_text, (os.path.join(root, file) for file in files))
            for row, (text, reason) in enumerate(found):
                if not reason:
                    good.append(row)
                    texts.append(text)
                elif self.on_bad_file == "skip":
                    skipped.append((files[row], reason))
                else:
                    raise UserError(
                        f"folder {root}: the file {files[row]} {reason}; repair or remove it, or "
                        "set config.data.on_bad_file='skip' to leave such files out"
                    )
        part = part_by_hash(split, texts)
        rows = [good[k] for k in part]
        return Texts(
            where=f"folder {root}",
            ids=[files[row] for row in rows],
            texts=[texts[k] for k in part],
            labels=labels[rows],
            class_names=tuple(classes),
            skipped=skipped,
        )


def _read_text(path: str) -> tuple[str, str]:
    """The text of a file, and what is wrong with it or ""."""
    try:
        with open(path, "rb", buffering=0) as file:
            text = file.read().decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return "", "is not UTF-8"
    except OSError as error:
        return "", f"cannot be read ({error.strerror})"
    return text, "" if text else "is empty"
