"""Names of classes in saved configs, which stay valid when a class moves to another module."""

import importlib
from typing import Any

from modelzoo.fields.lazy import TABLES


def public_name(cls: type) -> str:
    """Returns the name of a class for a saved config.

    It is the public name, such as `modelzoo.optimizers.SGD`, if a parent package of the class's
    module lists it, else the names of module and class.
    """
    package = cls.__module__
    while package:
        if TABLES.get(package, {}).get(cls.__name__) == cls.__module__:
            return f"{package}.{cls.__name__}"
        package = package.rpartition(".")[0]
    return f"{cls.__module__}.{cls.__qualname__}"


def find(name: str) -> Any:
    """Returns the object with a name from `public_name`, or None if its module has none.

    Raises:
        ImportError: The module cannot be imported.
    """
    module_name, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module_name), attribute, None)
    except ValueError as error:  # A name without a module.
        raise ImportError(str(error)) from error
