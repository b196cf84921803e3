"""Experiment: the config that composes the rooms' own; its files, overrides and JSON."""

import dataclasses
import importlib
import pathlib
import sys
import traceback
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from modelzoo import configs
from modelzoo.distribution.strategy import DistributeConfig
from modelzoo.fields import field_types as values
from modelzoo.fields import overrides
from modelzoo.fields.errors import UserError
from modelzoo.serving.saved_model import ExportConfig
from modelzoo.training.config import EvalConfig, TrainConfig

_TYPE = "type"
# No field's name. A file, or the folder of a module, that has to be found again; where it lies is
# no part of the experiment.
_SOURCE = "defined in"
# The folders of the config files that were loaded: modules beside them are found there only.
_folders: set[str] = set()


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that a run is made of.

    model: what is trained, such as `modelzoo.models.resnet.ResNet`.
    task: what is learned, such as `modelzoo.tasks.image_classification.ImageClassification`.
    data: the source, such as `modelzoo.data.tfds_images.TfdsImages`.
    optimizer: one of `modelzoo.optimizers.optimizer`.
    train, eval, distribute, export: settings of the loop, its evaluations, devices and export.
    seed: of initial weights, order, augmentation and dropout; a whole number from 0.
    """

    model: Any
    task: Any
    data: Any
    optimizer: Any
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    eval: EvalConfig = dataclasses.field(default_factory=EvalConfig)
    distribute: DistributeConfig = dataclasses.field(default_factory=DistributeConfig)
    export: ExportConfig = dataclasses.field(default_factory=ExportConfig)
    seed: int = 0

    def __post_init__(self):
        for name in ("model", "task", "data", "optimizer"):
            if not values.is_config(getattr(self, name)):
                raise ValueError(f"{name} must be a dataclass, got {getattr(self, name)!r}")
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed must be from 0 to 2147483647, got {self.seed!r}")


def load(
    name_or_path: str, pairs: Mapping[str, Any] | Sequence[tuple[str, Any]] = ()
) -> Experiment:
    """The experiment of a shipped config or of a file that ends in `.py`, with overrides.

    `pairs` are dotted keys and values, as `override` takes them. Only the file's
    `get_config()` is called. Raises UserError with one line for every mistake in them.
    """
    if name_or_path.endswith(".py"):
        path = pathlib.Path(name_or_path).expanduser()
        get_config, where = _from_file(path), str(path)
    else:
        get_config, where = _from_package(name_or_path), f"config {name_or_path}"
    experiment = _guard(get_config, where)
    if not isinstance(experiment, Experiment):
        raise UserError(
            f"get_config() of {where} must return a modelzoo.config.Experiment, "
            f"got {type(experiment).__name__}"
        )
    return override(overrides.check(experiment, "config"), pairs)


def override(
    experiment: Experiment, pairs: Mapping[str, Any] | Sequence[tuple[str, Any]]
) -> Experiment:
    """The experiment with fields replaced, such as `{"train.steps": "10 epochs", "seed": 1}`.

    Text is read as on the command line; any other value, a dataclass too, is taken as it is.
    """
    return overrides.apply(experiment, pairs, "config")


def _from_package(name: str) -> Callable[[], Any]:
    names = configs.names()
    if name not in names:
        near = configs.nearest(name)
        hint = f", nearest is {' or '.join(near)}" if near else ""
        raise UserError(
            f"no config is named {name!r}{hint}; `modelzoo list` shows all, and a file of your "
            "own ends in .py"
        )
    module = _guard(lambda: importlib.import_module(f"modelzoo.configs.{name}"), f"config {name}")
    return _get_config(module, f"config {name}")


def _from_file(path: pathlib.Path) -> Callable[[], Any]:
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UserError(f"config file {path} cannot be read: {error.strerror}") from None
    # Known by the file's name, so that where it lies does not matter to a run.
    module = types.ModuleType(path.name)
    module.__file__ = str(path.absolute())
    sys.modules[path.name] = module
    # As for a script, modules beside the file can be imported.
    _add_folder(str(path.resolve().parent))
    _guard(lambda: exec(compile(source, str(path), "exec"), module.__dict__), str(path))
    return _get_config(module, str(path))


def _add_folder(folder: str) -> None:
    _folders.add(folder)
    if folder not in sys.path:
        sys.path.append(folder)  # Last, so that no other module is hidden.


def _get_config(module: types.ModuleType, where: str) -> Callable[[], Any]:
    get_config = getattr(module, "get_config", None)
    if not callable(get_config):
        raise UserError(f"{where} has no get_config() that returns a modelzoo.config.Experiment")
    return get_config


def _guard(call: Callable[[], Any], where: str) -> Any:
    """Calls; whatever a config file raises becomes one line with the file's own line number."""
    try:
        return call()
    except (Exception, SystemExit) as error:
        if isinstance(error, SyntaxError):
            line, said = error.lineno, error.msg
        else:
            frames = traceback.extract_tb(error.__traceback__)
            # The last frame in the config file; frames of importlib and of the rooms lie around it.
            own = [f.lineno for f in frames if _is_config_file(f.filename, where)]
            line, said = (own[-1] if own else None), str(error)
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        at = f", line {line}" if line else ""
        raise UserError(f"{where}{at}: {kind}{' '.join(said.split())}".rstrip(": ")) from error


