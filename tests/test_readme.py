"""What README and the recipe books in docs/ say is done here as it is said, only smaller."""

import importlib
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import modelzoo
from modelzoo import config
from modelzoo.cli.flags import config_overrides
from modelzoo.cli.main import dispatch
from modelzoo.training import checkpoint, run_folder

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
RECIPES = (ROOT / "docs" / "recipes.md").read_text()
TEXTS = (ROOT / "docs" / "texts.md").read_text()
TRANSLATION = (ROOT / "docs" / "translation.md").read_text()
PAGES = (README, RECIPES, TEXTS, TRANSLATION)
TINY = {"train.steps": "2", "train.batch_size": "18", "optimizer.schedule.warmup": "1"}

MLP_TEST = """
import keras
import numpy as np
import pytest

from modelzoo.models import MLP


def build(config):
    return config.build(keras.InputSpec(shape=(None, 4, 4, 1)), 3)


@pytest.mark.field("MLP.widths")
def test_sizes():
    assert build(MLP((5, 2))).count_params() == 17 * 5 + 6 * 2 + 3 * 3


def test_forward_pass_and_keras_file(tmp_path):
    model = build(MLP((5,)))
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 1)).astype("float32")
    a, b, c, d = model.get_weights()
    expected = np.maximum(x.reshape(2, 16) @ a + b, 0) @ c + d
    np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-6)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(x), model(x))
"""


def overrides(values):
    """Flags that make a run tiny, and others."""
    return [f"--config.{key}={value}" for key, value in (TINY | values).items()]


def code(introduction, page=README):
    """The first Python block after a text."""
    assert introduction in page, f"the page no longer says {introduction!r}"
    after = page.split(introduction, 1)[1]
    return re.search(r"^```python\n(.*?)^```", after, re.DOTALL | re.MULTILINE)[1]


def commands(page=README):
    """The words of every `modelzoo COMMAND` in a page's indented blocks."""
    lines = re.findall(r"^    (.*)$", page.replace("\\\n", " "), re.MULTILINE)
    parts = [part.strip() for line in lines for part in line.split("&&")]
    # What a synopsis puts in brackets is none of the words.
    words = [shlex.split(re.sub(r"\[.*?\]", "", p)) for p in parts if p.startswith("modelzoo ")]
    return [line[1:] for line in words]


def command(*start):
    """The one command of the README that starts with these words."""
    (found,) = [words for words in commands() if words[: len(start)] == list(start)]
    return found


ALL = [words for page in PAGES for words in commands(page)]


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_commands_and_their_overrides_exist(words):
    if words[-1] == "--help":
        assert dispatch([word for word in words if word != "COMMAND"]) == 0
        return
    flags = importlib.import_module(f"modelzoo.cli.{words[0]}").FLAGS
    flags.parse(words)
    if "config" in flags and flags.config in modelzoo.configs.names():
        config.load(flags.config, config_overrides(flags))


