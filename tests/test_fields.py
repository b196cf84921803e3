"""Every config field has a test of its effect, marked `pytest.mark.field("TrainConfig.steps")`.

The key names the class that declares the field: an inherited one counts once. Fields that hold
another config are covered by that config's own fields.
"""

import ast
import dataclasses
import importlib
import inspect
import pathlib
import pkgutil
import textwrap
from typing import Any

import pytest

import modelzoo.data
import modelzoo.models
import modelzoo.optimizers
import modelzoo.schedules
import modelzoo.tasks
from modelzoo import Experiment
from modelzoo.data.dataset import Dataset
from modelzoo.data.inputs.input import Field
from modelzoo.data.sources.source import Source
from modelzoo.data.tokenizers.tokenizer import TokenizerConfig
from modelzoo.fields import field_types as values
from modelzoo.fields import overrides
from modelzoo.optimizers import Optimizer
from modelzoo.schedules.schedule import Schedule
from modelzoo.tasks.task import TaskConfig

TESTS = pathlib.Path(__file__).parent
PACKAGES = (
    modelzoo.data,
    modelzoo.models,
    modelzoo.optimizers,
    modelzoo.schedules,
    modelzoo.tasks,
)
BASES = (Dataset, Field, Optimizer, Schedule, Source, TaskConfig, TokenizerConfig)


def is_config_class(thing: Any) -> bool:
    return isinstance(thing, type) and dataclasses.is_dataclass(thing) and thing.__name__[0] != "_"


def is_variant(thing: Any) -> bool:
    """Whether a class is what a field of an experiment, or of its data, may hold."""
    is_model = hasattr(thing, "build") and hasattr(thing, "input_kinds")
    return is_config_class(thing) and (is_model or issubclass(thing, BASES))


def variants() -> list[type]:
    """The configs of models, tasks, data, optimizers and schedules."""
    found = []
    for package in PACKAGES:
        for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            module = importlib.import_module(info.name)
            own = [thing for thing in vars(module).values() if is_variant(thing)]
            found += [cls for cls in own if cls.__module__ == module.__name__]
    return found


def held_by(cls: type) -> set[type]:
    """Config classes that are annotations, defaults or bases of a config's fields."""
    found = {base for base in cls.__mro__ if is_config_class(base)}
    kinds = overrides.field_kinds(cls)
    for field in dataclasses.fields(cls):
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        held = {type(default)} if values.is_config(default) else set()
        found |= held | {kinds[field.name]} | set(getattr(kinds[field.name], "__args__", ()))
    return set(filter(is_config_class, found))


def config_classes(roots: list[type]) -> set[type]:
    """All config classes within reach."""
    found, waiting = set(), set(roots)
    while waiting:
        cls = waiting.pop()
        found.add(cls)
        waiting |= held_by(cls) - found
    return found


def field_keys(classes: set[type]) -> set[str]:
    """`Class.field` of every field that holds values of its own."""
    keys = set()
    for cls in classes:
        kinds = overrides.field_kinds(cls)
        own = inspect.get_annotations(cls)
        keys |= {
            f"{cls.__name__}.{name}"
            for name, kind in kinds.items()
            if name in own and kind is not Any and not values.is_config_kind(kind)
        }
    return keys


def marked_keys(source: str) -> set[str]:
    """The keys of `pytest.mark.field("...", ...)` calls in a test file's text."""
    calls = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.field"
    ]
    return {ast.literal_eval(argument) for call in calls for argument in call.args}


def all_marked_keys() -> set[str]:
    files = [path for path in TESTS.rglob("test_*.py") if path != pathlib.Path(__file__)]
    return set().union(*(marked_keys(path.read_text()) for path in files))


def all_field_keys() -> set[str]:
    return field_keys(config_classes([Experiment, *variants()]))


def test_every_field_has_a_test_of_its_effect():
    missing = sorted(all_field_keys() - all_marked_keys())
    assert not missing, "no test is marked with pytest.mark.field for: " + ", ".join(missing)


def test_every_mark_names_a_field():
    keys = all_field_keys()
    unknown = [
        f"{key} (nearest is {overrides.nearest(key, keys)})"
        for key in sorted(all_marked_keys() - keys)
    ]
    assert not unknown, "marked, but no config has such a field: " + ", ".join(unknown)


def test_the_fields_of_all_packages_are_found():
    some = {
        "Recipe.seed",
        "TrainConfig.steps",
        "EvalConfig.patience",
        "DistributeConfig.devices",
        "ExportConfig.at_end",
        "Optimizer.weight_decay",
        "SGD.nesterov",
        "Cosine.final",
        "ResNet.depth",
        "Classification.label_smoothing",
        "TrainConfig.tokens_per_batch",
        "Dataset.on_bad",
        "Field.columns",
        "Image.test_views",
        "Text.lengths",
        "Series.horizon",
        "Npz.path",
        "TokenLabels.of",
        "TokenizerConfig.pad",
    }
    keys = all_field_keys()
    assert some <= keys
    assert not {"Experiment.train", "Experiment.model", "Optimizer.schedule"} & keys


def test_every_field_can_be_overridden_and_kept_in_json():
    for cls in config_classes([Experiment, *variants()]):
        assert cls.__dataclass_params__.frozen, cls
        for name, kind in overrides.field_kinds(cls).items():
            assert name != "type", f"{cls.__name__}.type would hide the class's name in JSON"
            # A TypeError where the annotation is none that a text or JSON can be fitted to.
            with pytest.raises(ValueError):
                values.fit(object(), kind)


@dataclasses.dataclass(frozen=True)
class Inner:
    width: int = 1


@dataclasses.dataclass(frozen=True)
class Base:
    inherited: int = 1
    changed: int = 1
    inner: Inner | None = None
    held: Any = Inner()


@dataclasses.dataclass(frozen=True)
class Derived(Base):
    changed: int = 2
    added: tuple[int, ...] = ()


def test_a_field_counts_where_it_is_declared():
    assert field_keys(config_classes([Derived])) == {
        "Base.inherited",
        "Base.changed",
        "Base.inner",
        "Derived.changed",
        "Derived.added",
        "Inner.width",
    }


def test_marks_are_found_on_functions_classes_cases_and_modules():
    source = """
        import pytest
        pytestmark = pytest.mark.field("A.a")
        @pytest.mark.field("B.b", "C.c")
        @pytest.mark.slow("D.d")
        def test_it(): ...
        class TestIt:
            @pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.field("E.e"))])
            def test_it(self): "pytest.mark.field('F.f')"
    """
    assert marked_keys(textwrap.dedent(source)) == {"A.a", "B.b", "C.c", "E.e"}
