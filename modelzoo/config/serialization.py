"""Experiments as JSON values, and the differences between two of them."""

import dataclasses
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

from modelzoo.config import files
from modelzoo.config.experiment import Experiment
from modelzoo.fields import field_types, overrides, registry
from modelzoo.fields.errors import UserError

_TYPE = "type"
# No field has this name, since it contains a space. It helps to find a class, and is not part of
# the experiment.
_DEFINED_IN = "defined in"


def to_dict(config: Any) -> Any:
    """Returns a config as JSON values; each dataclass is an object with its class as `type`.

    A class of a config file, or of a module beside it, also records where it is `defined in`.
    """
    if field_types.is_config(config):
        cls = type(config)
        saved = {_TYPE: registry.public_name(cls)}
        if source := files.defined_in(cls):
            saved[_DEFINED_IN] = source
        return saved | {name: to_dict(getattr(config, name)) for name in overrides.field_kinds(cls)}
    if isinstance(config, (list, tuple)):
        return [to_dict(item) for item in config]
    if isinstance(config, dict):
        return {str(key): to_dict(value) for key, value in config.items()}
    return config


def from_dict(saved: Any) -> Experiment:
    """Returns the experiment that `to_dict` saved; missing fields have their defaults.

    Raises:
        UserError: A key or value does not fit; the message names the key.
    """
    experiment = _from_saved(saved, "config")
    if not isinstance(experiment, Experiment):
        raise UserError(f"config must be an Experiment, got {type(experiment).__name__}")
    return experiment


def _from_saved(saved: Any, key: str) -> Any:
    """Builds the dataclasses within JSON values, innermost first."""
    if isinstance(saved, list):
        return tuple(_from_saved(item, f"{key}[{k}]") for k, item in enumerate(saved))
    if not isinstance(saved, dict):
        return saved
    inner = {name: _from_saved(value, f"{key}.{name}") for name, value in saved.items()}
    if not isinstance(saved.get(_TYPE), str):
        return inner
    cls = _find_class(inner.pop(_TYPE), key, inner.pop(_DEFINED_IN, None))
    kinds = overrides.field_kinds(cls)
    if unknown := sorted(inner.keys() - kinds.keys()):
        near = overrides.nearest(f"{key}.{unknown[0]}", [f"{key}.{name}" for name in kinds])
        raise UserError(
            f"unknown key {key}.{unknown[0]} for {cls.__name__}, nearest is {near}: "
            "another version wrote this config"
        )
    if missing := sorted(_required_fields(cls) - inner.keys()):
        raise UserError(
            f"{key}.{missing[0]} of {cls.__name__} is missing: another version wrote this config"
        )
    for name, value in inner.items():
        try:
            inner[name] = field_types.fit(value, kinds[name])
        except ValueError:
            raise overrides.wrong_value(f"{key}.{name}", kinds[name], value) from None
    return overrides.construct(cls, key, lambda: cls(**inner))


def _required_fields(cls: type) -> set[str]:
    """Returns the fields without a default."""
    absent = dataclasses.MISSING
    return {
        field.name
        for field in dataclasses.fields(cls)
        if field.default is absent and field.default_factory is absent
    }


def _find_class(name: str, key: str, source: str | None) -> type:
    """Returns the dataclass with the name, of an installed module or of a module in `source`."""
    module_name, _, class_name = name.rpartition(".")
    if module_name.endswith(".py"):
        _rerun_file(module_name, class_name, key, source)
        cls = getattr(sys.modules[module_name], class_name, None)
    else:
        if source is not None and module_name not in sys.modules:
            files.add_folder(source)
        try:
            cls = registry.find(name)
        except ImportError as error:
            raise UserError(
                f"{key} is {name}, whose module cannot be imported ({error}): "
                "install it or add its folder to PYTHONPATH"
            ) from error
    if isinstance(cls, type) and dataclasses.is_dataclass(cls):
        return cls
    if module_name == "__main__":
        raise UserError(
            f"{key} is the class {class_name} of the training script (__main__): move the class to "
            "a module that Python can import"
        )
    raise UserError(f"{key} is {name}, and {module_name} defines no such dataclass")


def _rerun_file(module_name: str, class_name: str, key: str, source: str | None) -> None:
    """Runs the config file `source`, unless it is loaded or has moved since."""
    module = sys.modules.get(module_name)
    loaded = source == getattr(module, "__file__", None)
    if source and not loaded and (module is None or pathlib.Path(source).exists()):
        try:
            files.run_file(pathlib.Path(source))
        except UserError as error:
            raise UserError(
                f"{key} is the class {class_name} of a file that fails: {error}"
            ) from None
    if module_name not in sys.modules:
        raise UserError(
            f"{key} is the class {class_name} of the config file {module_name}, which is not "
            "loaded: move the class to a module that Python can import"
        )


def difference(before: Any, after: Any) -> list[str]:
    """Returns lines such as `train.batch_size: 128 -> 64` for two experiments or their dicts."""
    return list(_difference(_comparable(before), _comparable(after), ""))


def _comparable(config: Any) -> Any:
    """Returns JSON values, without the files and folders that define the classes."""
    if field_types.is_config(config):
        config = to_dict(config)
    if isinstance(config, list):
        return [_comparable(item) for item in config]
    if isinstance(config, dict):
        return {name: _comparable(value) for name, value in config.items() if name != _DEFINED_IN}
    return config


def _difference(before: Any, after: Any, key: str) -> Iterator[str]:
    if before == after:
        return
    both = isinstance(before, dict) and isinstance(after, dict)
    if both and before.get(_TYPE) == after.get(_TYPE):
        for name in {**before, **after}:
            absent = "(absent)"
            inner = f"{key}.{name}" if key else name
            yield from _difference(before.get(name, absent), after.get(name, absent), inner)
    else:
        yield f"{key}: {_as_text(before)} -> {_as_text(after)}"


def _as_text(saved: Any) -> str:
    """Returns a saved value as an override would be written; for a dataclass, its class."""
    if saved is None or isinstance(saved, bool):
        return str(saved).lower()
    if isinstance(saved, list):
        return ",".join(
            _item_as_text(item) if isinstance(item, list) else _as_text(item) for item in saved
        )
    if isinstance(saved, dict) and isinstance(saved.get(_TYPE), str):
        return saved[_TYPE]
    return str(saved)


def _item_as_text(saved: list) -> str:
    """Returns a list within a list as text: `A=B` for a pair that starts with plain text."""
    pair = len(saved) == 2 and isinstance(saved[0], str) and not {*",='\""} & {*saved[0]}
    return f"{saved[0]}={_as_text(saved[1])}" if pair else str(saved)
