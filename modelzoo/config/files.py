"""Loading an experiment from a shipped config or from a Python file."""

import difflib
import importlib
import pathlib
import sys
import traceback
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from modelzoo.config import mistakes
from modelzoo.config.experiment import Experiment, override
from modelzoo.fields import introspection, overrides
from modelzoo.fields.errors import FieldError, UserError

# Imported by name, since the shipped configs import this package.
_SHIPPED = "modelzoo.configs"

# Folders of the loaded config files, in which `defined_in` looks for modules.
_folders: set[str] = set()


def load(
    name_or_path: str, pairs: Mapping[str, Any] | Sequence[tuple[str, Any]] = ()
) -> Experiment:
    """Returns the experiment of a shipped config or of a file.

    It calls only `get_config()` in the file.

    Args:
        name_or_path: Name of a shipped config, or a path that ends in `.py`.
        pairs: Overrides, see `modelzoo.config.override`.

    Raises:
        UserError: The config does not exist, fails or returns no experiment, or an override is
            wrong.
    """
    if name_or_path.endswith(".py"):
        path = pathlib.Path(name_or_path).expanduser()
        module, where = run_file(path), str(path)
    else:
        module, where = _import_shipped(name_or_path), f"config {name_or_path}"
    get_config = getattr(module, "get_config", None)
    if not callable(get_config):
        raise UserError(f"{where} has no get_config() that returns a modelzoo.Experiment")
    experiment = _guarded(get_config, where)
    if not isinstance(experiment, Experiment):
        raise UserError(
            f"get_config() of {where} must return a modelzoo.Experiment, "
            f"got {type(experiment).__name__}"
        )
    return override(overrides.check(experiment, "config"), pairs)


def _import_shipped(name: str) -> types.ModuleType:
    names = list(introspection.module_files(_shipped_folders()))
    if name not in names:
        near = difflib.get_close_matches(name, names, cutoff=0.4)
        hint = f", nearest is {' or '.join(near)}" if near else ""
        raise UserError(
            f"there is no config {name!r}{hint}; `modelzoo list` shows all, and the path of a "
            "config file must end in .py"
        )
    return _guarded(lambda: importlib.import_module(f"{_SHIPPED}.{name}"), f"config {name}")


def _shipped_folders() -> list[str]:
    return list(importlib.import_module(_SHIPPED).__path__)


def run_file(path: pathlib.Path) -> types.ModuleType:
    """Runs a config file as a module with the name of the file.

    Raises:
        UserError: The file fails; the message has the line number.
    """
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UserError(f"config file {path} cannot be read: {error.strerror}") from None
    # The name omits the folder, so that a run does not depend on the place of the file.
    module = types.ModuleType(path.name)
    module.__file__ = str(path.absolute())
    sys.modules[path.name] = module
    # As in a script, the file can import modules in its folder.
    add_folder(str(path.resolve().parent))
    _guarded(lambda: exec(compile(source, str(path), "exec"), module.__dict__), str(path))
    return module


def add_folder(folder: str) -> None:
    """Makes the modules of a folder importable."""
    _folders.add(folder)
    if folder not in sys.path:
        sys.path.append(folder)  # Last, so that it does not hide other modules.


def defined_in(cls: type) -> str | None:
    """Returns the config file of a class, or the folder of its module.

    It is None for a class of an installed module, which the name is sufficient to find.
    """
    name = cls.__module__
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None or name.endswith(".py"):
        return file
    path = pathlib.Path(file)
    depth = name.count(".") + (path.name == "__init__.py")
    folder = str(path.parents[depth].resolve())
    return folder if folder in _folders and name.partition(".")[0] != "modelzoo" else None


def _guarded(call: Callable[[], Any], where: str) -> Any:
    """Calls; converts an error of a config file to one line with the file's line number."""
    try:
        return call()
    except (Exception, SystemExit) as error:
        if isinstance(error, SyntaxError):
            line, message = error.lineno, error.msg
        else:
            frames = traceback.extract_tb(error.__traceback__)
            # The traceback also has frames of importlib and modelzoo.
            own = [f.lineno for f in frames if _is_config_file(f.filename, where)]
            line, message = (own[-1] if own else None), str(error)
        kind = "" if isinstance(error, (UserError, FieldError)) else f"{type(error).__name__}: "
        if kind and (plain := mistakes.explain(error)):
            kind, message = "", plain
        at = f", line {line}" if line else ""
        raise UserError(f"{where}{at}: {kind}{' '.join(message.split())}".rstrip(": ")) from error


def _is_config_file(filename: str, where: str) -> bool:
    if where.startswith("config "):
        return pathlib.Path(filename).parent in map(pathlib.Path, _shipped_folders())
    return filename == where
