import dataclasses
import importlib
import json
import pathlib
import shutil
import subprocess
import sys
import textwrap
from typing import Any, Literal

import pytest

from modelzoo import EvalConfig, Experiment, TrainConfig, config, configs
from modelzoo.data import ClassLabel, Dataset, Digits, Image, Table, Text, Words
from modelzoo.data.inputs.input import Input
from modelzoo.data.sources.source import Source
from modelzoo.fields.duration import Duration
from modelzoo.fields.errors import FieldError, UserError
from modelzoo.optimizers import SGD, Adam
from modelzoo.schedules import Cosine
from modelzoo.tasks.task import TaskConfig


@dataclasses.dataclass(frozen=True)
class Block:
    width: int = 8
    act: Literal["relu", "gelu"] = "relu"

    def build(self, inputs, num_outputs): ...


@dataclasses.dataclass(frozen=True)
class Net:
    filters: tuple[int, ...] = (32, 64)
    size: tuple[int, int] | None = None
    pairs: tuple[tuple[int, float], ...] = ()
    names: tuple[str, ...] = ("a",)
    block: Block = Block()
    head: Block | None = None
    rate: float | Block = 0.5
    weights: dict[int, float] | None = None
    bias: bool = True
    anything: Any = None

    def __post_init__(self):
        if not isinstance(self.rate, Block) and not self.rate < 1:
            raise FieldError("rate", f"must be below 1, got {self.rate!r}")
        if len(self.filters) > 4:
            raise ValueError("too many filters\nfor the test")

    def build(self, inputs, num_outputs): ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data(Dataset):
    source: Source = Digits()
    inputs: Input | dict[str, Input] = Image()
    data_dir: str | None = None
    length: Duration = 10


@dataclasses.dataclass(frozen=True)
class NoTask(TaskConfig):
    """A task without fields."""

    def objective(self, data): ...
    def serving(self, data): ...


def experiment(**changes) -> Experiment:
    parts = {"model": Net(), "task": NoTask(), "data": Data(), "optimizer": SGD(0.5, Cosine())}
    return Experiment(**{**parts, **changes})


