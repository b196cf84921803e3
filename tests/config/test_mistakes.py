"""Mistakes in a config file are answered as wrong flags are: what is wrong and what is nearest."""

import subprocess
import sys

import pytest

import modelzoo
from modelzoo import config
from modelzoo.fields.errors import UserError

FILE = """
import dataclasses
from modelzoo import Experiment, TrainConfig, models
from modelzoo.data import ClassLabel, Dataset, Image, Npz
from modelzoo.data.augment import Augment
from modelzoo.models import ResNet, Transformer
from modelzoo.optimizers import SGD
from modelzoo.schedules import Cosine
from modelzoo.tasks import Classification


@dataclasses.dataclass(frozen=True)
class Own(ResNet):
    special: int = 1


def get_config():
    return Experiment(
        model=ResNet(depth=8),
        task=Classification(),
        data=Dataset(source=Npz("data.npz"), inputs=Image(), target=ClassLabel()),
        optimizer=SGD(0.1, schedule=Cosine()),
        train=TrainConfig(batch_size=8),
    )
"""


@pytest.mark.parametrize(
    "before, after, message",
    [
        # Keywords.
        ("Image()", "Image(sizee=(8, 8))", "line 21: Image has no field sizee, nearest is size; "),
        ("Image()", "Image(augment=Augment(flipp=True))", "Augment has no field flipp, nearest is"),
        (
            "batch_size=8",
            "batchsize=8",
            "TrainConfig has no field batchsize, nearest is batch_size",
        ),
        ("model=", "modle=", "Experiment has no field modle, nearest is model; it has model, task"),
        ("Cosine()", "Cosine(warm_up=3)", "Cosine has no field warm_up, nearest is warmup"),
        (
            "ResNet(depth=8)",
            "ResNet(deep=8)",
            "line 19: ResNet has no field deep, nearest is depth",
        ),
        ("ResNet(depth=8)", "Own(specials=8)", "Own has no field specials, nearest is special; "),
        ("ResNet(depth=8)", "models.ResNet(dpth=8)", "ResNet has no field dpth, nearest is depth"),
        ("ResNet(depth=8)", "Transformer.tiny(dropot=0.1)", "no field dropot, nearest is dropout"),
        ("Dataset(source=", "Dataset(sources=", "Dataset has no field sources, nearest is source"),
        # Missing and positional arguments.
        ("optimizer=SGD(0.1, schedule=Cosine()),", "", "line 18: Experiment needs optimizer"),
        ('source=Npz("data.npz"), ', "", "line 21: Dataset needs source"),
        ("Image()", "Image((8, 8))", "line 21: Image takes its fields by name: columns=, size=, "),
        # Types that a check of the fields trips over.
        ("Image()", "Image(size=8)", "line 21: Image.size must be "),
        ("batch_size=8", 'batch_size="8"', "TrainConfig.batch_size must be a whole number"),
        ("SGD(0.1", 'SGD("0.1"', "SGD.learning_rate must be a number, got '0.1'"),
        ('Npz("data.npz")', '"data.npz"', "config.data.source must be Source, got "),
        # Names.
        (
            "models import ResNet",
            "models import ResNett",
            "modelzoo.models has no ResNett, nearest is ResNet",
        ),
        (
            "data import Class",
            "data import Imge, Class",
            "modelzoo.data has no Imge, nearest is Image",
        ),
        (
            "models import R",
            "models import Adam, R",
            "modelzoo.models has no Adam: import it from modelzoo.optimizers",
        ),
        (
            "modelzoo.models import",
            "modelzoo.model import",
            "there is no module modelzoo.model, nearest is modelzoo.models",
        ),
        (
            "augment import Augment",
            "augment import Augmnt",
            "modelzoo.data.augment has no Augmnt, nearest is Augment",
        ),
        (
            "ResNet(depth=8)",
            "models.ResNett()",
            "line 19: modelzoo.models has no ResNett, nearest is ResNet",
        ),
        (
            "import Experiment, ",
            "import Experimant, ",
            "modelzoo has no Experimant, nearest is Experiment",
        ),
        # Python itself.
        ("ResNet(depth=8)", "ResNet(depth=8", "SyntaxError"),
        ("depth=8", "depth=1 / 0", "line 19: ZeroDivisionError: division by zero"),
        ("depth=8", "depth=d", "line 19: NameError: name 'd' is not defined"),
        ("depth=8", "depth=len(3)", "line 19: TypeError: object of type 'int' has no len()"),
        ("depth=8", "depth=SGD.nothing", "line 19: AttributeError: type object 'SGD'"),
        ("get_config", "get_confg", "has no get_config()"),
    ],
)
def test_a_mistake_in_a_config_file_is_one_line_with_the_nearest_name(
    before, after, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert before in FILE
    (tmp_path / "own.py").write_text(FILE.replace(before, after, 1))
    with pytest.raises(UserError) as caught:
        config.load("own.py")
    said = str(caught.value)
    assert said.startswith(("own.py", "config.")) and message in said
    assert "\n" not in said and "/modelzoo/" not in said and str(tmp_path) not in said


def test_the_file_without_a_mistake_is_read(tmp_path):
    (tmp_path / "own.py").write_text(FILE)
    assert config.load(str(tmp_path / "own.py")).train.batch_size == 8


def test_the_package_runs_as_a_module():
    words = [sys.executable, "-m", "modelzoo", "--version"]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert shown == f"modelzoo {modelzoo.__version__}\n"