def test_the_files_it_names_exist():
    named = set(re.findall(r"`((?:tests|modelzoo|configs|benchmarks)/[\w/.]+)", README))
    added = {"modelzoo/models/mlp.py", "configs/digits_mlp.py", "tests/models/test_mlp.py"}
    assert "tests/training/test_step.py" in named
    assert {path for path in named if not (ROOT / path).exists()} == added


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """The folder in which the commands are run, with `photos/` in it."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for split, number in (("train", 10), ("test", 2)):
        for name in ("cat", "dog"):
            for k in range(number):
                file = tmp_path / "photos" / split / name / f"{k}.{'png' if k % 2 else 'jpg'}"
                file.parent.mkdir(parents=True, exist_ok=True)
                pixels = rng.integers(0, 256, (70 + k, 90 - k, 3), np.uint8)
                Image.fromarray(pixels).save(file)
    return tmp_path


def test_your_own_data(photos, capsys):
    (photos / "photos.py").write_text(code("write a config `photos.py`:"))
    words = command("train", "--config=photos.py")
    assert dispatch([*words, *overrides({"model.depth": 8})]) == 0
    assert "2 classes, images 64x64x3" in capsys.readouterr().out
    result = run_folder.read_json(photos / "runs" / "photos" / "result.json")
    assert 0 < np.sum(result["eval"]["validation"]["confusion"]) < 20  # About a tenth.
    assert np.sum(result["eval"]["test"]["confusion"]) == 4
    assert checkpoint.read_meta(checkpoint.find("runs/photos", "best")).best_value is not None


def test_the_recipes(photos, capsys):
    (photos / "photos.py").write_text(code("A ResNet-50 on your own photographs", RECIPES))
    small = {"model.depth": 18, "model.width": 4, "data.image_size": "32,32"}
    small |= {"train.precision": "float16"}  # As the page says it is there.
    words = ["train", "--config=photos.py", "--workdir=runs/before"]
    assert dispatch([*words, *overrides(small)]) == 0
    # The page's command, from these weights; its own are of another net.
    (words,) = commands(RECIPES)
    words = [word.replace("cifar10_resnet20", "runs/before") for word in words]
    assert dispatch([*words, *overrides(small)]) == 0
    assert "weights from" in capsys.readouterr().out


def test_the_recipes_for_texts(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews.py").write_text(code("A classifier of your own texts", TEXTS))
    rows = [f"{'good' if k % 2 else 'bad'} film {k},{'pos' if k % 2 else 'neg'}" for k in range(60)]
    (tmp_path / "reviews.csv").write_text("\n".join(["text,label", *rows, "no label at all"]))
    (tmp_path / "lines.txt").write_text("good film\nbad film\n")
    small = ["--config.train.steps=2", "--config.model.units=3", "--config.data.lengths=4,8"]
    small += ["--config.model.embedding_dim=4", "--config.data.tokens_per_batch=64"]
    done = []
    for words in commands(TEXTS):
        if "reviews" not in " ".join(words):
            continue
        if words[0] == "train":
            words = [*words, *small, f"--workdir=runs/reviews{len(done) or ''}"]
        assert dispatch(words) == 0, words
        done.append(words[0])
    assert done == ["train", "predict", "predict", "export", "vocab", "train"]
    out = capsys.readouterr().out
    assert out.count('"probability"') == 4
    result = run_folder.read_json(tmp_path / "runs" / "reviews" / "result.json")
    assert result["skipped"] == {"train": 1, "validation": 1, "test": 1}


def test_the_recipes_for_texts_made_of_texts(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "german.py").write_text(code("Translation of your own sentences", TRANSLATION))
    (tmp_path / "data").mkdir()
    numbers = {"train": 24, "val": 3, "test": 3}
    for split, number in numbers.items():
        for side, word in (("en", "house"), ("de", "Haus")):
            rows = [f"{word} {k % 10}" for k in range(number)]
            (tmp_path / "data" / f"{split}.{side}").write_text("\n".join(rows))
    (tmp_path / "sentences.txt").write_text("house 3\nhouse 4\n")
    questions = [
        {"question": "?", "context": f"No {k}", "answers": [str(k)], "title": str(k)}
        for k in range(200)
    ]
    summaries = [{"document": f"{k} of {k}", "summary": str(k)} for k in range(200)]
    for name, rows in (("questions", questions), ("summaries", summaries)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    small = ["--config.train.steps=2", "--config.data.lengths=(8,)", "--config.model.dim=8"]
    small += ["--config.train.checkpoint_every=1", "--config.data.target_lengths=(8,)"]
    small += ["--config.data.tokens_per_batch=64", "--config.model.encoder_layers=1"]
    small += ["--config.model.decoder_layers=1", "--config.model.ffn_dim=8"]
    # Checkpoints to be averaged there are as many as steps.
    small += ["--config.data.tokenizer.size=60", "--config.optimizer.schedule.warmup=1"]
    done = []
    for words in commands(TRANSLATION):
        if words[0] == "train":
            mean = (
                []
                if "summary" in words[1] or "answers" in words[1]
                else ["--config.eval.average_checkpoints=2"]
            )
            words = [*words, *small, *mean, f"--workdir=runs/{len(done) or 'german'}"]
        assert dispatch(words) == 0, words
        done.append(words[0])
    firsts = ["train", *["predict"] * 2, "evaluate", "export", "attention"]
    assert done == [*firsts, "vocab", *["train"] * 3]
    out = capsys.readouterr().out
    assert out.count('"score"') == 3
    assert "rougeL" in out and "squad_exact_match" in out


def test_in_python_and_serving(tmp_path, monkeypatch, capsys, digits_dir):
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 10), np.uint8)
    Image.fromarray(pixels).save("photo.png")
    get = modelzoo.configs.get
    small = TINY | {"model.width": "4", "data.data_dir": str(digits_dir)}
    monkeypatch.setattr(
        modelzoo.configs, "get", lambda name, pairs: config.override(get(name, pairs), small)
    )
    exec(compile(code("In Python, and so in a notebook"), "README.md", "exec"), {})
    name, probability = capsys.readouterr().out.splitlines()[-1].split()
    assert name in "0123456789"
    assert 0.1 <= float(probability) <= 1
    assert dispatch(command("export", "--workdir=runs/digits")) == 0
    assert dispatch(["predict", "--model=served/digits", "photo.png"]) == 0
    assert f'"class": "{name}"' in capsys.readouterr().out


@pytest.fixture(scope="module")
def overlay(tmp_path_factory):
    """A copy of the repository, with the model of "Adding a model" added as the text says."""
    folder = tmp_path_factory.mktemp("overlay")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("modelzoo", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    # As in a wheel.
    shutil.copytree(ROOT / "configs", folder / "modelzoo" / "configs", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)

    steps = README.split("## Adding a model", 1)[1]
    model, config_file, test = re.findall(r"^\d\. `(.*?)`:", steps, re.MULTILINE)
    (folder / model).write_text(code(f"1. `{model}`"))

    (folder / "modelzoo" / config_file).write_text(code(f"2. `{config_file}`"))
    (folder / test).write_text(MLP_TEST)
    package = folder / "modelzoo" / "models" / "__init__.py"
    line = code("4. One line in `modelzoo/models/__init__.py`").strip("\n")
    package.write_text(package.read_text().replace("\nelse:\n", f"\n{line}\nelse:\n"))
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


def test_an_added_model_is_listed_trained_and_loaded(overlay, digits_dir):
    script = """