def field(config_object, key):
    for name in key.split("."):
        config_object = getattr(config_object, name)
    return config_object


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("seed", "7", 7),
        ("train.batch_size", "1_000", 1000),
        ("train.steps", "40", 40),
        ("train.steps", "10 epochs", "10 epochs"),
        ("train.ema_decay", "0.99", 0.99),
        ("train.ema_decay", "none", None),
        ("train.init_from", "/tmp/a,b", "/tmp/a,b"),
        ("train.precision", "bfloat16", "bfloat16"),
        ("train.xla", "True", True),
        ("train.xla", "false", False),
        ("optimizer.learning_rate", "3e-4", 3e-4),
        ("optimizer.learning_rate", "1", 1.0),
        ("optimizer.schedule.final", "0.25", 0.25),
        ("optimizer.decay_exclude", "bias,gamma", ("bias", "gamma")),
        ("optimizer.decay_exclude", "bias", ("bias",)),
        ("optimizer.decay_exclude", "", ()),
        ("optimizer.decay_exclude", "('a,b', '^c')", ("a,b", "^c")),
        ("optimizer.learning_rate_multipliers", "a|b=1", (("a|b", 1.0),)),
        ("optimizer.learning_rate_multipliers", "x(?=y)=1, .*=.1", (("x(?=y)", 1.0), (".*", 0.1))),
        ("optimizer.learning_rate_multipliers", "[('a{1,2}', 1)]", (("a{1,2}", 1.0),)),
        ("model.pairs", "1=0.5,2=1", ((1, 0.5), (2, 1.0))),
        ("model.names", "1,2", ("1", "2")),
        ("model.names", "'true', none", ("true", "none")),
        ("model.filters", "32,64,64", (32, 64, 64)),
        ("model.filters", "(32, 64)", (32, 64)),
        ("model.filters", "[32]", (32,)),
        ("model.filters", "32", (32,)),
        ("model.filters", "()", ()),
        ("model.size", "28,32", (28, 32)),
        ("model.size", "None", None),
        ("model.pairs", "((1, 0.5), (2, 1))", ((1, 0.5), (2, 1.0))),
        ("model.pairs", "(1, 0.5), (2, 1)", ((1, 0.5), (2, 1.0))),
        ("model.block.act", "gelu", "gelu"),
        ("model.rate", "0.25", 0.25),
        ("model.weights", "{0: 1, 1: 2.5}", {0: 1.0, 1: 2.5}),
        ("model.head", "none", None),
        ("model.anything", "3", 3),
        ("model.anything", "some words", "some words"),
        ("data.data_dir", "10", "10"),
        ("data.length", "1e3", "1e3"),
    ],
)
def test_override_has_the_type_of_the_annotation(key, text, value):
    changed = config.override(experiment(), [(key, text)])
    got = field(changed, key)
    assert got == value
    assert type(got) is type(value)
    if isinstance(value, tuple):
        assert [type(item) for item in got] == [type(item) for item in value]
    before, after = config.to_dict(experiment()), config.to_dict(changed)
    names = key.split(".")
    for name in names[:-1]:
        before, after = before[name], after[name]
    before.pop(names[-1]), after.pop(names[-1])
    assert before == after


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("train.stepz", "1", "unknown key config.train.stepz, nearest is config.train.steps"),
        ("stepz", "1", "unknown key config.stepz, nearest is config.train.steps"),
        ("data.dir", "1", "nearest is config.data.data_dir; config.data has source, inputs, tar"),
        ("model.block.w", "1", "is config.model.block.width; config.model.block has width, act"),
        ("task.x", "1", "; config.task has no fields"),
        (
            "optimzer.learning_rate",
            "1",
            "unknown key config.optimzer.learning_rate, nearest is config.optimizer.learning_rate",
        ),
        (
            "model.learning_rate",
            "1",
            "unknown key config.model.learning_rate, nearest is config.optimizer.learning_rate",
        ),
        ("train.accumulate", "1e3", "config.train.accumulate must be a whole number, got '1e3'"),
        ("train.accumulate", "1.0", "config.train.accumulate must be a whole number, got '1.0'"),
        ("train.batch_size", "0", "config.train.batch_size must be at least 1, got 0"),
        ("optimizer.learning_rate", "nan", "config.optimizer.learning_rate must be a number, got"),
        ("train.xla", "1", "config.train.xla must be true or false, got '1'"),
        ("train.clip_norm", "x", "config.train.clip_norm must be a number or none, got 'x'"),
        (
            "train.precision",
            "float8",
            "config.train.precision must be one of float32, bfloat16, float16, float64, "
            "got 'float8'",
        ),
        ("train.steps", "10 epoks", "config.train.steps must be a number of steps or text like"),
        ("model.block.act", "RELU", "config.model.block.act must be one of relu, gelu, got 'RELU'"),
        ("model.filters", "1,b", "each a whole number, got '1,b'"),
        (
            "model.size",
            "1",
            "config.model.size must be 2 values separated by commas (a whole number, "
            "a whole number) or none, got '1'",
        ),
        (
            "optimizer.learning_rate_multipliers",
            "logits",
            "config.optimizer.learning_rate_multipliers must be values separated by commas, each a "
            "pair A=B (text, a number), got 'logits'",
        ),
        ("optimizer.weight_decay_multipliers", "a=1,b=x", "each a pair A=B (text, a number), got"),
        (
            "optimizer.weight_decay_multipliers",
            "(=1",
            "config.optimizer.weight_decay_multipliers must hold regular expressions, got '('",
        ),
        ("model.weights", "{0: 'a'}", "config.model.weights must be a dict in Python's notation"),
        ("model.rate", "2", "config.model.rate must be below 1, got 2.0"),
        ("model.filters", "1,2,3,4,5", "config.model: too many filters for the test"),
        ("optimizer.schedule", "cosine", "config.optimizer.schedule is Cosine and cannot be"),
        ("model.block", "3", "edit the config file, or set its fields"),
        ("train", "3", "config.train is TrainConfig and cannot be '3'"),
        ("model.head.width", "3", "unknown key config.model.head.width: config.model.head has no"),
        ("train.steps.x", "3", "config.train.steps has no fields, it holds '10 epochs'"),
        ("seed", "-1", "config.seed must be from 0 to"),
        ("task.x", "1", "unknown key config.task.x, nearest is config."),
    ],
)
def test_wrong_override_is_one_line_that_names_the_key(key, text, message):
    with pytest.raises(UserError) as caught:
        config.override(experiment(), [(key, text)])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert f"config.{key.split('.')[0]}" in str(caught.value)


