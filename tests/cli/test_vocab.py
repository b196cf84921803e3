import json

import pytest

from modelzoo.cli import main
from modelzoo.data import tokenizers
from modelzoo.data.text_table import TextTable
from modelzoo.data.tokenizers import Characters

CONFIG = """
from modelzoo.config import Experiment
from modelzoo.data.text_table import TextTable
from modelzoo.data.tokenizers import Characters, Subwords, Words
from modelzoo.models.cnn import CNN
from modelzoo.tasks.image_classification import ImageClassification
from modelzoo.train.optimizer import SGD


def get_config():
    data = TextTable("{split}.csv", tokenizer=TOKENIZER, vocabulary="not there", lengths=(2,))
    return Experiment(model=CNN(), task=ImageClassification(), data=data, optimizer=SGD())
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a config and its data, which is the working directory."""
    (tmp_path / "words.py").write_text(CONFIG.replace("TOKENIZER", "Words()"))
    (tmp_path / "letters.py").write_text(CONFIG.replace("TOKENIZER", "Characters()"))
    texts = ["One fish two fish", "red fish BLUE\u200efish", "fish " * 30]
    lines = [f"{text},{k % 2}" for k, text in enumerate(texts)]
    (tmp_path / "train.csv").write_text("\n".join(["text,label", *lines]))
    (tmp_path / "test.csv").write_text("text,label\nunseen,0")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capfd, words):
    code = main.dispatch(words.split())
    return code, *capfd.readouterr()


@pytest.mark.field("TextData.vocabulary")
def test_the_training_texts_make_the_vocabulary(place, capfd):
    code, out, err = run(
        capfd,
        "vocab --config=words.py --output=new/vocab --config.data.tokenizer.size=5 --samples=9",
    )
    assert (code, err) == (0, "")
    trained = tokenizers.load("new/vocab")
    assert trained.vocabulary == ("<pad>", "<unk>", "fish", "bluefish", "one")
    lines = out.splitlines()
    # 4, 3 and 30 words, of which "two" and "red" have no id; cut to no length.
    assert lines[:3] == [
        "5 words in new/vocab",
        "37 tokens in 3 texts, 94.59% of them in the vocabulary",
        "tokens of a text: median 4, 95 % have at most 30, the longest 30",
    ]
    samples = dict(line.split(": ") for line in lines[4:-2])
    assert samples == {
        "train.csv:2": "one | fish | <unk> | fish",
        "train.csv:3": "<unk> | fish | bluefish",
        "train.csv:4": " | ".join(["fish"] * 20) + " ...",
    }
    assert lines[-1] == "use it: --config.data.vocabulary=new/vocab"
    data = TextTable("{split}.csv", tokenizer=Characters(), vocabulary="new/vocab")
    assert data.open("test").spec.tokenizer == trained
    assert not [path for path in (place / "new").iterdir() if path.name != "vocab"]


@pytest.mark.field("TextData.tokenizer")
def test_an_empty_folder_is_taken_and_what_cannot_be_seen_is_escaped(place, capfd):
    (place / "empty").mkdir()
    words = "vocab --config=letters.py --output=empty --samples=3 --config.data.train_split"
    code, out, err = run(capfd, f"{words}=train")
    assert (code, err) == (0, "")
    assert "100.00% of them in the vocabulary" in out and "B | L | U | E | \\u200e | f" in out
    saved = json.loads((place / "empty/tokenizer.json").read_text())
    assert saved["type"] == "Characters" and "\u200e" in saved["vocabulary"]
    before = (place / "empty/tokenizer.json").read_bytes()
    assert run(capfd, f"{words}=test") == (
        1,
        "",
        "modelzoo vocab: --output=empty exists: name another folder, or an empty one\n",
    )
    assert (place / "empty/tokenizer.json").read_bytes() == before
