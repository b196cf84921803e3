"""The shipped trained models, each in a folder `NAME/` beside this file.

`config.json` and `data.json` come from its run. `weights.npz` holds the evaluated weights as
float32 arrays `model/PATH`. `card.md` describes the model, its data, its metrics and its limits.
"""

import difflib
from pathlib import Path

from modelzoo.fields.errors import UserError

WEIGHTS = "weights.npz"


def folders() -> dict[str, Path]:
    """Returns the folders of the models by name, sorted."""
    models = [file.parent for folder in __path__ for file in Path(folder).glob(f"*/{WEIGHTS}")]
    return {folder.name: folder for folder in sorted(models, key=lambda folder: folder.name)}


def names() -> list[str]:
    """Returns the names of all shipped models."""
    return list(folders())


def card(name: str) -> str:
    """Returns the text of a model's card, as Markdown."""
    return (folders()[name] / "card.md").read_text()


def first_line(name: str) -> str:
    """Returns the description of the model and its test metric, from the start of its card."""
    _, about, metric, *_ = card(name).split("\n\n")
    return f"{about} {metric.partition(' (')[0]}."


def is_trained(folder: str | Path) -> bool:
    """Whether the folder holds a model in the format of shipped models, with weights only."""
    return (Path(folder) / WEIGHTS).is_file()


def find(name_or_folder: str | Path) -> Path:
    """Returns the local folder of that path, else the folder of the shipped model of that name.

    Raises:
        UserError: neither exists; the message suggests the nearest name.
    """
    path = Path(name_or_folder).expanduser()
    if path.is_dir():
        return path
    shipped = folders()
    if str(name_or_folder) in shipped:
        return shipped[str(name_or_folder)]
    near = difflib.get_close_matches(path.name, shipped, n=1, cutoff=0.4)
    hint = f", nearest is {near[0]}" if near else ""
    raise UserError(
        f"no folder and no trained model is called {str(name_or_folder)!r}{hint}; "
        "`modelzoo list` shows the models"
    )
