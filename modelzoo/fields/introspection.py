"""Names and first docstring lines of modules and classes, read from files without an import."""

import ast
import importlib
import importlib.util
import pathlib
from collections.abc import Iterable

from modelzoo.fields.lazy import TABLES


def module_files(folders: Iterable[str]) -> dict[str, pathlib.Path]:
    """Returns the public modules (name to file) in a package's `__path__`, sorted by name."""
    paths = [path for folder in folders for path in pathlib.Path(folder).glob("[!_]*.py")]
    return {path.stem: path for path in sorted(paths, key=lambda path: path.stem)}


def first_line(path: pathlib.Path) -> str:
    """Returns the first line of a file's docstring, or "" without a docstring or Python code."""
    try:
        text = ast.get_docstring(ast.parse(path.read_bytes())) or ""
    except (SyntaxError, ValueError):
        return ""
    return text.partition("\n")[0]


def public_classes(package: str, folder: str = "") -> dict[str, str]:
    """Returns the public classes of a package with the first lines of their docstrings.

    Omits classes whose docstring starts with "Base of". Imports the package, but not the modules
    that define its public names.

    Args:
        package: A package with lazy public names.
        folder: A package within it; only classes defined there are returned.
    """
    importlib.import_module(package)
    within = f"{package}.{folder}." if folder else package
    lines = {}
    for name, module in TABLES.get(package, {}).items():
        if module.startswith(within):
            spec = importlib.util.find_spec(module)
            if spec is None or spec.origin is None:
                continue
            tree = ast.parse(pathlib.Path(spec.origin).read_bytes())
            for node in tree.body:
                if isinstance(node, ast.ClassDef) and node.name == name:
                    line = (ast.get_docstring(node) or "").partition("\n")[0]
                    if not line.startswith("Base of"):
                        lines[name] = line
    return dict(sorted(lines.items(), key=lambda item: item[0].lower()))
