"""What docs/extending.md and the README add to modelzoo works when it is added as they say.

The code of the pages runs twice: as modules of a user's own, and inside a copy of the package.
"""

import ast
import importlib.util
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import wave

import numpy as np
import pages
import pytest
import tensorflow as tf

import modelzoo
from modelzoo import UserError, config
from modelzoo.cli.main import run
from modelzoo.fields.introspection import first_line
from modelzoo.training import checkpoint

ADDED = [one for one in pages.additions(pages.EXTENDING) if not one.is_line]
(CONFIG,) = [one for one in ADDED if one.path.startswith("configs/")]
(COMMAND,) = [one for one in ADDED if one.path.startswith("modelzoo/cli/")]
CLASSES = [one for one in ADDED if one not in (CONFIG, COMMAND)]
LINES = [one for one in pages.additions(pages.EXTENDING) if one.is_line]
RATE = 4000

MLP_TEST = """
import keras
import numpy as np
import pytest

from modelzoo.fields.input_specs import ArraySpec
from modelzoo.models import MLP


def build(config):
    return config.build({"image": ArraySpec("image", (4, 4, 1))}, 3)


@pytest.mark.field("MLP.widths")
def test_sizes():
    assert build(MLP((5, 2))).count_params() == 17 * 5 + 6 * 2 + 3 * 3


def test_forward_pass_and_keras_file(tmp_path):
    model = build(MLP((5,)))
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 1)).astype("float32")
    a, b, c, d = model.get_weights()
    expected = np.maximum(x.reshape(2, 16) @ a + b, 0) @ c + d
    np.testing.assert_allclose(model({"image": x}), expected, rtol=1e-5, atol=1e-6)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again({"image": x}), model({"image": x}))
"""


def write_tone(path, hertz, rate=RATE):
    """A quarter of a second of a sine, 16 bits."""
    samples = 0.5 * np.sin(2 * np.pi * hertz * np.arange(rate // 4) / rate)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


def write_tones(folder):
    """`tones/`: JSON files of the splits and the WAV files that they list."""
    tones = folder / "tones"
    tones.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 6)):
        rows = []
        for k in range(count):
            rows.append({"path": f"{split}{k}.wav", "pitch": float(rng.uniform(200, 1500))})
            write_tone(tones / rows[-1]["path"], rows[-1]["pitch"])
        (tones / f"{split}.json").write_text(json.dumps(rows))


def module_name(path):
    """`modelzoo/data/inputs/sound.py` as a module's name."""
    return path.removesuffix(".py").replace("/", ".")


def own_imports(source):
    """The source with the added classes imported from the user's package `additions`."""
    for one in CLASSES:
        source = source.replace(module_name(one.path), f"additions.{pathlib.Path(one.path).stem}")
    homes = {
        node.name: pathlib.Path(one.path).stem
        for one in CLASSES
        for node in ast.parse(one.code).body
        if isinstance(node, ast.ClassDef)
    }
    tree = ast.parse(source)
    for node in list(tree.body):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("modelzoo."):
            moved = [alias for alias in node.names if alias.name in homes]
            node.names = [alias for alias in node.names if alias not in moved]
            place = tree.body.index(node)
            tree.body[place : place + (not node.names)] = [
                ast.ImportFrom(f"additions.{homes[alias.name]}", [alias], 0) for alias in moved
            ]
    return ast.unparse(ast.fix_missing_locations(tree))


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The experiment of a user's folder: a config, the package `additions` and the sounds."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "additions").mkdir()
    for one in CLASSES:
        (folder / "additions" / pathlib.Path(one.path).name).write_text(own_imports(one.code))
    (folder / "pitch.py").write_text(own_imports(CONFIG.code))
    (folder / "count.py").write_text(COMMAND.code)
    write_tones(folder)
    return folder


def small(own, values=()):
    """The experiment with few steps."""
    few = {"train.steps": 2, "train.batch_size": 4, "data.source.path": str(own / "tones")}
    return config.load(str(own / "pitch.py"), {**few, **dict(values)})


@pytest.fixture(scope="module")
def trained(own):
    """The folder of a run of two steps, and its result."""
    return own / "run", modelzoo.train(small(own), own / "run")


def test_every_kind_of_the_readme_is_shown():
    table = pages.README.split("## Adding a source", 1)[1]
    for one in (*CLASSES, COMMAND):
        assert f"`{pathlib.Path(one.path).parent}/`" in table
    assert len(CLASSES) == 6


