"""Two parallel text files: line by line a source and its target."""

import dataclasses
import os

import numpy as np

from modelzoo.data.pair_config import EncodedPairData, Pairs, Side
from modelzoo.data.splits import SPLIT, MissingSplitError, part_by_hash, split_files, split_name
from modelzoo.fields.errors import UserError


@dataclasses.dataclass(frozen=True)
class PairFiles(EncodedPairData):
    """Text files (UTF-8), a text a line: the lines of one number in both are a pair.

    The splits are files of their own where the paths have `{split}` in them, else everything is
    the split "train", to be sliced: "train[:90%]" and "train[90%:]". Which pairs a slice has comes
    of a hash of their sources, so that it is a random part, the same each time; a percentage is one
    of the range of hashes, see `ImageFolder`, and does not part pairs of one source. Within a
    split the order is that of the files. A bad pair counts in every slice of its split.

    Raises UserError where one file has more lines than the other, whatever `on_bad_pair` says: what
    is missing may be missing in the middle.

    Attributes:
        source_path: the file of the sources, such as "data/{split}.en", where `{split}` stands for
            the name of a split.
        target_path: the file of the targets, such as "data/{split}.de".
    """

    source_path: str
    target_path: str

    def __post_init__(self):
        super().__post_init__()
        if (SPLIT in self.source_path) != (SPLIT in self.target_path):
            raise ValueError(
                f"target_path must have {SPLIT} in it where source_path has, got "
                f"{self.target_path!r} beside {self.source_path!r}"
            )

    def _read(self, split: str) -> Pairs:
        name, sides = split_name(split), (self.source_path, self.target_path)
        files = [split_files(path) for path in sides]
        for path, found in zip(sides, files, strict=True):
            if name not in found:
                raise MissingSplitError(
                    f"there is no file {path.replace(SPLIT, name)} of the split {name!r}; "
                    f"{path} has {', '.join(sorted(found)) or 'none'}"
                    if SPLIT in path
                    else f"{path} has no split {name!r}; it has train, and slices of it such as "
                    "'train[:80%]'"
                )
        paths = {"source": files[0][name], "target": files[1][name]}

        def place(row: int, side: Side) -> str:
            return f"{paths[side]}, line {row + 1}"

        sources, targets = map(_lines, paths.values())
        if len(sources) != len(targets):
            raise UserError(
                f"{paths['source']} has {len(sources):,} lines, {paths['target']} has "
                f"{len(targets):,}: as many are needed, for the lines of one number are a pair"
            )
        pairs = zip(sources, ([line] for line in targets), strict=True)
        good, sources, references, skipped = self._decoded(pairs, place)
        part = np.sort(part_by_hash(split, sources)).tolist()
        base = os.path.basename(paths["source"])
        return Pairs(
            where=paths["source"],
            ids=[f"{base}:{good[k] + 1}" for k in part],
            sources=[sources[k] for k in part],
            references=[references[k] for k in part],
            skipped=skipped,
        )


def _lines(path: str) -> list[bytes]:
    """The lines of a file, of which a line feed ends the last or does not."""
    try:
        with open(path, "rb") as file:
            lines = file.read().split(b"\n")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    return lines if lines[-1] else lines[:-1]
