"""An optimizer is added by one file, and by one line in the package for a public name."""

import math
import pathlib

import pytest
import runs

import modelzoo.optimizers as package
from modelzoo import UserError, config, train
from modelzoo.fields import registry
from modelzoo.fields.introspection import public_classes
from modelzoo.fields.lazy import TABLES, lazy_names

OPTIMIZER = '''
"""Sign descent."""

import dataclasses

import keras

from modelzoo.fields.checks import check_positive
from modelzoo.optimizers import Optimizer


@dataclasses.dataclass(frozen=True)
class SignSGD(Optimizer):
    """Sign of the gradient (Bernstein et al. 2018).

    scale: factor of each step.
    """

    scale: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        check_positive(scale=self.scale)

    def build(self):
        return SignDescent(self)


class SignDescent(keras.optimizers.Optimizer):
    def __init__(self, config):
        super().__init__(float(config.learning_rate), name="signsgd")
        self.config = config

    def update_step(self, gradient, variable, learning_rate):
        rate = keras.ops.cast(learning_rate, variable.dtype) * self.config.scale
        self.assign_sub(variable, rate * keras.ops.sign(gradient))
'''

CONFIG = """
from modelzoo import Experiment, TrainConfig
from modelzoo.data import ClassLabel, Dataset, Image, Npz
from modelzoo.models import CNN
from modelzoo.tasks import Classification
from sign_sgd import SignSGD


def get_config():
    return Experiment(
        model=CNN(filters=(4,), dense=(8,)),
        task=Classification(),
        data=Dataset(source=Npz("stripes.npz"), inputs=Image(), target=ClassLabel()),
        optimizer=SignSGD(learning_rate=0.01),
        train=TrainConfig(steps=12, batch_size=16),
    )
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sign_sgd.py").write_text(OPTIMIZER)
    (tmp_path / "own.py").write_text(CONFIG)
    runs.stripes(tmp_path / "stripes.npz", {"train": 48, "test": 21})
    return tmp_path


def test_an_optimizer_in_its_own_file_trains(folder):
    experiment = config.load("own.py", {"optimizer.scale": 2.0})
    result = train(experiment, folder / "run")
    assert result["steps"] == 12
    assert result["eval"]["test"]["loss"] < math.log(2)
    still = config.override(experiment, {"optimizer.scale": 1e-9})
    assert (
        train(still, folder / "still")["eval"]["test"]["loss"]
        > 1.1 * (result["eval"]["test"]["loss"])
    )
    with pytest.raises(UserError, match=r"config\.optimizer\.scale must be above 0, got 0.0"):
        config.override(experiment, {"optimizer.scale": 0.0})


def test_one_line_in_the_package_makes_it_public(folder, monkeypatch):
    source = pathlib.Path(package.__file__).read_text()
    line = "    from modelzoo.optimizers.sign_sgd import SignSGD as SignSGD\n"
    (folder / "__init__.py").write_text(source.replace("else:\n", f"{line}else:\n"))
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    monkeypatch.setitem(TABLES, package.__name__, TABLES[package.__name__])
    get_name, _, names = lazy_names(package.__name__, str(folder / "__init__.py"))
    assert "SignSGD" in names
    assert public_classes(package.__name__)["SignSGD"].startswith("Sign of the gradient")
    assert registry.public_name(get_name("SignSGD")) == "modelzoo.optimizers.SignSGD"
