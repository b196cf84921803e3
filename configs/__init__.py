"""The shipped configs, one per module; `get_config()` of each returns the experiment."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelzoo.fields import introspection
from modelzoo.fields.tf_import import import_tensorflow

if TYPE_CHECKING:
    from modelzoo.config import Experiment


def names() -> list[str]:
    """Returns the names of all shipped configs."""
    return list(introspection.module_files(__path__))


def first_line(name: str) -> str:
    """Returns the first line of a config's docstring, without importing it."""
    return introspection.first_line(introspection.module_files(__path__)[name])


def get(name: str, overrides: Mapping[str, Any] | None = None) -> "Experiment":
    """Returns the experiment of a shipped config, with fields replaced.

    Args:
        name: Name of the config; `names` lists all.
        overrides: Dotted keys and values, see `modelzoo.config.override`.

    Raises:
        UserError: The name or a key is unknown; the message suggests the nearest one.

    Example:
        >>> get("digits_cnn", {"train.steps": "5 epochs"}).train.steps
        '5 epochs'
    """
    # Imported on use: the classes of an experiment import TensorFlow, and `names` must not.
    import_tensorflow()
    from modelzoo.config import load

    return load(name, overrides or {})