def _is_config_file(filename: str, where: str) -> bool:
    if where.startswith("config "):
        return pathlib.Path(filename).parent in map(pathlib.Path, configs.__path__)
    return filename == where


def to_dict(config: Any) -> Any:
    """A config as JSON values: each dataclass an object with its class's name as `type`.

    One of a config file, or of a module beside it, also says where it is `defined in`.
    """
    if values.is_config(config):
        cls = type(config)
        kept = {name: to_dict(getattr(config, name)) for name in overrides.field_kinds(cls)}
        source = _source(cls)
        where = {} if source is None else {_SOURCE: source}
        return {_TYPE: f"{cls.__module__}.{cls.__qualname__}", **where, **kept}
    if isinstance(config, (list, tuple)):
        return [to_dict(item) for item in config]
    if isinstance(config, dict):
        return {str(key): to_dict(value) for key, value in config.items()}
    return config


def _source(cls: type) -> str | None:
    """The config file of a class, or the folder of a config file that its module was found in."""
    name = cls.__module__
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None or name.endswith(".py"):
        return file
    path = pathlib.Path(file)
    depth = name.count(".") + (path.name == "__init__.py")
    folder = str(path.parents[depth].resolve())
    return folder if folder in _folders and name.partition(".")[0] != "modelzoo" else None


def from_dict(saved: Any) -> Experiment:
    """Rebuilds an experiment from `to_dict`'s values; a UserError names what does not fit.

    A field that is missing there, as it was added since, takes its default.
    """
    experiment = _revive(saved, "config")
    if not isinstance(experiment, Experiment):
        raise UserError(f"config must be an Experiment, got {type(experiment).__name__}")
    return experiment


def _revive(saved: Any, key: str) -> Any:
    """Builds the dataclasses within JSON values, innermost first."""
    if isinstance(saved, list):
        return tuple(_revive(item, f"{key}[{k}]") for k, item in enumerate(saved))
    if not isinstance(saved, dict):
        return saved
    inner = {name: _revive(value, f"{key}.{name}") for name, value in saved.items()}
    if not isinstance(saved.get(_TYPE), str):
        return inner
    cls = _class(inner.pop(_TYPE), key, inner.pop(_SOURCE, None))
    kinds = overrides.field_kinds(cls)
    if unknown := sorted(inner.keys() - kinds.keys()):
        near = overrides.nearest(f"{key}.{unknown[0]}", [f"{key}.{name}" for name in kinds])
        raise UserError(
            f"unknown key {key}.{unknown[0]} for {cls.__name__}, nearest is {near}: "
            "another version of it wrote this config"
        )
    if missing := sorted(_required(cls) - inner.keys()):
        raise UserError(
            f"{key}.{missing[0]} of {cls.__name__} is missing: another version wrote this config"
        )
    for name, value in inner.items():
        try:
            inner[name] = values.fit(value, kinds[name])
        except ValueError:
            raise overrides.wrong_value(f"{key}.{name}", kinds[name], value) from None
    return overrides.construct(cls, key, lambda: cls(**inner))


