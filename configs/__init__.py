"""The shipped configs: each module's docstring says what it trains, `get_config()` returns it."""

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelzoo.fields import introspection

if TYPE_CHECKING:
    from modelzoo import Experiment


def names() -> list[str]:
    """Names of all shipped configs."""
    return list(introspection.module_files(__path__))


def first_line(name: str) -> str:
    """The first line of a config's docstring, read without importing it."""
    return introspection.first_line(introspection.module_files(__path__)[name])


def nearest(name: str) -> list[str]:
    """Up to three names that are most like `name`."""
    return difflib.get_close_matches(name, names(), cutoff=0.4)


def get(name: str, overrides: Mapping[str, Any] | None = None) -> "Experiment":
    """The experiment of a shipped config, with fields replaced: `{"train.steps": "5 epochs"}`.

    An unknown name or key is a UserError with the nearest.
    """
    # Here, because the classes of an experiment import TensorFlow and the names must not.
    from modelzoo.fields.tf_import import import_tensorflow

    import_tensorflow()
    from modelzoo.config import load

    return load(name, overrides or {})
