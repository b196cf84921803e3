import json

import pytest

from modelzoo.cli import main
from modelzoo.data import tokenizers
from modelzoo.data.pair_files import PairFiles
from modelzoo.data.text_table import TextTable
from modelzoo.data.tokenizers import Characters, Words

CONFIG = """
from modelzoo import Experiment
from modelzoo.data.text_table import TextTable
from modelzoo.data.tokenizers import Characters, Subwords, Words
from modelzoo.models.cnn import CNN
from modelzoo.tasks.image_classification import ImageClassification
from modelzoo.optimizers import SGD


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


PAIRS = """
from modelzoo import Experiment
from modelzoo.data.pair_files import PairFiles
from modelzoo.data.tokenizers import Characters, Words
from modelzoo.models.cnn import CNN
from modelzoo.tasks.image_classification import ImageClassification
from modelzoo.optimizers import SGD


def get_config():
    data = PairFiles(
        "{split}.en",
        "{split}.de",
        tokenizer=Words(),
        target_tokenizer=TARGET,
        vocabulary="not there",
        on_long_pair="skip",
        lengths=(2,),
    )
    return Experiment(model=CNN(), task=ImageClassification(), data=data, optimizer=SGD())
"""


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    (tmp_path / "shared.py").write_text(PAIRS.replace("TARGET", "None"))
    (tmp_path / "apart.py").write_text(PAIRS.replace("TARGET", "Characters()"))
    (tmp_path / "train.en").write_text("a house by the sea\na tree\n")
    (tmp_path / "train.de").write_text("ein Haus am Meer\nein Baum\n")
    monkeypatch.chdir(tmp_path)


ENGLISH = {"a", "house", "by", "the", "sea", "tree"}
GERMAN = {"ein", "haus", "am", "meer", "baum"}


@pytest.mark.parametrize(
    "words, known, names, field",
    [
        ("--config=shared.py", ENGLISH | GERMAN, ["1 source", "1 target"], "vocabulary"),
        ("--config=shared.py --side=source", ENGLISH, ["1 source", "2 source"], "vocabulary"),
        ("--config=shared.py --side=target", GERMAN, ["1 target", "2 target"], "target_vocabulary"),
        ("--config=apart.py --side=source", ENGLISH, ["1 source", "2 source"], "vocabulary"),
        (
            "--config=apart.py --side=target",
            set("ein Haus am Meer Baum"),
            ["1 target", "2 target"],
            "target_vocabulary",
        ),
    ],
)
@pytest.mark.field("PairData.vocabulary", "PairData.target_vocabulary")
def test_pairs_make_one_vocabulary_or_one_for_each_side(pairs, words, known, names, field, capfd):
    code, out, err = run(capfd, f"vocab {words} --output=new --samples=2")
    assert (code, err) == (0, "")
    trained = tokenizers.load("new")
    assert set(trained.vocabulary[2:]) == known
    lines = out.splitlines()
    end = lines.index(f"use it: --config.data.{field}=new")
    assert [line.split(": ")[0] for line in lines[4 : end - 1]] == [f"train.en:{n}" for n in names]
    other = {
        "": None,
        "source": "--side=target, used as --config.data.target_vocabulary,",
        "target": "--side=source, used as --config.data.vocabulary,",
    }[words.partition("--side=")[2]]
    assert len(lines[end + 1 :]) == bool(other) and (other is None or other in lines[-1])
    # Whole, though such a pair is not trained on.
    if words == "--config=shared.py":
        assert lines[1].startswith("13 tokens in 4 texts, 100.00%")
        assert lines[4] == "train.en:1 source: a | house | by | the | sea"
    data = PairFiles("{split}.en", "{split}.de", tokenizer=Words(), **{field: "new"})
    spec = data.open("train").spec
    assert (spec.tokenizer if field == "vocabulary" else spec.target_tokenizer) == trained
