import json
import shlex

import pytest

from modelzoo.cli import main
from modelzoo.data import tokenizers

CONFIG = """
from modelzoo import Experiment
from modelzoo.data.dataset import Dataset
from modelzoo.data.inputs.text import Text
from modelzoo.data.sources.table import Table
from modelzoo.data.targets.text_target import TextTarget
from modelzoo.data.tokenizers import Characters, Words
from modelzoo.models import CNN
from modelzoo.optimizers import SGD
from modelzoo.tasks import TextToText


def get_config():
    data = Dataset(source=Table("{split}.csv"), inputs=INPUTS, target=TARGET)
    return Experiment(model=CNN(), task=TextToText(), data=data, optimizer=SGD())
"""


def write_config(name, inputs, target=None):
    text = CONFIG.replace("INPUTS", inputs).replace("TARGET", str(target))
    with open(name, "w") as file:
        file.write(text)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with configs and their data, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    write_config("words.py", 'Text(tokenizer=Words(), vocabulary="not there", lengths=(2,))')
    write_config("letters.py", "Text(tokenizer=Characters(), lengths=(2,))")
    texts = ["One fish two fish", "red fish BLUE\u200efish", "fish " * 30]
    lines = [f"{text},{k % 2}" for k, text in enumerate(texts)]
    (tmp_path / "train.csv").write_text("\n".join(["text,label", *lines]))
    (tmp_path / "test.csv").write_text("text,label\nunseen,0")
    return tmp_path


def run(capfd, words):
    code = main.dispatch(shlex.split(words))
    return code, *capfd.readouterr()


@pytest.mark.field("VocabularyField.vocabulary")
def test_the_training_texts_make_the_vocabulary(place, capfd):
    code, out, err = run(
        capfd,
        "vocab --config=words.py --output=new/vocab --samples=9 "
        "--config.data.inputs.tokenizer.size=5",
    )
    assert (code, err) == (0, "")
    trained = tokenizers.load("new/vocab")
    assert trained.vocabulary == ("<pad>", "<unk>", "fish", "bluefish", "one")
    lines = out.splitlines()
    # 4, 3 and 30 words, of which "two" and "red" have no id; lengths do not truncate them.
    assert lines[:3] == [
        "5 words in new/vocab",
        "37 tokens in 3 texts, 94.59% in the vocabulary",
        "tokens per text: median 4, 95 % have at most 30, the longest 30",
    ]
    samples = dict(line.split(": ") for line in lines[4:-2])
    assert samples == {
        "train.csv:2": "one | fish | <unk> | fish",
        "train.csv:3": "<unk> | fish | bluefish",
        "train.csv:4": " | ".join(["fish"] * 20) + " ...",
    }
    assert lines[-1] == "use it: --config.data.inputs.vocabulary=new/vocab"
    assert not [path for path in (place / "new").iterdir() if path.name != "vocab"]


@pytest.mark.field("Text.tokenizer")
def test_an_empty_folder_is_filled_and_invisible_characters_are_escaped(place, capfd):
    (place / "empty").mkdir()
    words = "vocab --config=letters.py --output=empty --samples=3 --config.data.train_split"
    code, out, err = run(capfd, f"{words}=train")
    assert (code, err) == (0, "")
    assert "100.00% in the vocabulary" in out and "B | L | U | E | \\u200e | f" in out
    saved = json.loads((place / "empty/tokenizer.json").read_text())
    assert saved["type"] == "Characters" and "\u200e" in saved["vocabulary"]
    before = (place / "empty/tokenizer.json").read_bytes()
    assert run(capfd, f"{words}=test") == (
        1,
        "",
        "modelzoo vocab: --output=empty exists: use a new or empty folder\n",
    )
    assert (place / "empty/tokenizer.json").read_bytes() == before


def test_the_printed_flag_is_one_word_of_a_shell(place, capfd):
    name = "it's a $vocab"
    _, out, _ = run(capfd, f"vocab --config=letters.py --output={shlex.quote(name)}")
    (word,) = shlex.split(out.splitlines()[-1].removeprefix("use it: "))
    assert word == f"--config.data.inputs.vocabulary={name}"


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = 'Text(columns=("en",), tokenizer=Words(), vocabulary="not there", lengths=(2,))'
    write_config("shared.py", text, 'TextTarget(columns=("de",))')
    own = 'TextTarget(columns=("de",), tokenizer=Characters())'
    write_config("apart.py", text, own)
    lines = ["en,de", "a house by the sea,ein Haus am Meer", "a tree,ein Baum"]
    (tmp_path / "train.csv").write_text("\n".join(lines))


ENGLISH = {"a", "house", "by", "the", "sea", "tree"}
GERMAN = {"ein", "Haus", "am", "Meer", "Baum"}
BOTH = ["train.csv:{} inputs", "train.csv:{} target"]


@pytest.mark.parametrize(
    "words, known, names, field",
    [
        ("--config=shared.py", ENGLISH | GERMAN, BOTH, "inputs"),
        ("--config=shared.py --field=inputs", ENGLISH | GERMAN, BOTH, "inputs"),
        ("--config=shared.py --field=target", GERMAN, BOTH[:0], "target"),
        (
            "--config=shared.py --config.data.target.vocabulary=x --field=inputs",
            ENGLISH,
            (),
            "inputs",
        ),
        ("--config=apart.py --field=inputs", ENGLISH, (), "inputs"),
        ("--config=apart.py --field=target", set("ein Haus am Meer Baum"), (), "target"),
    ],
)
@pytest.mark.field("VocabularyField.vocabulary")
def test_pairs_make_one_vocabulary_or_one_for_each_side(pairs, words, known, names, field, capfd):
    code, out, err = run(capfd, f"vocab {words} --output=new --samples=4")
    assert (code, err) == (0, "")
    trained = tokenizers.load("new")
    assert set(trained.vocabulary[2:]) == known
    lines = out.splitlines()
    end = lines.index(f"use it: --config.data.{field}.vocabulary=new")
    shown = {line.split(": ")[0] for line in lines[4 : end - 1]}
    assert shown == {name.format(k) for name in names or ["train.csv:{}"] for k in (2, 3)}
    if names:
        assert lines[1].startswith("13 tokens in 4 texts, 100.00%")
        assert "train.csv:2 inputs: a | house | by | the | sea" in lines
        assert not lines[end + 1 :]
    else:
        other = {"inputs": "target", "target": "inputs"}[field]
        assert f"--field={other};" in lines[-1] and len(lines) == end + 2


@pytest.mark.parametrize(
    "words, message",
    [
        ("--config=apart.py", "--field must be inputs or target, got none"),
        ("--config=shared.py --field=source", "--field must be inputs or target, got source"),
        ("--config=series.py", "config.data has no texts to train a vocabulary on"),
    ],
)
def test_a_field_without_a_vocabulary_is_an_error(pairs, words, message, capfd):
    write_config("series.py", '__import__("modelzoo.data", fromlist=["Series"]).Series()')
    assert run(capfd, f"vocab {words} --output=new") == (1, "", f"modelzoo vocab: {message}\n")