def test_values_override_as_they_are_and_text_as_on_the_command_line():
    changed = config.override(
        experiment(),
        {
            "train.steps": "3 epochs",
            "train.batch_size": 64,
            "train.ema_decay": "none",
            "model.size": [5, 6],
            "optimizer.learning_rate": 1,
            "optimizer.schedule": Cosine(warmup=2),
        },
    )
    assert changed.train == TrainConfig(steps="3 epochs", batch_size=64)
    assert changed.model.size == (5, 6)
    assert type(changed.optimizer.learning_rate) is float
    assert changed.optimizer.schedule == Cosine(warmup=2)
    assert config.override(changed, {"model": Block(3)}).model == Block(3)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.accumulate", 2.5, "config.train.accumulate must be a whole number, got 2.5"),
        ("train.batch_size", 0, "config.train.batch_size must be at least 1"),
        ("train.accumulate", None, "config.train.accumulate must be a whole number, got None"),
        ("train", 3, "config.train is TrainConfig and cannot be 3"),
        ("train", Block(2), "config.train must be TrainConfig, got Block"),
        ("seed", Block(2), "config.seed must be a whole number, got Block"),
        ("train.batchsize", 3, "nearest is config.train.batch_size"),
        ("model", Cosine(), "config.model must be ModelConfig, got Cosine"),
        ("optimizer", Net(), "config.optimizer must be Optimizer, got Net"),
        ("optimizer.schedule", SGD(), "config.optimizer.schedule must be Schedule, got SGD"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_key(key, value, message):
    with pytest.raises(UserError, match=message) as caught:
        config.override(experiment(), {key: value})
    assert "\n" not in str(caught.value)


def named_inputs():
    """Data with two named inputs."""
    inputs = {"title": Text(columns=("name",)), "photo": Image(size=(8, 8))}
    return experiment(data=Dataset(source=Table("a.csv"), inputs=inputs, target=ClassLabel()))


def test_overrides_reach_into_a_dict_of_named_inputs():
    pairs = [
        ("data.inputs.title.lengths", "4,8"),
        ("data.inputs.photo.augment.flip", "true"),
        ("data.inputs.title.tokenizer.size", "99"),
        ("data.source.path", "b.csv"),
        ("data.target", "none"),
    ]
    before = named_inputs()
    data = config.override(before, pairs).data
    assert data.inputs["title"] == Text(columns=("name",), lengths=(4, 8), tokenizer=Words(size=99))
    assert data.inputs["photo"].size == (8, 8) and data.inputs["photo"].augment.flip is True
    assert (data.source.path, data.target, data.test_split) == ("b.csv", None, "auto")
    assert before == named_inputs()
    other = Text(lengths=(3,))
    changed = config.override(before, {"data.inputs.title": other}).data.inputs
    assert changed == {"title": other, "photo": before.data.inputs["photo"]}
    changed = config.override(before, {"data.inputs": Image(size=[4, 4])}).data
    assert changed.inputs == Image(size=(4, 4))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "data.inputs.titel.lengths",
            "3",
            "unknown key config.data.inputs.titel.lengths, nearest is config.data.inputs.title."
            "lengths; config.data.inputs has title, photo",
        ),
        (
            "data.inputs.title.length",
            "3",
            "nearest is config.data.inputs.title.lengths; config.data.inputs.title has columns,",
        ),
        ("data.inputs.size", "4,4", "nearest is config.data.inputs.photo.size; config.data.inputs"),
        ("data.inputs.title.lengths", "8,4", "config.data.inputs.title.lengths must be rising"),
        ("data.inputs.photo.size", "x", "config.data.inputs.photo.size must be 2 values"),
        (
            "data.inputs",
            "text",
            "config.data.inputs is title, photo and cannot be 'text': edit the config file, "
            "or set its fields (config.data.inputs.title, config.data.inputs.photo)",
        ),
        ("data.inputs.title", "none", "config.data.inputs.title is Text and cannot be 'none'"),
        ("data.inputs.title", Words(), "config.data.inputs.title must be Input, got Words"),
        ("data.inputs", {"weight": Text()}, "config.data.inputs must be an input, or inputs by"),
        ("data.inputs", {"title": Words()}, "config.data.inputs must be Input or a dict in Python"),
        (
            "data.inputs",
            {"photo": Image(augment=3)},
            "config.data.inputs.photo.augment must be Aug",
        ),
        ("data.target", "tags", "config.data.target is ClassLabel and cannot be 'tags': edit"),
    ],
)
def test_a_wrong_override_of_named_inputs_names_the_key(key, value, message):
    with pytest.raises(UserError) as caught:
        config.override(named_inputs(), {key: value})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_class_without_fields_is_replaced_in_the_config_file():
    message = "config.data.source is Digits and cannot be 'x': edit the config file to use another "
    with pytest.raises(UserError, match=f"^{message}class$"):
        config.override(experiment(), {"data.source": "x"})


