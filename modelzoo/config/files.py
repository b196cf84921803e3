"""Loading an experiment from a shipped config or from a Python file."""

import difflib
import importlib
import pathlib
import sys
import traceback
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from modelzoo.config.experiment import Experiment, override
from modelzoo.fields import introspection, overrides
from modelzoo.fields.errors import FieldError, UserError

# Imported by name, as every config is: the shipped configs import this package.
_SHIPPED = "modelzoo.configs"

# The folders of the config files loaded so far: only there are modules beside a file found.
_folders: set[str] = set()


def load(
    name_or_path: str, pairs: Mapping[str, Any] | Sequence[tuple[str, Any]] = ()
) -> Experiment:
    """Returns the experiment of a shipped config or of a file.

    Calls nothing in the file but `get_config()`. Raises UserError with one line for every mistake.

    Args:
        name_or_path: Name of a shipped config, or a path that ends in `.py`.
        pairs: Overrides, see `modelzoo.config.override`.
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
            f"no config is named {name!r}{hint}; `modelzoo list` shows all, and the path of your "
            "own file must end in .py"
        )
    return _guarded(lambda: importlib.import_module(f"{_SHIPPED}.{name}"), f"config {name}")


def _shipped_folders() -> list[str]:
    return list(importlib.import_module(_SHIPPED).__path__)


def run_file(path: pathlib.Path) -> types.ModuleType:
    """Runs a config file as a module with the name of the file.

    Raises UserError with the line number where the file fails.
    """
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UserError(f"config file {path} cannot be read: {error.strerror}") from None
    # The folder is not part of the name, so a run does not depend on where the file is.
    module = types.ModuleType(path.name)
    module.__file__ = str(path.absolute())
    sys.modules[path.name] = module
    # As for a script, modules beside the file can be imported.
    add_folder(str(path.resolve().parent))
    _guarded(lambda: exec(compile(source, str(path), "exec"), module.__dict__), str(path))
    return module


def add_folder(folder: str) -> None:
    """Lets modules of a folder be imported."""
    _folders.add(folder)
    if folder not in sys.path:
        sys.path.append(folder)  # Last, so that it hides no other module.


def defined_in(cls: type) -> str | None:
    """Returns the config file of a class, or the folder in which its module was found.

    None for a class of an installed module, which its name is enough to find.
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
    """Calls; turns any error of a config file into one line with the file's line number."""
    try:
        return call()
    except (Exception, SystemExit) as error:
        if isinstance(error, SyntaxError):
            line, said = error.lineno, error.msg
        else:
            frames = traceback.extract_tb(error.__traceback__)
            # Frames of importlib and of modelzoo surround those of the config file.
            own = [f.lineno for f in frames if _is_config_file(f.filename, where)]
            line, said = (own[-1] if own else None), str(error)
        kind = "" if isinstance(error, (UserError, FieldError)) else f"{type(error).__name__}: "
        at = f", line {line}" if line else ""
        raise UserError(f"{where}{at}: {kind}{' '.join(said.split())}".rstrip(": ")) from error


def _is_config_file(filename: str, where: str) -> bool:
    if where.startswith("config "):
        return pathlib.Path(filename).parent in map(pathlib.Path, _shipped_folders())
    return filename == where
