"""The README and the guides in docs/: their code, their commands and the files that they add."""

import pathlib
import re
import shlex
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
IMAGES, TEXTS, TRANSLATION, EXTENDING = (
    (ROOT / "docs" / f"{name}.md").read_text()
    for name in ("images", "texts", "translation", "extending")
)
ALL = (README, IMAGES, TEXTS, TRANSLATION, EXTENDING)


class Addition(NamedTuple):
    """A file that a page adds, or a line that it adds to a file."""

    path: str
    is_line: bool
    code: str


def code(introduction, page=README):
    """The first Python block after a text."""
    assert introduction in page, f"the page no longer says {introduction!r}"
    after = page.split(introduction, 1)[1]
    return re.search(r"^```python\n(.*?)^```", after, re.DOTALL | re.MULTILINE)[1]


def commands(page=README):
    """The words of every `modelzoo COMMAND` in a page's indented blocks."""
    lines = re.findall(r"^    (.*)$", page.replace("\\\n", " "), re.MULTILINE)
    parts = [part.strip() for line in lines for part in line.split("&&")]
    # What a synopsis puts in brackets is none of the words.
    words = [shlex.split(re.sub(r"\[.*?\]", "", p)) for p in parts if p.startswith("modelzoo ")]
    return [line[1:] for line in words]


def command(*start):
    """The one command of the README that starts with these words."""
    (found,) = [words for words in commands() if words[: len(start)] == list(start)]
    return found


def additions(page):
    """What numbered items with Python blocks add: files, and lines in `__init__.py` files."""
    item = r"^\d+\. (One line in )?`([^`]+)`(?:(?!^\d+\. ).)*?^```python\n(.*?)^```"
    found = re.findall(item, page, re.DOTALL | re.MULTILINE)
    return [Addition(path, bool(line), text) for line, path, text in found]