def test_of_one_key_the_last_override_counts():
    changed = config.override(experiment(), [("seed", "1"), ("seed", "2")])
    assert changed.seed == 2


def test_overrides_are_validated_together():
    # Each alone would be refused: patience needs best_metric.
    pairs = [("eval.patience", "2"), ("eval.best_metric", "loss")]
    assert config.override(experiment(), pairs).eval.patience == 2
    with pytest.raises(UserError, match=r"^config\.eval\.patience needs best_metric"):
        config.override(experiment(), pairs[:1])


def test_a_key_and_a_field_of_it_are_refused_together():
    with pytest.raises(UserError, match="cannot be combined: omit one"):
        config.override(experiment(), [("model.block", "none"), ("model.block.width", "2")])


def test_json_round_trip_is_exact():
    before = experiment(
        model=Net(
            size=(3, 4),
            pairs=((1, 0.1),),
            head=Block(2),
            rate=Block(3),
            weights={0: 0.1, 7: 1e-300},
            anything=(1, (2.5, "x"), {"k": (True, None)}),
        ),
        optimizer=Adam(schedule=Cosine(warmup="1 epoch")),
        train=TrainConfig(steps=7, ema_decay=0.1 + 0.2),
        seed=3,
    )
    saved = config.to_dict(before)
    assert json.loads(json.dumps(saved)) == saved
    after = config.from_dict(json.loads(json.dumps(saved)))
    assert after == before
    assert config.to_dict(after) == saved
    assert saved["train"]["type"] == "modelzoo.TrainConfig"
    assert saved["optimizer"]["schedule"]["type"] == "modelzoo.schedules.Cosine"


