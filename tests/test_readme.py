"""What README and the guides in docs/ say is done here as it is said, only smaller.

tests/test_extending.py does the same for what they add to the package.
"""

import importlib
import json
import re

import numpy as np
import pages
import pytest
from PIL import Image

import modelzoo
from modelzoo import config
from modelzoo.cli.flags import config_overrides
from modelzoo.cli.main import commands, dispatch
from modelzoo.training import checkpoint, run_folder

TINY = {"train.steps": "2", "train.batch_size": "18", "optimizer.schedule.warmup": "1"}


def overrides(values):
    """Flags that make a run tiny, and others."""
    return [f"--config.{key}={value}" for key, value in (TINY | values).items()]


ALL = [
    words
    for page in pages.ALL
    for words in pages.commands(page)
    if words[0] in commands() or page != pages.EXTENDING
]


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_commands_and_their_overrides_exist(words):
    if words[-1] == "--help":
        assert dispatch([word for word in words if word != "COMMAND"]) == 0
        return
    flags = importlib.import_module(f"modelzoo.cli.{words[0]}").FLAGS
    flags.parse(words)
    if "config" in flags and flags.config in modelzoo.configs.names():
        config.load(flags.config, config_overrides(flags))


def test_the_files_they_name_exist():
    for page in pages.ALL:
        named = set(re.findall(r"`((?:tests|modelzoo|configs|benchmarks|docs)/[\w/.]+)", page))
        named |= set(re.findall(r"\]\(((?!http)[^)#]+)", page))
        added = {one.path for one in pages.additions(page)}
        if page == pages.README:
            added |= {"tests/models/test_mlp.py"}
            assert "tests/training/test_step.py" in named
        folders = (pages.ROOT, pages.ROOT / "docs")
        absent = {path for path in named if not any((root / path).exists() for root in folders)}
        assert absent <= added


@pytest.mark.parametrize("page", pages.ALL, ids=("readme", "images", "texts", "pairs", "extending"))
def test_the_data_sets_they_show_can_be_made(page):
    names = {name: getattr(modelzoo.data, name) for name in dir(modelzoo.data)}
    blocks = re.findall(r"^```python\n(Dataset\(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert bool(blocks) == (page in (pages.IMAGES, pages.TEXTS))
    for block in blocks:
        exec(compile(block, "page", "exec"), names)


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
    (photos / "photos.py").write_text(pages.code("write a config `photos.py`:"))
    words = pages.command("train", "--config=photos.py")
    assert dispatch([*words, *overrides({"model.depth": 8})]) == 0
    assert "2 classes, images 64x64x3" in capsys.readouterr().out
    result = run_folder.read_json(photos / "runs" / "photos" / "result.json")
    assert 0 < np.sum(result["eval"]["validation"]["confusion"]) < 20  # About a tenth.
    assert np.sum(result["eval"]["test"]["confusion"]) == 4
    assert checkpoint.read_meta(checkpoint.find("runs/photos", "best")).best_value is not None


def test_the_guide_to_images(photos, capsys):
    (photos / "photos.py").write_text(
        pages.code("A ResNet-50 on your own photographs", pages.IMAGES)
    )
    small = {"model.depth": 18, "model.width": 4, "data.inputs.size": "32,32"}
    small |= {"train.precision": "float16"}  # As the page says it is there.
    words = ["train", "--config=photos.py", "--workdir=runs/before"]
    assert dispatch([*words, *overrides(small)]) == 0
    # The page's command, from these weights; its own are of another net.
    (words,) = pages.commands(pages.IMAGES)
    words = [word.replace("cifar10_resnet20", "runs/before") for word in words]
    assert dispatch([*words, *overrides(small)]) == 0
    assert "weights from" in capsys.readouterr().out


def test_the_guide_to_texts(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews.py").write_text(pages.code("A classifier of your own texts", pages.TEXTS))
    rows = [f"{'good' if k % 2 else 'bad'} film {k},{'pos' if k % 2 else 'neg'}" for k in range(60)]
    (tmp_path / "reviews.csv").write_text("\n".join(["text,label", *rows, "no label at all"]))
    (tmp_path / "lines.txt").write_text("good film\nbad film\n")
    (tmp_path / "new.csv").write_text("id,text\n1,a good film\n")
    small = ["--config.train.steps=2", "--config.model.units=3", "--config.data.inputs.lengths=4,8"]
    small += ["--config.model.embedding_dim=4", "--config.train.tokens_per_batch=64"]
    done = []
    for words in pages.commands(pages.TEXTS):
        if "reviews" not in " ".join(words):
            continue
        if words[0] == "train":
            words = [*words, *small, f"--workdir=runs/reviews{len(done) or ''}"]
        assert dispatch(words) == 0, words
        done.append(words[0])
    assert done == ["train", "predict", "predict", "export", "vocab", "train"]
    out = capsys.readouterr().out
    assert out.count('"probability"') == 5
    result = run_folder.read_json(tmp_path / "runs" / "reviews" / "result.json")
    assert result["skipped"] == {"train": 1, "validation": 1, "test": 1}


def test_the_guide_to_text_to_text(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    introduction = "Translation of your own sentences"
    (tmp_path / "german.py").write_text(pages.code(introduction, pages.TRANSLATION))
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
    small = ["--config.train.steps=2", "--config.train.checkpoint_every=1"]
    small += ["--config.train.tokens_per_batch=64", "--config.optimizer.schedule.warmup=1"]
    small += ["--config.data.inputs.lengths=(8,)", "--config.data.target.lengths=(8,)"]
    small += ["--config.data.inputs.tokenizer.size=60", "--config.model.hidden_dim=8"]
    small += ["--config.model.num_encoder_layers=1", "--config.model.num_decoder_layers=1"]
    small += ["--config.model.intermediate_dim=8"]
    done = []
    for words in pages.commands(pages.TRANSLATION):
        if words[0] == "train":
            # As many checkpoints are averaged as there are steps.
            summary = "summary" in words[1] or "answers" in words[1]
            mean = [] if summary else ["--config.eval.average_checkpoints=2"]
            words = [*words, *small, *mean, f"--workdir=runs/{len(done) or 'german'}"]
        assert dispatch(words) == 0, words
        done.append(words[0])
    firsts = ["train", *["predict"] * 2, "evaluate", "export", "attention"]
    assert done == [*firsts, "vocab", *["train"] * 3]
    out = capsys.readouterr().out
    assert out.count('"score"') == 3
    assert "rougeL" in out and "squad_exact_match" in out


def test_in_python_and_serving(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 10), np.uint8)
    Image.fromarray(pixels).save("photo.png")
    get = modelzoo.configs.get
    small = TINY | {"model.width": "4"}
    monkeypatch.setattr(
        modelzoo.configs, "get", lambda name, pairs: config.override(get(name, pairs), small)
    )
    exec(compile(pages.code("In Python, and in a notebook"), "README.md", "exec"), {})
    name, probability = capsys.readouterr().out.splitlines()[-1].split()
    assert name in "0123456789"
    assert 0.1 <= float(probability) <= 1
    assert dispatch(pages.command("export", "--workdir=runs/digits")) == 0
    assert dispatch(["predict", "--model=served/digits", "photo.png"]) == 0
    assert f'"class": "{name}"' in capsys.readouterr().out