import sys
import numpy as np
import modelzoo
from modelzoo.cli.main import dispatch

assert modelzoo.__file__.startswith(sys.argv[1]), modelzoo.__file__
assert dispatch(["list"]) == 0
assert dispatch(["train", "--config=digits_mlp", "--workdir=run", *sys.argv[2:]]) == 0
predictor = modelzoo.load("run")
assert predictor.outputs({"image": np.zeros([3, 8, 8, 1], np.uint8)})["scores"].shape == (3, 10)
"""
    flags = overrides({"data.data_dir": digits_dir})
    out = python(overlay, "-c", script, str(overlay), *flags)
    listed = [line.split(maxsplit=1) for line in out.splitlines()]
    assert ["digits_mlp", "Dense layers on the handwritten digits."] in listed
    assert ["MLP", "A multilayer perceptron."] in listed
    assert f"MLP, {65 * 128 + 129 * 10:,} parameters" in out


def test_an_added_model_needs_a_test_of_its_field(overlay):
    script = """
import pathlib
import pytest

words = ["-p", "no:cacheprovider", "tests/test_fields.py"]
test = pathlib.Path("tests/models/test_mlp.py")
assert pytest.main([*words, str(test)]) == 0
test.write_text(test.read_text().replace('"MLP.widths"', ""))
assert pytest.main(words) == 1
"""
    out = python(overlay, "-c", script)
    assert "no test is marked with pytest.mark.field for: MLP.widths" in out