def test_data_is_saved_by_public_names():
    before = config.override(named_inputs(), [("data.inputs.title.lengths", "4,8")])
    saved = json.loads(json.dumps(config.to_dict(before)))
    assert config.from_dict(saved) == before
    data = saved["data"]
    assert data["type"] == "modelzoo.data.Dataset"
    assert data["source"]["type"] == "modelzoo.data.Table"
    assert list(data["inputs"]) == ["title", "photo"]
    assert data["inputs"]["title"]["type"] == "modelzoo.data.Text"
    assert data["inputs"]["title"]["tokenizer"]["type"] == "modelzoo.data.Words"
    assert data["inputs"]["photo"]["augment"]["type"] == "modelzoo.data.Augment"
    assert data["target"] == {"type": "modelzoo.data.ClassLabel", "columns": []}
    assert config.difference(named_inputs(), before) == [
        "data.inputs.title.lengths: 32,64,128,256 -> 4,8"
    ]
    data["inputs"]["title"]["lengthz"] = 3
    with pytest.raises(
        UserError, match=r"config\.data\.inputs\.title\.lengthz for Text, nearest is"
    ):
        config.from_dict(saved)


def test_a_field_that_config_json_lacks_takes_its_default():
    before = dataclasses.replace(experiment(), train=TrainConfig(steps=7))
    saved = config.to_dict(before)
    del saved["train"]["batch_size"], saved["optimizer"]["schedule"]["warmup"], saved["eval"]
    assert config.from_dict(saved) == before
    assert (
        config.from_dict(saved | {"train": {"type": saved["train"]["type"]}}).train == TrainConfig()
    )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda d: d["train"].update(stepz=1),
            "config.train.stepz for TrainConfig, nearest is config.tr",
        ),
        (lambda d: d.pop("optimizer"), "config.optimizer of Experiment is missing"),
        (lambda d: d["train"].update(batch_size="x"), "config.train.batch_size must be a whole n"),
        (lambda d: d["train"].update(batch_size=0), "config.train.batch_size must be at least 1"),
        (lambda d: d.update(train=3), "config.train must be TrainConfig, got 3"),
        (
            lambda d: d["model"].update(type="no_such.Net"),
            "config.model is no_such.Net, whose mod",
        ),
        (lambda d: d["model"].update(type="json.dumps"), "json defines no such dataclass"),
        (lambda d: d["model"].update(type="os.path"), "os defines no such dataclass"),
        (lambda d: d["model"].update(type="Net"), "config.model is Net, whose module cannot be"),
        (
            lambda d: d["model"].update(type="own_file.py.Net"),
            "class Net of the config file own_fi",
        ),
        (lambda d: d["model"].update(type="__main__.Net"), "move the class to a module that Pyth"),
        (lambda d: d.pop("type"), "config must be an Experiment, got dict"),
    ],
)
def test_a_damaged_config_json_is_one_line(damage, message):
    saved = json.loads(json.dumps(config.to_dict(experiment())))
    damage(saved)
    with pytest.raises(UserError) as caught:
        config.from_dict(saved)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_difference_names_keys_and_both_values():
    before = experiment(model=Net(names=("a", "b")))
    after = experiment(
        model=Net(names=("a", "c"), weights={1: 2.0}),
        optimizer=Adam(),
        train=TrainConfig(batch_size=64, xla=True, steps=5),
    )
    assert config.difference(before, json.loads(json.dumps(config.to_dict(after)))) == [
        "model.names: a,b -> a,c",
        "model.weights: none -> {'1': 2.0}",
        "optimizer: modelzoo.optimizers.SGD -> modelzoo.optimizers.Adam",
        "train.steps: 10 epochs -> 5",
        "train.batch_size: none -> 64",
        "train.xla: false -> true",
    ]
    assert config.difference(before, before) == []
    pairs = (("logits", 1.0), ("a,b", 2.0))
    after = experiment(optimizer=SGD(0.5, Cosine(), learning_rate_multipliers=pairs))
    assert config.difference(experiment(), after) == [
        "optimizer.learning_rate_multipliers: .*=1.0 -> logits=1.0,['a,b', 2.0]"
    ]


