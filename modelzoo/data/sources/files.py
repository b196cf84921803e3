"""Which files of a folder are read: the one rule of training and prediction."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence

_SHOWN = 5  # Reasons in a remark.


def printable(name: str) -> str:
    r"""The name of a file as text: bytes that are not UTF-8 become escapes, such as "\xe9"."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def is_hidden(name: str) -> bool:
    """Whether a file or folder of that name is never read, such as .git and __MACOSX."""
    return name.startswith((".", "__"))


def is_of_model(folder: str) -> bool:
    """Whether a folder is that of a run, of a trained model or of an exported one."""
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    versions = [f"{name}/" for name in names if name.isdigit()]
    learned = {"data.json", "assets", "checkpoints"} & set(names)
    return ("config.json" in names and bool(learned)) or any(
        os.path.exists(f"{folder}/{version}saved_model.pb") for version in ["", *versions]
    )


def list_files(
    folder: str, suffixes: Sequence[str], nested: bool = True, shown: str = ""
) -> tuple[list[str], Counter[str]]:
    """Lists the files with the suffixes, in any case, and counts the others by suffix or reason.

    Hidden files and folders, and folders of models, are left out. Links are followed.

    Args:
        folder: the folder.
        suffixes: such as (".png", ".jpg").
        nested: whether files in folders of the folder are read too.
        shown: what the names of folders begin with in the counts.

    Returns:
        Paths relative to the folder, sorted, and the counts.
    """
    found: list[str] = []
    left_out: Counter[str] = Counter()
    seen: set[str] = set()

    def visit(path: str, prefix: str) -> None:
        real = os.path.realpath(path)
        if real in seen:  # A link to a folder around it.
            return
        seen.add(real)
        with os.scandir(path) as entries:
            for entry in entries:
                name = entry.name
                suffix = os.path.splitext(name)[1].lower()
                if is_hidden(name):
                    left_out["hidden"] += 1
                elif entry.is_dir():
                    if is_of_model(entry.path):
                        left_out[f"in the model's folder {printable(shown + name)}"] += 1
                    elif nested:
                        visit(entry.path, f"{prefix}{name}/")
                    else:
                        inside, others = list_files(entry.path, suffixes)
                        left_out[f"in the folder {printable(shown + name)}"] += (
                            len(inside) + others.total()
                        )
                elif suffix in suffixes:
                    found.append(prefix + name)
                else:
                    left_out[printable(suffix) or "without a suffix"] += 1

    visit(folder, "")
    return sorted(found), left_out


def describe(left_out: Mapping[str, int]) -> str:
    """Such as "20 .webp, 3 hidden", the most frequent first."""
    counts = sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{count:,} {reason}" for reason, count in counts[:_SHOWN]]
    rest = sum(count for _, count in counts[_SHOWN:])
    return ", ".join([*shown, *([f"{rest:,} others"] if rest else [])])