def test_own_classes_train(own, trained):
    workdir, result = trained
    assert result["steps"] == 2
    assert 0 < result["eval"]["test"]["loss"] < 12
    assert 0 <= result["eval"]["test"]["coverage"] <= 1
    saved = json.loads((workdir / "config.json").read_text())
    assert saved["data"]["inputs"]["type"] == "additions.sound.Sound"
    assert saved["task"]["type"] == "additions.quantile.Quantile"
    assert saved["optimizer"]["schedule"]["type"] == "additions.cyclical.Cyclical"
    assert config.from_dict(saved) == small(own)
    assert modelzoo.evaluate(workdir, "test")["loss"] == pytest.approx(
        result["eval"]["test"]["loss"], rel=1e-5
    )


def test_own_classes_predict_and_export(own, trained):
    workdir, _ = trained
    predictor = modelzoo.load(workdir)
    exported = modelzoo.load(predictor.export(own / "served"))
    files = [own / "tones" / "test0.wav", own / "pitch.py", own / "absent.wav"]
    for one in (predictor, exported):
        good, text, absent = one.predict_files(files)
        assert set(good.values) == {"semitones"} and math.isfinite(good.values["semitones"])
        assert text.error and absent.error
    assert next(exported.predict_files(files[:1])).values == pytest.approx(
        next(predictor.predict_files(files[:1])).values, rel=1e-5
    )
    assert exported.task.data.describe() == "1 pitch, sounds of 0.25 s at 4000 Hz"


def test_what_the_input_and_the_target_make_of_a_row(own):
    opened = small(own).data.open()
    split = opened.split("test")
    batch = opened.bound.features(split.gather(tf.range(6, dtype=tf.int64)), training=False)
    hertz = [row["pitch"] for row in json.loads((own / "tones" / "test.json").read_text())]
    order = [int(name.removeprefix("test").removesuffix(".wav")) for name in split.ids]
    hertz = np.array(hertz)[order]
    np.testing.assert_allclose(batch["label"][:, 0], 12 * np.log2(hertz / 440), rtol=1e-5)
    assert batch["sound"].shape == (6, 6, 129)
    loudest = np.argmax(batch["sound"], axis=2)[:, 2] * RATE / 256
    np.testing.assert_allclose(loudest, hertz, atol=RATE / 256)


def test_bad_rows_and_impossible_fields_are_named(own, tmp_path):
    shutil.copytree(own / "tones", tmp_path / "tones")
    write_tone(tmp_path / "tones" / "test1.wav", 440, rate=8000)
    rows = json.loads((tmp_path / "tones" / "test.json").read_text())
    rows[2]["pitch"] = 0.0
    (tmp_path / "tones" / "test.json").write_text(json.dumps(rows))
    path = {"data.source.path": str(tmp_path / "tones")}
    with pytest.raises(UserError, match=r"test\.json, object 3: has a pitch of 0\.0 Hz"):
        small(own, path).data.open().split("test")
    split = small(own, path | {"data.on_bad": "skip"}).data.open().split("test")
    assert sorted(bad.reason for bad in split.skipped) == [
        "has a pitch of 0.0 Hz",
        "is no WAV file of 4000 Hz",
    ]
    with pytest.raises(UserError, match=r"config\.task\.quantile must be between 0 and 1, got 2"):
        small(own, {"task.quantile": 2.0})
    with pytest.raises(UserError, match=r"config\.data\.inputs\.seconds must be above 0, got 0"):
        small(own, {"data.inputs.seconds": 0.0})


def test_the_optimizer_and_the_schedule(own):
    schedule = small(own, {"optimizer.schedule.warmup": 2, "optimizer.schedule.cycles": 2})
    factor = schedule.optimizer.schedule.bind(10, int)
    got = [float(factor(tf.constant(step))) for step in (0, 1, 2, 4, 6, 8)]
    np.testing.assert_allclose(got, [0.5, 1.0, 0.1, 1.0, 0.1, 1.0], rtol=1e-6)
    one = {"train.steps": 1, "task.quantile": 0.3, "optimizer.scale": 3.0}
    one |= {"optimizer.schedule.warmup": 0, "optimizer.schedule.low": 1.0}
    experiment = small(own, one)
    modelzoo.train(experiment, own / "one")
    after = checkpoint.read(checkpoint.find(own / "one", "last"))["model/logits/bias"]
    np.testing.assert_allclose(abs(after), 3 * 0.001, rtol=1e-5)


