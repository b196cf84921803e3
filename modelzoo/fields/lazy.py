"""Public names of a package that are imported on first use."""

import ast
import importlib
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from modelzoo.fields.tf_import import import_tensorflow

TABLES: dict[str, dict[str, str]] = {}
"""For each package, the public names and the full names of the modules that define them."""


def lazy_names(
    package: str, file: str, without_tensorflow: Collection[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Returns `__getattr__`, `__dir__` and `__all__` of a package.

    The names are the imports of the package under `if TYPE_CHECKING:`, where type checkers find
    them. The first use of a name imports it:

        if TYPE_CHECKING:
            from modelzoo.optimizers.sgd import SGD as SGD
        else:
            __getattr__, __dir__, __all__ = lazy_names(__name__, __file__)

    To add a class, add its file and one line in the package.

    Args:
        package: `__name__` of the package.
        file: `__file__` of the package.
        without_tensorflow: Names whose import needs no TensorFlow. All others import TensorFlow
            first, without its log lines.
    """
    table = TABLES[package] = _type_checking_imports(Path(file).read_text())

    def get_name(name: str) -> Any:
        if name not in table:
            message = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(message, name=name, obj=sys.modules.get(package))
        if name not in without_tensorflow:
            import_tensorflow()
        if table[name] == package:  # A module of the package.
            return importlib.import_module(f"{package}.{name}")
        return getattr(importlib.import_module(table[name]), name)

    def list_names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *table})

    return get_name, list_names, sorted(table)


def _type_checking_imports(source: str) -> dict[str, str]:
    """Returns the names and modules of the `from` imports under `if TYPE_CHECKING:`."""
    blocks = [node for node in ast.parse(source).body if isinstance(node, ast.If)]
    return {
        alias.name: statement.module or ""
        for block in blocks
        if isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
