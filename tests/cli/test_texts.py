"""Texts through all commands: a run, its export, and a process of TensorFlow alone."""

import io
import json
import os
import re
import sys
import types

import numpy as np
import pytest
import sklearn.metrics as sk
from alone import served_alone
from runs import train
from texts import ODD, WORDS, sentences

import modelzoo
from modelzoo import EvalConfig, Experiment, TrainConfig
from modelzoo.cli import evaluate, export, predict
from modelzoo.cli.main import run
from modelzoo.data import Words
from modelzoo.fields.errors import UserError
from modelzoo.models import LSTM
from modelzoo.optimizers import Adam
from modelzoo.tasks import Classification, TokenClassification

SPACED = Words(split="whitespace")
TASKS = {"class": Classification(), "labels": TokenClassification()}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Of each kind of targets: itself, its run's folder, the exported one, the run's result."""
    found = {}
    for targets, task in TASKS.items():
        workdir = tmp_path_factory.mktemp(targets)
        best = {"every": 10, "best_metric": "roc_auc"} if targets == "class" else {}
        experiment = Experiment(
            model=LSTM(embedding_dim=6, units=(6,), bidirectional=True, pooling="mean"),
            task=task,
            data=sentences(
                targets, lengths=(4, 16), keep="end", tokenizer=Words(split="whitespace")
            ),
            optimizer=Adam(0.05),
            train=TrainConfig(steps=20, ema_decay=0.5, tokens_per_batch=128),
            eval=EvalConfig(batch_size=6, **best),
        )
        result, _ = train(experiment, workdir)
        assert run(export, [f"--workdir={workdir}", f"--export_dir={workdir / 'served'}"]) == 0
        found[targets] = types.SimpleNamespace(
            targets=targets, workdir=workdir, served=workdir / "served", result=result
        )
    return found


@pytest.fixture(params=list(TASKS))
def trained(request, both):
    return both[request.param]


@pytest.fixture
def classifier(both):
    return both["class"]


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def predicted(capsys, *words):
    code = run(predict, list(words))
    out, err = capsys.readouterr()
    return code, lines(out), err


def test_metrics_agree_from_training_to_the_export(trained, tmp_path, capsys):
    capsys.readouterr()
    expected = trained.result["eval"]["test"]
    found = []
    for place in (f"--workdir={trained.workdir}", f"--model={trained.served}"):
        file = tmp_path / "predictions.jsonl"
        assert run(evaluate, [place, f"--predictions={file}", "--format=json"]) == 0
        metrics, rows = json.loads(capsys.readouterr().out), lines(file.read_text())
        found.append(rows)
        names = {name for name, value in expected.items() if isinstance(value, float)}
        assert {"accuracy", "micro_f1", "macro_f1"} <= names
        for name in names:
            assert metrics[name] == pytest.approx(expected[name], rel=1e-4), name
        assert metrics["confusion"] == expected["confusion"]
        # In the order of the split, whatever the order of their lengths.
        assert [row["id"] for row in rows] == [f"test/{k}" for k in range(40)]
    if trained.targets == "class":
        truth = [row["label"] == "many" for row in rows]
        given = [row["scores"][1] for row in rows]
        assert metrics["roc_auc"] == pytest.approx(sk.roc_auc_score(truth, given), rel=1e-6)
        assert metrics["roc_auc"] > 0.6
        assert metrics["loss"] == pytest.approx(sk.log_loss(truth, given), rel=1e-4)
    else:
        pairs = [
            (label, name)
            for row in rows
            for label, name in zip(row["label"], row["classes"], strict=False)
            if label is not None
        ]
        assert metrics["accuracy"] == pytest.approx(sk.accuracy_score(*zip(*pairs, strict=True)))


def test_a_process_of_tensorflow_alone_answers_as_predict_does(trained, tmp_path, capsys):
    rng = np.random.default_rng(0)
    many = [" ".join(rng.choice(WORDS, rng.integers(30))) for _ in range(1000 - len(ODD))]
    given = [*many, *ODD]
    texts = [text if isinstance(text, bytes) else text.encode() for text in given]
    served, none = served_alone(trained.served / "1", texts, tmp_path)
    classes, scores = served["classes"], served["scores"]
    assert none == {"classes": [], "scores": []}
    predictor = modelzoo.load(trained.workdir)
    # The command refuses a text that is not UTF-8, the model does not.
    bytewise = [p.json for p in predictor.predict_texts(texts)]
    code, rows, _ = predicted(
        capsys,
        f"--workdir={trained.workdir}",
        *(f"--text={text}" for text in given[:-1]),
    )
    assert code == 0
    assert [row.pop("text") for row in rows] == given[:-1]
    for k, answer in enumerate([*rows, bytewise[-1]]):
        if trained.targets == "class":
            assert answer["class"] == bytewise[k]["class"] == classes[k]
            probability = max(scores[k])
        else:
            real = [name for name in classes[k] if name]
            assert answer["classes"] == bytewise[k]["classes"] == real
            probability = [max(row) for row in scores[k][: len(real)]]
        key = "probability" if trained.targets == "class" else "probabilities"
        np.testing.assert_allclose(answer[key], probability, atol=1e-6)
        np.testing.assert_allclose(answer[key], bytewise[k][key], atol=1e-6)


def test_each_line_of_a_file_is_a_text(classifier, tmp_path, capsys, monkeypatch):
    texts = ["ant", "", " ".join(WORDS * 2), "bee cät"]
    plain, marked = tmp_path / "plain.txt", tmp_path / "marked.txt"
    plain.write_bytes("\n".join(texts).encode() + b"\n")
    marked.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(texts).encode())
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(b"gnu\nhen\n")))
    words = [f"--model={classifier.served}", str(plain), "-", str(marked), "--batch_size=3"]
    code, rows, err = predicted(capsys, *words, "--top=2")
    assert (code, err) == (0, "")
    places = [(str(plain), k) for k in range(1, 5)] + [("-", 1), ("-", 2)]
    places += [(str(marked), k) for k in range(1, 5)]
    assert [(row["file"], row["line"]) for row in rows] == places
    expected = modelzoo.load(classifier.served).predict_texts([*texts, "gnu", "hen", *texts])
    for row, prediction in zip(rows, expected, strict=True):
        assert row["class"] == prediction.class_name
        assert row["probability"] == pytest.approx(prediction.probability, abs=1e-6)
        assert row["top"][0]["class"] == row["class"]


def test_a_bad_line_or_file_is_named_and_the_others_are_predicted(classifier, tmp_path, capsys):
    file = tmp_path / "texts.txt"
    file.write_bytes(b"ant\nbee \xff\ncat\n\xed\xa0\x80\n")
    words = [f"--workdir={classifier.workdir}", str(file)]
    code, rows, err = predicted(capsys, *words)
    assert code == 1
    assert [row["line"] for row in rows] == [1, 3]
    assert err.splitlines() == [
        f"{file}, line 2: is not UTF-8",
        f"{file}, line 4: is not UTF-8",
        "2 of 4 examples could not be predicted",
    ]


def test_python_predicts_texts_also_those_that_are_not_unicode(classifier):
    predictor = modelzoo.load(classifier.workdir)
    found = list(predictor.predict_texts(["ant", "half \ud83d of a pair"], batch_size=1))
    assert [p.name for p in found] == ["0", "1"]
    assert all(p.error is None and p.class_name in ("few", "many") for p in found)


def test_python_predicts_the_lines_of_files(classifier, tmp_path):
    file = tmp_path / "texts.txt"
    file.write_bytes(b"ant\nbee \xff\nhen\n")
    predictor = modelzoo.load(classifier.workdir)
    *found, absent = predictor.predict_files([file, tmp_path / "absent"], batch_size=2)
    assert [p.name for p in found] == [f"{file}, line {k}" for k in (1, 2, 3)]
    assert found[1].error == "is not UTF-8" and "No such file" in absent.error
    expected = predictor.predict_texts(["ant", "hen"])
    assert [p.class_name for p in found[::2]] == [p.class_name for p in expected]


def test_a_model_of_images_predicts_no_texts(image_run):
    with pytest.raises(UserError, match="needs images 12x16x3, not texts"):
        modelzoo.load(image_run.workdir).predict_texts(["ant"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give either files or folders to predict, or texts by --text"),
        (["--text=a", "file"], "or texts by --text"),
        (["absent.txt"], "the file or folder absent.txt does not exist"),
        (["--text=a", "--config.data.inputs.test_views=flip"], "unknown key .*inputs.test_views"),
        (["--text=a\udcff"], "is not UTF-8"),
        ([os.curdir], "is a folder: name the files in it"),
    ],
)
def test_mistakes_are_one_line(classifier, capsys, words, message):
    code, rows, err = predicted(capsys, f"--workdir={classifier.workdir}", *words)
    assert (code, rows) == (1, [])
    assert err.count("\n") == 1
    assert re.search(message, err), err


def test_a_model_of_images_takes_no_text(image_run, capsys):
    code, rows, err = predicted(capsys, f"--workdir={image_run.workdir}", "--text=ant")
    assert (code, rows) == (1, [])
    assert "--text needs a model of texts" in err and err.count("\n") == 1


def test_other_texts_are_read_with_the_vocabulary_of_the_run(classifier, capsys):
    words = [f"--workdir={classifier.workdir}", "--split=train", "--format=json"]
    assert run(evaluate, [*words, "--config.data.source.number=7"]) == 0
    assert json.loads(capsys.readouterr().out)["examples"] == 7
    for field, value in (("keep", "start"), ("tokenizer.size", "9"), ("vocabulary", "other")):
        assert run(evaluate, [*words, f"--config.data.inputs.{field}={value}"]) == 1
        err = capsys.readouterr().err
        assert f"--config.data.inputs.{field} cannot change after training, the run's own" in err
        assert err.count("\n") == 1