def _required(cls: type) -> set[str]:
    """The fields without a default."""
    absent = dataclasses.MISSING
    return {
        field.name
        for field in dataclasses.fields(cls)
        if field.default is absent and field.default_factory is absent
    }


def _class(name: str, key: str, source: str | None) -> type:
    """The dataclass of that full name, of a module that Python finds by name or in `source`."""
    module_name, _, class_name = name.rpartition(".")
    module = sys.modules.get(module_name)
    if module_name.endswith(".py"):
        # What is loaded may be another file of this name, or this one, moved since.
        known = source in (None, getattr(module, "__file__", None))
        if not known and (module is None or pathlib.Path(source).exists()):
            try:
                _from_file(pathlib.Path(source))
            except UserError as error:
                raise UserError(
                    f"{key} is the class {class_name} of a file that fails: {error}"
                ) from None
            module = sys.modules.get(module_name)
        if module is None:
            raise UserError(
                f"{key} is the class {class_name} of the config file {module_name}, which is not "
                "loaded here: put the class into a module that Python can import"
            )
    elif module is None:
        if source is not None:
            _add_folder(source)
        try:
            module = importlib.import_module(module_name)
        except (ImportError, ValueError) as error:
            raise UserError(
                f"{key} is {name}, whose module cannot be imported ({error}): "
                "install it or put its folder on PYTHONPATH"
            ) from error
    cls = getattr(module, class_name, None)
    if isinstance(cls, type) and dataclasses.is_dataclass(cls) and cls.__module__ == module_name:
        return cls
    if module_name == "__main__":
        raise UserError(
            f"{key} is the class {class_name} of the script that trained it (__main__): "
            "put the class into a module that Python can import"
        )
    raise UserError(f"{key} is {name}, and {module_name} defines no such dataclass")


def difference(before: Any, after: Any) -> list[str]:
    """Lines such as `train.batch_size: 128 -> 64` between two experiments or their dicts."""
    return list(_difference(_as_saved(before), _as_saved(after), ""))


def _as_saved(config: Any) -> Any:
    """JSON values, without where the classes are defined."""
    if values.is_config(config):
        config = to_dict(config)
    if isinstance(config, list):
        return [_as_saved(item) for item in config]
    if isinstance(config, dict):
        return {name: _as_saved(value) for name, value in config.items() if name != _SOURCE}
    return config


def _difference(before: Any, after: Any, key: str):
    if before == after:
        return
    both = isinstance(before, dict) and isinstance(after, dict)
    if both and before.get(_TYPE) == after.get(_TYPE):
        for name in {**before, **after}:
            absent = "(absent)"
            inner = f"{key}.{name}" if key else name
            yield from _difference(before.get(name, absent), after.get(name, absent), inner)
    else:
        yield f"{key}: {_text(before)} -> {_text(after)}"


def _text(saved: Any) -> str:
    """A value as an override would write it; of a dataclass the full name."""
    if saved is None or isinstance(saved, bool):
        return str(saved).lower()
    if isinstance(saved, list):
        return ",".join(_item(item) if isinstance(item, list) else _text(item) for item in saved)
    if isinstance(saved, dict) and isinstance(saved.get(_TYPE), str):
        return saved[_TYPE]
    return str(saved)


def _item(saved: list) -> str:
    """A list within a list as an override would write it, if it is a pair that begins with text."""
    pair = len(saved) == 2 and isinstance(saved[0], str) and not {*",='\""} & {*saved[0]}
    return f"{saved[0]}={_text(saved[1])}" if pair else str(saved)
