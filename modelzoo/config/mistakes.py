"""Plain words for the usual mistakes in config files."""

import dataclasses
import importlib
import re
import sys
import traceback
import types
from collections.abc import Iterator, Sequence

from modelzoo.fields import field_types, overrides
from modelzoo.fields.lazy import TABLES

_PACKAGES = ("models", "data", "tasks", "optimizers", "schedules", "decoding")


def explain(error: BaseException) -> str | None:
    """Returns what is wrong and what to write instead; None for an error of another kind."""
    if isinstance(error, ImportError):
        return _explain_import(error)
    if isinstance(error, AttributeError) and isinstance(error.obj, types.ModuleType):
        return _explain_name(error.obj.__name__, error.name or "")
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if isinstance(error, TypeError) and (message := _explain_arguments(str(error), frames)):
        return message
    return next(_wrong_types(frames), None)


def _explain_import(error: ImportError) -> str | None:
    module, text = error.name or "", str(error)
    if module.partition(".")[0] != "modelzoo":
        return None
    if isinstance(error, ModuleNotFoundError):
        _import_packages()
        return f"there is no module {module}, nearest is {overrides.nearest(module, TABLES)}"
    name = re.match(r"cannot import name '(\w+)'", text)
    return _explain_name(module, name[1]) if name else None


def _explain_name(module: str, name: str) -> str | None:
    """Explains that a module of this package lacks a public name."""
    if module.partition(".")[0] != "modelzoo":
        return None
    _import_packages()
    for package, names in TABLES.items():
        if name in names:
            return f"{module} has no {name}: import it from {package}"
    public = TABLES.get(module) or [n for n in dir(sys.modules[module]) if n[0] != "_"]
    return f"{module} has no {name}, nearest is {overrides.nearest(name, public)}"


def _import_packages() -> None:
    for package in _PACKAGES:
        importlib.import_module(f"modelzoo.{package}")


def _explain_arguments(text: str, frames: Sequence[types.FrameType]) -> str | None:
    """Explains the message of a TypeError about the arguments of a dataclass."""
    call = re.match(r"(?:\w+\.)*(\w+)\.__init__\(\) (.*)", text)
    fields = _fields_of(call[1], frames) if call else []
    if call is None or not fields:
        return None
    cls, message = call.groups()
    if unknown := re.match(r"got an unexpected keyword argument '(\w+)'", message):
        near = overrides.nearest(unknown[1], fields)
        return f"{cls} has no field {unknown[1]}, nearest is {near}; it has {', '.join(fields)}"
    if missing := re.match(r"missing .* arguments?: (.*)", message):
        return f"{cls} needs {missing[1].replace(chr(39), '')}"
    if message.startswith("takes "):
        return f"{cls} takes its fields by name: {', '.join(f'{name}=' for name in fields)}"
    return None


def _fields_of(name: str, frames: Sequence[types.FrameType]) -> list[str]:
    """Returns the fields of a dataclass of the frames or of any module; [] without one."""
    modules = [getattr(module, "__dict__", {}) for module in list(sys.modules.values())]
    for names in [*(frame.f_globals for frame in frames), *modules]:
        cls = names.get(name)
        if isinstance(cls, type) and dataclasses.is_dataclass(cls):
            return [field.name for field in dataclasses.fields(cls) if field.init]
    return []


def _wrong_types(frames: Sequence[types.FrameType]) -> Iterator[str]:
    """Yields the fields whose wrong type an error in `__post_init__` is due to."""
    for frame in frames:
        config = frame.f_locals.get("self")
        if frame.f_code.co_name == "__post_init__" and field_types.is_config(config):
            cls = type(config)
            for name, kind in overrides.field_kinds(cls).items():
                try:
                    field_types.fit(getattr(config, name), kind)
                except ValueError:
                    key = f"{cls.__name__}.{name}"
                    yield str(overrides.wrong_value(key, kind, getattr(config, name)))
