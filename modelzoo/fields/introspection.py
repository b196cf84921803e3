"""Modules and classes by their files: names and first docstring lines, without an import."""

import ast
import pathlib
from collections.abc import Iterable


def files(folders: Iterable[str]) -> dict[str, pathlib.Path]:
    """Public modules (name to file) in a package's `__path__`, sorted by name."""
    found = [path for folder in folders for path in pathlib.Path(folder).glob("[!_]*.py")]
    return {path.stem: path for path in sorted(found, key=lambda path: path.stem)}


def first_line(path: pathlib.Path) -> str:
    """The first line of a file's docstring; empty where it has none or is no Python."""
    try:
        text = ast.get_docstring(ast.parse(path.read_bytes())) or ""
    except (SyntaxError, ValueError):
        return ""
    return text.partition("\n")[0]


def classes(path: pathlib.Path) -> dict[str, str]:
    """Public classes of a file in their order, with the first lines of their docstrings.

    Those are left out that say of themselves to be a base.
    """
    nodes = [node for node in ast.parse(path.read_bytes()).body if isinstance(node, ast.ClassDef)]
    lines = {node.name: (ast.get_docstring(node) or "").partition("\n")[0] for node in nodes}
    return {
        name: line
        for name, line in lines.items()
        if not name.startswith("_") and not line.startswith("Base of")
    }
