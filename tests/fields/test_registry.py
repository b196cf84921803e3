import dataclasses
import importlib
import json
import sys
import types

import pytest

import modelzoo
from modelzoo import Experiment, TrainConfig, config
from modelzoo.data import digits
from modelzoo.fields import registry
from modelzoo.fields.lazy import TABLES
from modelzoo.models.cnn import CNN
from modelzoo.optimizers import SGD, Adam
from modelzoo.optimizers.adam import Moments
from modelzoo.schedules import Cosine
from modelzoo.tasks import Classification


@dataclasses.dataclass(frozen=True)
class Own:
    """A class of a user's."""


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (Experiment, "modelzoo.Experiment"),
        (TrainConfig, "modelzoo.TrainConfig"),
        (Adam, "modelzoo.optimizers.Adam"),
        (Cosine, "modelzoo.schedules.Cosine"),
        (Moments, "modelzoo.optimizers.adam.Moments"),
        (Own, f"{__name__}.Own"),
    ],
)
def test_a_class_is_found_by_its_name(cls, name):
    assert registry.public_name(cls) == name
    assert registry.find(name) is cls


@pytest.mark.parametrize(
    "package", ["data", "decoding", "models", "optimizers", "schedules", "tasks"]
)
def test_every_public_class_is_saved_by_its_public_name(package):
    module = importlib.import_module(f"modelzoo.{package}")
    found = {name: getattr(module, name) for name in TABLES[module.__name__]}
    for name, cls in found.items():
        if isinstance(cls, type):
            assert registry.public_name(cls) == f"modelzoo.{package}.{name}"


def test_unknown_names():
    assert registry.find("modelzoo.optimizers.NoSuch") is None
    with pytest.raises(ImportError):
        registry.find("no_such_package.Net")
    with pytest.raises(ImportError):
        registry.find("Net")


def test_a_class_of_the_same_name_elsewhere_is_not_public():
    @dataclasses.dataclass(frozen=True)
    class SGD:
        pass

    SGD.__module__ = "modelzoo.optimizers.other"
    assert registry.public_name(SGD) == f"modelzoo.optimizers.other.{SGD.__qualname__}"


def test_a_saved_config_still_loads_after_a_class_has_moved(monkeypatch):
    experiment = Experiment(CNN(), Classification(), digits(), SGD(0.3, Cosine()))
    saved = json.loads(json.dumps(config.to_dict(experiment)))

    moved = types.ModuleType("modelzoo.optimizers.moved")
    moved.SGD = type("SGD", (SGD,), {"__module__": moved.__name__})
    monkeypatch.setitem(sys.modules, moved.__name__, moved)
    monkeypatch.setitem(TABLES["modelzoo.optimizers"], "SGD", moved.__name__)

    loaded = config.from_dict(saved)
    assert type(loaded.optimizer) is moved.SGD is modelzoo.optimizers.SGD
    assert loaded.optimizer.learning_rate == 0.3
    assert config.to_dict(loaded) == saved
    assert config.difference(saved, loaded) == []