GOOD = '''
"""Trains a toy.

More."""
import dataclasses
from beside_the_file import WIDTH
from modelzoo import Experiment
from modelzoo.data import digits
from modelzoo.optimizers import SGD
from modelzoo.tasks.task import TaskConfig

@dataclasses.dataclass(frozen=True)
class Own(TaskConfig):
    width: "int" = WIDTH
    sizes: tuple[int, ...] = (1,)
    def build(self): ...
    def objective(self): ...
    def serving(self): ...

def get_config():
    return Experiment(model=Own(sizes=[1, 2]), task=Own(), data=digits(), optimizer=SGD())
'''


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "beside_the_file.py").write_text("WIDTH = 5\n")

    def write(text, name="toy_config.py"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def test_a_tilde_is_the_home_folder(write, tmp_path, monkeypatch):
    write(GOOD)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config.load("~/toy_config.py").model.width == 5


def test_load_reads_a_file_and_applies_overrides(write):
    loaded = config.load(write(GOOD), [("model.width", "9"), ("train.steps", "3")])
    assert (loaded.model.width, loaded.task.width, loaded.train.steps) == (9, 5, 3)
    assert loaded.model.sizes == (1, 2)
    assert config.from_dict(json.loads(json.dumps(config.to_dict(loaded)))) == loaded


def forget():
    """Leaves what another process would not have: the modules of the config files."""
    for name in ("toy_config.py", "beside_the_file", "nets", "nets.wide"):
        sys.modules.pop(name, None)
    sys.path[:] = [folder for folder in sys.path if "pytest" not in folder]
    importlib.invalidate_caches()


def saved_of(loaded):
    return json.loads(json.dumps(config.to_dict(loaded)))


def test_a_class_of_the_file_or_beside_it_is_found_again(write, tmp_path):
    text = GOOD.replace("import dataclasses", "import dataclasses\nfrom nets.wide import Wide")
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets/wide.py").write_text(
        "import dataclasses\nfrom modelzoo.tasks.task import TaskConfig\n"
        "@dataclasses.dataclass(frozen=True)\nclass Wide(TaskConfig):\n    width: int = 7\n"
        "    def objective(self): ...\n    def serving(self): ...\n"
    )
    path = write(text.replace("task=Own()", "task=Wide()"))
    saved = saved_of(config.load(path))
    assert saved["model"]["defined in"] == path
    assert saved["task"]["defined in"] == str(tmp_path)
    assert "defined in" not in saved["optimizer"] and "defined in" not in saved
    forget()
    assert saved_of(config.from_dict(saved)) == saved
    forget()
    pathlib.Path(path).unlink()
    with pytest.raises(UserError, match=r"model is the class Own .*toy_config\.py cannot be read"):
        config.from_dict(saved)
    shutil.rmtree(tmp_path / "nets")
    forget()
    saved["model"] = saved["data"] = saved["optimizer"]
    with pytest.raises(UserError, match=r"task is nets\.wide\.Wide, whose module cannot be imp"):
        config.from_dict(saved)


