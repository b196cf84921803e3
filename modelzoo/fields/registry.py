"""Names of classes in saved configs, by which a class is found again after it has moved."""

import importlib
from typing import Any

from modelzoo.fields.lazy import TABLES


def public_name(cls: type) -> str:
    """Returns the name of a class for a saved config.

    It is the public name, such as `modelzoo.optimizers.SGD`, if a package above the class's module
    lists it; else the module and the class.
    """
    package = cls.__module__
    while package:
        if TABLES.get(package, {}).get(cls.__name__) == cls.__module__:
            return f"{package}.{cls.__name__}"
        package = package.rpartition(".")[0]
    return f"{cls.__module__}.{cls.__qualname__}"


def find(name: str) -> Any:
    """Returns what a name from `public_name` means now, or None if its module lacks it.

    Raises ImportError where the module cannot be imported.
    """
    module_name, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module_name), attribute, None)
    except ValueError as error:  # A name without a module.
        raise ImportError(str(error)) from error
