"""Wrong invocations: each is answered in one line, with an exit code, and changes no file."""

import contextlib
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modelzoo.cli import main
from modelzoo.training import checkpoint, run_folder

CONFIG = """
from modelzoo import Experiment, TrainConfig
from modelzoo.data import *
from modelzoo.models import CNN, LSTM, ResNet, Transformer
from modelzoo.optimizers import SGD
from modelzoo.schedules import Cosine, Piecewise
from modelzoo.tasks import *


def get_config():
    return Experiment(
        model={model},
        task={task},
        data=Dataset(source={source}, inputs={inputs}, target={target}),
        optimizer=SGD(0.1, schedule=Cosine()),
        train=TrainConfig(steps=4, batch_size=8, log_every=1, checkpoint_every=2),
    )
"""


def config(**parts):
    """A config file; without other parts a CNN of images in an archive."""
    default = {
        # So wide that a checkpoint is larger than config.json: a full disk fails on it first.
        "model": "CNN(filters=(2,), dense=(64,))",
        "task": "Classification()",
        "source": "Npz('data.npz')",
        "inputs": "Image()",
        "target": "ClassLabel()",
    }
    return CONFIG.format(**{**default, **parts})


PAIRS = {
    "source": "ParallelText('pairs.en', 'pairs.de')",
    "inputs": "Text()",
    "target": "TextTarget()",
}
NAMED = "{'title': Text(columns=('text',)), 'photo': Image(columns=('photo',))}"
CONFIGS = {
    "cnn.py": config(),
    "resnet.py": config(model="ResNet(depth=8, width=2)"),
    "folder.py": config(source="ClassFolders('images')"),
    "piecewise.py": config().replace("schedule=Cosine", "schedule=Piecewise"),
    "table.py": config(source="Table('table.csv')"),
    "reviews.py": config(source="ClassFolders('images')", inputs="Text()"),
    "tfds.py": config(source="Tfds('glue/sst2', 'empty')", inputs="Text()"),
    "series.py": config(source="Table('table.csv')", inputs="Series(columns=('label',))"),
    "tags.py": config(task="Tagging()"),
    "values.py": config(task="Regression()"),
    "measured.py": config(task="Regression()", target="Values()"),
    "text.py": config(source="Table('texts.csv')", inputs="Text()"),
    "labels.py": config(source="Table('texts.csv')", inputs="Text()", target="TokenLabels()"),
    "words.py": config(
        source="Table('texts.csv')",
        inputs="Text(tokenizer=Words(split='whitespace'))",
        target="TokenLabels()",
    ),
    "subwords.py": config(source="Table('texts.csv')", inputs="Text(tokenizer=Subwords())"),
    "pairs.py": config(**PAIRS),
    "translate.py": config(
        model="Transformer(hidden_dim=4, intermediate_dim=4, num_heads=2)",
        task="TextToText()",
        **PAIRS,
    ),
    "pair_table.py": config(
        source="Table('texts.csv')", inputs="Text()", target="TextTarget(tokenizer=Words())"
    ),
    "named.py": config(source="Table('texts.csv')", inputs=NAMED),
    "reserved.py": config(inputs="{'weight': Image()}"),
    "labelled_images.py": config(target="TokenLabels()"),
    "empty.py": "",
    "syntax.py": "\nx = (\n",
    "raising.py": "def get_config():\n    x = 0\n    return 1 / x\n",
    "dict.py": "get_config = dict\n",
}
WORDS = {
    "TRAIN": "train --config=cnn.py --workdir=new",
    "FOLDER": "train --config=folder.py --workdir=new",
    "TABLE": "train --config=table.py --workdir=new",
    "TEXTS": "vocab --config=text.py --output=new",
    "PAIRS": "vocab --config=pairs.py --output=new",
    "TRANSLATE": "train --config=translate.py --workdir=new --config.data.test_split=none",
    "COLUMNS": "vocab --config=pair_table.py --output=new --field=inputs",
    "NAMED": "train --config=named.py --workdir=new",
    "SERIES": "train --config=series.py --workdir=new",
    "AGAIN": "train --config=cnn.py --workdir=run",
    "STATE": "run/checkpoints/00000004/state.npz",
    "META": "run/checkpoints/00000004/meta.json",
    "IMAGE": "images/train/ant/0.png",
}

AGAIN = WORDS["AGAIN"]