def test_a_command_in_a_file_of_its_own(own, monkeypatch, capsys):
    monkeypatch.chdir(own)
    spec = importlib.util.spec_from_file_location("count_of_this_test", own / "count.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert run(module, ["--config=pitch.py"]) == 0
    assert capsys.readouterr().out == "train: 20 examples\ntest: 6 examples\n"
    assert run(module, ["--help"]) == 0
    assert "Count the examples" in capsys.readouterr().out
    assert run(module, []) == 2


@pytest.fixture(scope="module")
def overlay(tmp_path_factory):
    """A copy of the repository with all additions of the pages."""
    folder = tmp_path_factory.mktemp("overlay")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("modelzoo", "tests"):
        shutil.copytree(pages.ROOT / name, folder / name, ignore=ignored)
    # As in a wheel.
    shutil.copytree(pages.ROOT / "configs", folder / "modelzoo" / "configs", ignore=ignored)
    shutil.copy(pages.ROOT / "pyproject.toml", folder)
    readme = pages.README.split("## Adding a model", 1)[1].split("\n## ")[0]
    for path, is_line, text in [*pages.additions(readme), *pages.additions(pages.EXTENDING)]:
        file = folder / path.replace("configs/", "modelzoo/configs/")
        if is_line:
            line = text.strip("\n")
            text = file.read_text().replace("\nelse:\n", f"\n{line}\nelse:\n")
        else:
            assert not file.exists()
        file.write_text(text)
    (folder / "tests" / "models" / "test_mlp.py").write_text(MLP_TEST)
    write_tones(folder)
    return folder


def python(folder, *words):
    """Output of Python with the packages in `folder` before all others."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_one_line_makes_all_of_them_public(overlay):
    script = """
import json
import sys

import numpy as np

import modelzoo
from modelzoo.cli.main import dispatch

assert modelzoo.__file__.startswith(sys.argv[1]), modelzoo.__file__
for words in json.loads(sys.argv[2]):
    assert dispatch(words) == 0, words
predictor = modelzoo.load("runs/mlp")
assert predictor.outputs({"image": np.zeros([3, 8, 8, 1], np.uint8)})["scores"].shape == (3, 10)
"""
    few = ["--config.train.steps=2", "--config.train.batch_size=4"]
    shown = [
        [*words, *few] if words[0] == "train" else words
        for words in pages.commands(pages.EXTENDING)
    ]
    assert [words[0] for words in shown] == ["train", "predict", "export", "count"]
    shutil.copy(overlay / "tones" / "test0.wav", overlay / "a.wav")
    mlp = ["train", "--config=digits_mlp", "--workdir=runs/mlp", *few]
    served = ["predict", "--model=served/pitch", "a.wav"]
    words = [["list"], ["help"], *shown, served, [*mlp, "--config.optimizer.schedule.warmup=1"]]
    out = python(overlay, "-c", script, str(overlay), json.dumps(words))
    listed = [line.split(maxsplit=1) for line in out.splitlines()]
    assert ["digits_mlp", "Dense layers on the handwritten digits."] in listed
    assert ["MLP", "A multilayer perceptron."] in listed
    assert f"MLP, {65 * 128 + 129 * 10:,} parameters" in out
    names = [one.code.split()[-1] for one in LINES]
    assert len(names) == 6 and {line[0] for line in listed if line} >= {*names, "pitch_lstm"}
    assert ["count", first_line(overlay / COMMAND.path)] in listed
    assert out.count('"semitones"') == 2
    assert "train: 20 examples" in out
    saved = (overlay / "runs" / "pitch" / "config.json").read_text()
    packages = [one.path.removesuffix("/__init__.py").replace("/", ".") for one in LINES]
    for package, name in zip(packages, names, strict=True):
        assert f'"{package}.{name}"' in saved


def test_an_added_class_needs_a_test_of_each_field(overlay):
    script = """
import pathlib
import sys

import pytest

test = pathlib.Path("tests/models/test_mlp.py")
assert pytest.main(["-p", "no:cacheprovider", str(test)]) == 0
sys.path.insert(0, "tests")
import test_fields

def missing():
    return test_fields.all_field_keys() - test_fields.all_marked_keys()

assert "MLP.widths" not in missing()
test.write_text(test.read_text().replace('"MLP.widths"', ""))
assert {"MLP.widths", "Sound.seconds", "Quantile.quantile"} <= missing()
"""
    python(overlay, "-c", script)