def test_files_of_one_name_do_not_mix_and_may_move(write, tmp_path):
    (tmp_path / "other").mkdir()
    deeper = GOOD.replace("    sizes:", "    depth: int = 3\n    sizes:")
    paths = [write(GOOD), write(deeper, "other/toy_config.py")]
    saved = [saved_of(config.load(path)) for path in paths]
    for each in saved:  # A class with other fields would be refused.
        assert saved_of(config.from_dict(each)) == each
    (tmp_path / "moved").mkdir()
    moved = config.load(str(pathlib.Path(paths[0]).rename(tmp_path / "moved/toy_config.py")))
    assert config.difference(saved[0], moved) == []
    assert config.from_dict(saved[0]) == moved


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "has no get_config()"),
        ("x = 1\ndef get_config(:\n", "toy_config.py, line 2: SyntaxError: "),
        ("\n\nimport no_such_module\n", "line 3: ModuleNotFoundError: No module named"),
        ("def get_config():\n    return 3\n", "must return a modelzoo.Experiment, got int"),
        ("def get_config():\n    return 1 / 0\n", "line 2: ZeroDivisionError: division by zero"),
        ("def get_config():\n    raise SystemExit(0)\n", "line 2: SystemExit: 0"),
        ("def get_config(name):\n    return 1\n", "TypeError: get_config() missing 1 required"),
        (GOOD.replace("model=Own(sizes=[1, 2])", "model=3"), "model must be a dataclass, got 3"),
        (
            GOOD.replace("optimizer=SGD()", "optimizer=SGD(-1.0)"),
            "line 21: learning_rate must be above 0, got -1.0",
        ),
        (GOOD.replace("width: ", "width: int = 'a'  # "), "config.model.width must be a whole num"),
    ],
)
def test_wrong_file_is_one_line(write, text, message):
    with pytest.raises(UserError) as caught:
        config.load(write(text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_unreadable_files(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.py cannot be read: No such file"):
        config.load(str(tmp_path / "nowhere.py"))
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(UserError, match=r"folder\.py cannot be read: Is a directory"):
        config.load(str(tmp_path / "folder.py"))


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A `modelzoo.configs` that holds three toys instead of what is shipped."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "toy_cnn.py").write_text(GOOD.replace("from beside_the_file import WIDTH", "WIDTH=1"))
    (folder / "toy_lstm.py").write_text("def get_config():\n    return undefined\n")
    (folder / "other.py").write_text("raise ImportError('not here')\n")
    monkeypatch.setattr(configs, "__path__", [str(folder)])
    yield
    for name in ("toy_cnn", "toy_lstm", "other"):
        sys.modules.pop(f"modelzoo.configs.{name}", None)


def test_shipped_configs_by_name(shipped):
    assert configs.names() == ["other", "toy_cnn", "toy_lstm"]
    assert configs.first_line("toy_cnn") == "Trains a toy."
    assert configs.first_line("toy_lstm") == ""
    loaded = configs.get("toy_cnn")
    assert loaded.model.width == 1
    assert config.to_dict(loaded)["model"]["type"] == "modelzoo.configs.toy_cnn.Own"
    assert config.from_dict(config.to_dict(loaded)) == loaded


def test_wrong_names_and_broken_shipped_configs(shipped):
    with pytest.raises(UserError, match=r"there is no config 'toy_cn', nearest is toy_cnn"):
        configs.get("toy_cn")
    with pytest.raises(UserError, match=r"there is no config '\./other'.* must end in \.py"):
        configs.get("./other")
    with pytest.raises(UserError, match=r"^config toy_lstm, line 2: NameError: name 'undefined'"):
        configs.get("toy_lstm")
    with pytest.raises(UserError, match=r"^config other, line 1: ImportError: not here"):
        configs.get("other")


@pytest.mark.parametrize("name", configs.names())
def test_every_shipped_config_says_what_it_is_and_survives_json(name):
    assert len(configs.first_line(name)) > 10
    loaded = configs.get(name)
    assert config.from_dict(json.loads(json.dumps(config.to_dict(loaded)))) == loaded


def test_loading_a_config_starts_no_tensorflow_runtime(write):
    code = f"""
        import tensorflow as tf
        from modelzoo import config
        saved = config.to_dict(config.load({write(GOOD)!r}, [("seed", "1")]))
        config.from_dict(saved)
        cpu = tf.config.list_physical_devices("CPU")[0]
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)  # It raises once the runtime runs.
        print(len(tf.config.list_logical_devices("CPU")))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True
    )
    assert done.stdout.strip() == "2", done.stderr


def test_settings_that_are_no_dataclass_are_refused():
    with pytest.raises(UserError, match=r"config\.eval must be EvalConfig, got 3"):
        config.from_dict({**config.to_dict(experiment()), "eval": 3})
    assert experiment().eval == EvalConfig()