# Each a command; what happens to a file before it; the exit code and a pattern of the one line.
CASES = (Path(__file__).parent / "mistakes.txt").read_text()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for k in range(len(data) // 2, len(data) // 2 + len(data) // 10):
        data[k] ^= 255
    path.write_bytes(data)


def reshape(path: Path) -> None:
    """Gives the kernel of a convolution another number of filters."""
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    kernel = next(k for k, v in arrays.items() if k.startswith("model/") and v.ndim == 4)
    np.savez(path, **{**arrays, kernel: np.zeros([3, 3, 1, 7], np.float32)})


DAMAGE = {
    "folder": Path.mkdir,
    "delete": shutil.rmtree,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("no picture, only words"),
    "list": lambda path: path.write_text("[]"),
    "tear": lambda path: path.write_bytes(path.read_bytes()[:-40]),
    "flip": flip,
    "reshape": reshape,
    "rename": lambda path: path.write_text(path.read_text().replace('"steps"', '"stepz"')),
    "rgb": lambda path: Image.new("RGB", (6, 6)).save(path),
    "grow": lambda path: Image.new("L", (9, 9)).save(path),
}


def cases() -> list:
    text = re.sub(r"\b[A-Z]+\b", lambda word: WORDS.get(word[0], word[0]), CASES)
    found = re.findall(r"^(\S.*)\n(?:    (\w+) (\S+)\n)?    (\d): (.+)$", text, re.MULTILINE)
    return [pytest.param(*case, id=" ".join(case[:3]).strip()) for case in found]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with configs, their data, and `run`, which `cnn.py` trained."""
    root = tmp_path_factory.mktemp("mistakes")
    for name, text in CONFIGS.items():
        (root / name).write_text(text)
    rng = np.random.default_rng(0)
    arrays = {}
    for split in ("train", "test"):
        images = rng.integers(0, 256, [16, 6, 6, 1]).astype(np.uint8)
        arrays |= {f"x_{split}": images, f"y_{split}": np.arange(16) % 2}
        for k, image in enumerate(images[:6]):
            folder = root / "images" / split / ("ant", "bee")[k % 2]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[..., 0]).save(folder / f"{k}.png")
    np.savez(root / "data.npz", **arrays)
    lines = [f"images/train/ant/{k}.png,{k}" for k in (0, 2, 4)]
    (root / "table.csv").write_text("\n".join(["path,label", *lines]))
    (root / "texts.csv").write_text("text,label\nthe cat,a\nthe dog,b\n")
    (root / "pairs.en").write_text("a house\na tree\n")
    (root / "pairs.de").write_text("ein Haus\nein Baum\n")
    (root / "exported/1").mkdir(parents=True)
    (root / "exported/1/saved_model.pb").touch()
    with contextlib.chdir(root):
        assert main.dispatch(AGAIN.split()) == 0
    return root


@pytest.fixture
def place(trained, tmp_path, monkeypatch):
    """A copy of the trained folder, which is the working directory; there is no network."""

    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    root = tmp_path / "place"
    shutil.copytree(trained, root)
    monkeypatch.chdir(root)
    return root


def files(folder: Path) -> dict[str, bytes]:
    """What every file in a folder holds."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_table_is_read_whole():
    assert len(cases()) == len(re.findall(r"^\S", CASES, re.MULTILINE)) > 80


@pytest.mark.parametrize("command, damage, path, code, says", cases())
def test_a_mistake_is_one_line_and_changes_nothing(command, damage, path, code, says, place, capfd):
    if damage:
        DAMAGE[damage](place / path)
    before = files(place)
    assert main.dispatch(command.split()) == int(code)
    err = capfd.readouterr().err
    assert re.search(says, err) and err.count("\n") == 1, err
    after = files(place)
    # Only a run that began, in a folder of its own, has left something.
    began = "not finite" in says or "out of memory" in says
    assert {k: v for k, v in after.items() if not (began and k.startswith("new/"))} == before


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_bad_image_found_during_training_is_named(split, place, monkeypatch, capfd):
    monkeypatch.setattr(
        "modelzoo.data.inputs.image_store.MEMORY_LIMIT", 0
    )  # Nothing is decoded beforehand.
    flip(place / f"images/{split}/ant/0.png")
    assert main.dispatch(WORDS["FOLDER"].split()) == 1
    err = capfd.readouterr().err
    assert f"images/{split}/ant/0.png: is corrupt or truncated" in err and err.count("\n") == 1


@contextlib.contextmanager
def full_disk(size: int):
    """No file can grow beyond `size` bytes: every writer sees what a full disk shows."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)


def stop_halfway(root: Path) -> None:
    """Makes of the finished run one that was killed after its first checkpoint."""
    shutil.rmtree(root / "run/checkpoints/00000004")
    (root / "run/result.json").unlink()


def assert_goes_on(root: Path, trained: Path) -> None:
    """The same command, with room again, ends with the bits of the run that was never stopped."""
    assert main.dispatch(AGAIN.split()) == 0
    arrays = [checkpoint.read(checkpoint.find(where / "run", 4)) for where in (root, trained)]
    assert arrays[0].keys() == arrays[1].keys()
    for name, values in arrays[0].items():
        np.testing.assert_array_equal(values, arrays[1][name], err_msg=name)


LONG = (
    "train --config=cnn.py --workdir=new --config.train.steps=40 --config.train.checkpoint_every=20"
)


@pytest.mark.parametrize(
    "words, size, says",
    [
        (AGAIN, 1000, "cannot write run/config.json"),
        (
            AGAIN,
            4500,
            "cannot write the checkpoint .*00000004: .*the checkpoint of step 2 is intact",
        ),
        (AGAIN, 6000, "cannot write run/metrics.jsonl"),
        (LONG, 6000, "cannot write new/tensorboard"),
        (
            "evaluate --workdir=run --checkpoint=2 --predictions=out",
            500,
            "cannot write --predictions=out",
        ),
        ("export --workdir=run --checkpoint=2", 5000, "cannot write the export to run/export"),
    ],
)
def test_a_full_disk_is_one_line_and_the_command_goes_on(words, size, says, place, trained, capsys):
    stop_halfway(place)
    if words == AGAIN and size == 6000:
        record = '{"step": 1, "kind": "train", "text": "%s"}\n'
        (place / "run/metrics.jsonl").write_text(record % ("x" * (5950 - len(record))))
    before = {k: v for k, v in files(place).items() if "metrics" not in k}
    with full_disk(size):
        assert main.dispatch(words.split()) == 1
    err = capsys.readouterr().err
    assert re.search(says, err) and "File too large" in err and err.count("\n") == 1, err
    after = files(place)
    assert {name: after.get(name) for name in before} == before
    assert not [name for name in after if ".partial" in name]
    if "run" in words:
        assert_goes_on(place, trained)
    else:
        assert main.dispatch(LONG.split()) == 0


def start(words: str, **kwargs) -> subprocess.Popen:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "modelzoo.cli.main", *words.split()]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **kwargs)


def test_a_full_disk_is_one_line_of_a_whole_process(place, trained):
    stop_halfway(place)
    before = files(place / "run/checkpoints")

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4500, 4500))

    process = start(AGAIN, stdout=subprocess.DEVNULL, preexec_fn=limit)
    err = process.communicate()[1]
    assert process.returncode == 1
    assert err == (
        "modelzoo train: cannot write the checkpoint run/checkpoints/00000004: File too large; "
        "the checkpoint of step 2 is intact, free disk space and run the command again\n"
    )
    assert files(place / "run/checkpoints") == before
    assert_goes_on(place, trained)


def test_a_reader_that_leaves_loses_nothing(place, trained):
    stop_halfway(place)
    before = files(place / "run/checkpoints")
    reader, writer = os.pipe()
    os.close(reader)
    process = start(AGAIN, stdout=writer)
    os.close(writer)
    assert (process.communicate()[1], process.returncode) == ("", 128 + signal.SIGPIPE)
    after = files(place / "run/checkpoints")
    assert before.items() < after.items()  # The step at which nobody read any more is saved.
    assert_goes_on(place, trained)


def test_two_processes_cannot_train_in_one_folder(place, trained, capsys):
    stop_halfway(place)
    code = """
import pathlib
from modelzoo.training import run_folder
with run_folder.locked(pathlib.Path("run")):
    print("locked", flush=True)
    input()
"""
    command = [sys.executable, "-c", code]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "locked\n"
    before = files(place)
    assert main.dispatch(AGAIN.split()) == 1
    assert capsys.readouterr().err == (
        f"modelzoo train: process {other.pid} already trains in run: wait for it, or use "
        "another --workdir\n"
    )
    assert files(place) == before
    other.kill()
    other.communicate()
    assert_goes_on(place, trained)
    assert not (place / "run/.lock").exists()


def test_a_finished_run_exports_once(place, capsys):
    words = [*AGAIN.split(), "--config.export.at_end=true", "--resume_with_changes"]
    for _ in range(2):
        assert main.dispatch(words) == 0
        assert "exported to run/export/1\n" in capsys.readouterr().out
        assert os.listdir("run/export") == ["1"]
    # What is gone, and what is of another step, is exported again.
    shutil.rmtree("run/export/1")
    assert main.dispatch(words) == 0
    assert main.dispatch([*words, "--config.train.steps=5"]) == 0
    assert sorted(os.listdir("run/export")) == ["1", "2"]
    assert run_folder.read_json(Path("run/result.json"))["export"] == "export/2"
