"""The trained models that ship: beside this file a folder `NAME/` for each.

`config.json` and `spec.json` are its run's, `weights.npz` holds the evaluated weights as float32
arrays `model/PATH`, `card.md` says what the model is, was trained on, scores and is not for.
"""

import difflib
from pathlib import Path

from modelzoo.fields.errors import UserError

WEIGHTS = "weights.npz"


def folders() -> dict[str, Path]:
    """The models' folders by name, sorted."""
    found = [file.parent for folder in __path__ for file in Path(folder).glob(f"*/{WEIGHTS}")]
    return {folder.name: folder for folder in sorted(found, key=lambda folder: folder.name)}


def names() -> list[str]:
    """Names of all trained models that ship."""
    return list(folders())


def card(name: str) -> str:
    """The text of a model's card, as Markdown."""
    return (folders()[name] / "card.md").read_text()


def first_line(name: str) -> str:
    """What a model's card begins with: what the model is, and its score on the test split."""
    _, about, score, *_ = card(name).split("\n\n")
    return f"{about} {score.partition(' (')[0]}."


def is_trained(folder: str | Path) -> bool:
    """Whether the folder holds a trained model as they ship: weights alone."""
    return (Path(folder) / WEIGHTS).is_file()


def find(name_or_folder: str | Path) -> Path:
    """The folder of that path where there is one, else of the model of that name that ships.

    Raises UserError with the nearest name where there is neither.
    """
    path = Path(name_or_folder).expanduser()
    if path.is_dir():
        return path
    there = folders()
    if str(name_or_folder) in there:
        return there[str(name_or_folder)]
    near = difflib.get_close_matches(path.name, there, n=1, cutoff=0.4)
    hint = f", nearest is {near[0]}" if near else ""
    raise UserError(
        f"no folder and no trained model is called {str(name_or_folder)!r}{hint}; "
        "`modelzoo list` shows the models"
    )
