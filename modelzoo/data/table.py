"""Images that a table names, with what is learned of them in its columns."""

import dataclasses
import os
from collections.abc import Sequence

from modelzoo.data.files import FileImages, Files
from modelzoo.data.rows import BadLineError, Cells, text_of
from modelzoo.data.source import Source
from modelzoo.data.splits import by_hash, split_name, split_names
from modelzoo.data.table_targets import Table


@dataclasses.dataclass(frozen=True)
class ImageTable(Table, FileImages):
    """PNG, JPEG, GIF and BMP files of any size that a table names, see `Table`.

    Rows are ordered by a hash of their image's path, so that a slice is a random part, the same
    each time; a percentage is one of the range of hashes, see `ImageFolder`.

    A line with too few or too many columns, a missing image file, a target that is none, or bytes
    that are not UTF-8 is a bad image: `on_bad_image` leaves it out too. It counts in every slice of
    its split, and in all splits where it does not tell its own.

    Attributes:
        image_column: the column of the images' paths, relative to the table's folder.
    """

    image_column: str = "path"

    def __post_init__(self):
        super().__post_init__()
        if self.targets == "labels":
            raise ValueError("targets must be 'class', 'tags' or 'values', got 'labels'")

    def _open(self, split: str, encoded: bool = False) -> Source:
        name = split_name(split)
        used = split_names(split, self.train_split, self.validation_split, self.test_split)
        fields = {"image_column": (self.image_column,)}
        table = self._read_rows(used, fields, self._file, "on_bad_image")
        chosen = table.part(split, lambda row: row.item)
        names = self._names([row for row in table.rows if row.split in used])

        def first() -> Sequence[str]:
            # The training images' whichever split is opened.
            base = split_name(self.train_split)
            splits = {row.split for row in table.rows}
            files = [row.item for row in table.of(base if base in splits else name)]
            return [files[k] for k in by_hash(files)[0]]

        found = Files(
            where=f"table {table.path.replace('{split}', name)}",
            root=os.path.dirname(table.path),
            files=[row.item for row in chosen],
            labels=self._labels(chosen, names),
            class_names=names,
            targets=self.targets,
        )
        source = self._open_files(found, first, encoded)
        if self.group_column is not None:
            groups = {row.item: row.group for row in chosen}
            source.groups = [groups[file] for file in source.ids]
        source.skipped[:0] = table.skipped_in(split)
        return source

    def _file(self, cells: Cells) -> str:
        file, folder = text_of(cells, self.image_column), os.path.dirname(self.path)
        if not os.path.isfile(os.path.join(os.path.expanduser(folder), file)):
            raise BadLineError(f"there is no image file {file!r} in {folder or '.'}")
        return file
