"""Pairs of texts through all commands: a run, its export, and a process of TensorFlow alone."""

import io
import json
import re
import sys
import types

import numpy as np
import pairs
import pytest
import sacrebleu
from alone import served_alone
from runs import train
from texts import ODD, WORDS

import modelzoo
from modelzoo import EvalConfig, Experiment, TrainConfig
from modelzoo.cli import evaluate, export, predict
from modelzoo.cli.main import run
from modelzoo.decoding import Decoding
from modelzoo.inference.predictor import Predictor
from modelzoo.optimizers import Adam
from modelzoo.tasks import TextToText
from modelzoo.training import run_folder

DECODING = "--config.task.decoding"
METRICS = ("bleu", "chrf", "exact_match", "f1")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The run's folder, the exported one, the run's result and what was printed."""
    workdir = tmp_path_factory.mktemp("pairs")
    experiment = Experiment(
        model=pairs.TINY,
        task=TextToText(decoding=Decoding(beams=2, n_best=2), metrics=METRICS),
        data=pairs.phrases(most=4, number=60, lengths=(8,)),
        optimizer=Adam(0.02),
        train=TrainConfig(steps=80, log_every=40),
        eval=EvalConfig(every=40, best_metric="exact_match"),
    )
    result, out = train(experiment, workdir)
    served = workdir / "served"
    assert run(export, [f"--workdir={workdir}", f"--export_dir={served}"]) == 0
    return types.SimpleNamespace(
        workdir=workdir, served=served, result=result, out=out, data=experiment.data
    )


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def predicted(capsys, *words):
    code = run(predict, list(words))
    out, err = capsys.readouterr()
    return code, lines(out), err


def test_training_shows_metrics_their_signatures_and_samples(trained):
    shown = trained.out.split("step 40  validation: ")[1].splitlines()
    scores, *rest = shown[: shown.index(next(k for k in shown if k.startswith("step ")))]
    for name in ("loss", "token_accuracy", "bleu", "chrf", "exact_match", "f1"):
        assert re.search(rf"\b{name} \d", scores), scores
    signature = f"nrefs:var|case:mixed|eff:no|tok:13a|smooth:exp|version:{sacrebleu.__version__}"
    assert rest[0] == f"  bleu: {signature}"
    assert rest[1].startswith("  chrf: nrefs:var")
    names, texts = zip(*(line.split(maxsplit=1) for line in rest[2:]), strict=True)
    assert names == ("source", "reference", "output") * 3
    source = trained.data.open().split("validation")
    assert texts[1] == source.references[0][0] and texts[-2] == source.references[-1][0]
    # Signatures are shown once and at the end; samples each time.
    assert trained.out.count("tok:13a") == 2
    assert trained.out.count("  output ") == 6
    records = [r for r in run_folder.read_records(trained.workdir) if r["kind"] == "eval"]
    assert {"bleu", "chrf", "exact_match", "f1", "perplexity"} <= set(records[0])
    saved = json.loads((trained.workdir / "result.json").read_text())
    assert saved["eval"]["test"]["signatures"]["bleu"] == signature
    assert saved["eval"]["test"]["exact_match"] > 0.2


def test_metrics_agree_from_training_to_the_export(trained, tmp_path, capsys):
    capsys.readouterr()
    expected = trained.result["eval"]["test"]
    files = []
    for words in (
        [f"--workdir={trained.workdir}", "--devices=cpu:2", "--config.eval.batch_size=8"],
        [f"--model={trained.served}"],
    ):
        files.append(tmp_path / f"{len(files)}.jsonl")
        assert run(evaluate, [*words, f"--predictions={files[-1]}", "--format=json"]) == 0
        scores = json.loads(capsys.readouterr().out)
        # An exported model gives no probabilities of tokens that it did not choose.
        names = {"bleu", "chrf", "exact_match", "f1", "squad_exact_match"}
        if words[0].startswith("--workdir"):
            names |= {"loss", "perplexity", "token_accuracy"}
        assert {name for name, value in scores.items() if isinstance(value, float)} == names
        for name in names:
            assert scores[name] == pytest.approx(expected[name], rel=1e-5), name
        assert scores["signatures"] == expected["signatures"]
        rows = lines(files[-1].read_text())
        assert [row["id"] for row in rows] == [f"test/{k}" for k in range(60)]
        source = trained.data.open().split("test")
        assert [tuple(row["references"]) for row in rows] == source.references
        streams = [[r[0] for r in source.references]]
        streams.append([r[1] if r[1:] else None for r in source.references])
        bleu = sacrebleu.corpus_bleu([row["text"] for row in rows], streams)
        assert bleu.score == pytest.approx(expected["bleu"])
        hits = [row["text"] in row["references"] for row in rows]
        assert np.mean(hits) == pytest.approx(expected["exact_match"])
    texts = [[row["text"] for row in lines(file.read_text())] for file in files]
    assert texts[0] == texts[1]


def test_a_process_of_tensorflow_alone_answers_as_predict_does(trained, tmp_path, capsys):
    rng = np.random.default_rng(0)
    many = [" ".join(rng.choice(WORDS, rng.integers(10))) for _ in range(1000 - len(ODD) - 3)]
    given = [*many, "  bee\t\u00a0 ant ", "\u202eant bee\u202c", "\n", *ODD]
    texts = [text if isinstance(text, bytes) else text.encode() for text in given]
    served, none = served_alone(trained.served / "1", texts, tmp_path)
    answers, scores = served["texts"], served["scores"]
    assert none == {"texts": [], "scores": []}
    # The command refuses a text that is not UTF-8, the model does not.
    *_, last = modelzoo.load(trained.workdir).predict_texts(texts)
    words = [f"--workdir={trained.workdir}", "--top=2", *(f"--text={text}" for text in given[:-1])]
    code, rows, _ = predicted(capsys, *words)
    assert code == 0
    assert [row.pop("source") for row in rows] == given[:-1]
    assert last.text == answers[-1][0]
    assert len({row["text"] for row in rows}) > 50
    for row, texts_found, scores_found in zip(rows, answers[:-1], scores[:-1], strict=True):
        assert row["text"] == texts_found[0]
        assert row["score"] == pytest.approx(scores_found[0], abs=1e-5)
        assert [found["text"] for found in row["top"]] == texts_found[: len(row["top"])]


def test_each_line_of_files_and_standard_input_is_predicted(trained, tmp_path, capsys, monkeypatch):
    file = tmp_path / "texts.txt"
    file.write_text("ant\n\nbee ant\n")
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(b"gnu\nhen\n")))
    code, rows, err = predicted(capsys, f"--model={trained.served}", str(file), "-")
    assert (code, err) == (0, "")
    assert [(row["file"], row["line"]) for row in rows] == [
        *((str(file), k) for k in (1, 2, 3)),
        ("-", 1),
        ("-", 2),
    ]
    expected = modelzoo.load(trained.served).predict_texts(["ant", "", "bee ant", "gnu", "hen"])
    for row, prediction in zip(rows, expected, strict=True):
        assert row["text"] == prediction.text
        assert set(row) == {"file", "line", "text", "score"}
        assert row["score"] == pytest.approx(prediction.outputs["scores"][0], abs=1e-5)


def test_decoding_is_chosen_for_a_run_and_is_in_its_export(trained, tmp_path, capsys):
    place = f"--workdir={trained.workdir}"
    _, (plain,), _ = predicted(capsys, place, "--text=ant bee gnu")
    wide = [f"{DECODING}.beams=4", f"{DECODING}.n_best=4", f"{DECODING}.length_penalty=2"]
    _, (row,), _ = predicted(capsys, place, *wide, "--top=4", "--text=ant bee gnu")
    assert len(row["top"]) == 4
    assert row["score"] != plain["score"]
    assert [r["score"] for r in row["top"]] == sorted(r["score"] for r in row["top"])[::-1]
    assert run(export, [place, *wide, f"--export_dir={tmp_path / 'wide'}"]) == 0
    assert "texts: string [n, 4], scores: float32 [n, 4]" in capsys.readouterr().out
    _, (again,), _ = predicted(capsys, f"--model={tmp_path / 'wide'}", "--text=ant bee gnu")
    assert again["text"] == row["text"]
    assert again["score"] == pytest.approx(row["score"], abs=1e-5)
    _, (short,), _ = predicted(capsys, place, f"{DECODING}.max_length=1", "--text=ant bee gnu")
    assert len(short["text"].split()) == 1
    file = tmp_path / "short.jsonl"
    words = [f"{DECODING}.max_length=1", f"--predictions={file}"]
    assert run(evaluate, [place, *words]) == 0
    out = capsys.readouterr().out
    assert "  bleu: nrefs:var|" in out
    found = float(re.search(r"^chrf +([\d.]+)$", out, re.MULTILINE)[1])
    rows = lines(file.read_text())
    assert len(rows) == 60 and all(len(row["text"].split()) <= 1 for row in rows)
    streams = [[row["references"][0] for row in rows]]
    streams.append([row["references"][1] if row["references"][1:] else None for row in rows])
    chrf = sacrebleu.corpus_chrf([row["text"] for row in rows], streams)
    assert found == pytest.approx(chrf.score, abs=1e-3)


def test_an_example_has_the_same_sample_in_every_batch_and_place(trained, tmp_path):
    """Evaluated, predicted and exported, on one replica or two, of the whole split or a part."""
    sampled = {"beams": 1, "n_best": 1, "temperature": 3.0, "seed": 5}
    overrides = {f"task.decoding.{name}": value for name, value in sampled.items()}
    predictor = Predictor.from_workdir(trained.workdir, overrides=list(overrides.items()))
    exported = Predictor.from_export(predictor.export(tmp_path / "export"))
    file = tmp_path / "rows.jsonl"

    def evaluated(model, split="test", **more):
        given = {k.replace("__", "."): v for k, v in more.items()}
        own = overrides if model is trained.workdir else {}
        modelzoo.evaluate(model, split, overrides={**own, **given}, predictions=file)
        return {row["id"]: row["text"] for row in lines(file.read_text())}

    whole = evaluated(trained.workdir)
    texts = trained.data.open().split("test").gather(np.arange(60))["text"].numpy().tolist()
    assert len(set(whole.values())) > 30
    two = {"distribute__strategy": "mirrored", "distribute__devices": "cpu:2"}
    assert evaluated(trained.workdir, eval__batch_size=8, **two) == whole
    assert evaluated(tmp_path / "export", eval__batch_size=7) == whole
    part = evaluated(trained.workdir, "test[50%:]", eval__batch_size=7)
    assert part == {name: whole[name] for name in [f"test/{k}" for k in range(30, 60)]}
    for model in (predictor, exported):
        for batch_size in (7, 64):
            found = [p.text for p in model.predict_texts(texts, batch_size)]
            assert found == list(whole.values())
        # A request without numbers counts its own rows.
        assert model.outputs({"text": texts})["texts"][:, 0].tolist() == list(whole.values())
        cut = model.outputs({"text": texts[9:12], "number": [9, 10, 11]})["texts"][:, 0]
        assert cut.tolist() == list(whole.values())[9:12]


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        (predict, [f"{DECODING}.beems=2", "--text=a"], r"task\.decoding\.beems.*nearest.*beams"),
        (
            predict,
            [f"{DECODING}.n_best=9", "--text=a"],
            "task.decoding.n_best must be at most beam",
        ),
        (predict, ["--top=3", "--text=a"], f"--top must be .* {DECODING}.n_best=3$"),
        (predict, ["absent.txt"], "the file or folder absent.txt does not exist"),
        (evaluate, [f"{DECODING}=5"], "config.task.decoding is Decoding and cannot be '5'"),
        (
            evaluate,
            ["--config.task.label_smoothing=0.1"],
            "label_smoothing cannot change .* only decoding, metrics, bleu_tokenizer can$",
        ),
        (
            evaluate,
            ["--config.data.target.lengths=9"],
            "--config.data.target.lengths cannot change after training",
        ),
    ],
)
def test_mistakes_are_one_line(trained, capsys, command, words, message):
    capsys.readouterr()
    assert run(command, [f"--workdir={trained.workdir}", *words]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert re.search(message, err), err


@pytest.mark.parametrize("command", [predict, evaluate])
def test_an_export_keeps_its_decoding(trained, capsys, command):
    capsys.readouterr()
    words = ["--text=a"] if command is predict else []
    assert run(command, [f"--model={trained.served}", f"{DECODING}.beams=3", *words]) == 1
    err = capsys.readouterr().err
    assert f"{DECODING}.beams is part of an exported graph: export the run again with it" in err
    assert err.count("\n") == 1


def test_the_metrics_of_an_export_are_chosen(trained, capsys):
    capsys.readouterr()
    words = [f"--model={trained.served}", "--config.task.metrics=chrf", "--format=json"]
    assert run(evaluate, words) == 0
    metrics = json.loads(capsys.readouterr().out)
    assert metrics["chrf"] == pytest.approx(trained.result["eval"]["test"]["chrf"], rel=1e-5)
    assert "bleu" not in metrics


def test_an_export_has_as_many_texts_as_it_was_exported_with(trained, capsys):
    capsys.readouterr()
    assert run(predict, [f"--model={trained.served}", "--top=3", "--text=a"]) == 1
    out, err = capsys.readouterr()
    message = (
        f"--top must be at most .*, 2, got 3: export again with {DECODING}.beams=3 .*n_best=3\n$"
    )
    assert out == "" and re.search(message, err)


def test_a_model_of_images_has_no_decoding(image_run, capsys):
    file = next((image_run.data_dir / "test").rglob("*.png"))
    assert run(predict, [f"--workdir={image_run.workdir}", f"{DECODING}.beams=2", str(file)]) == 1
    err = capsys.readouterr().err
    assert "unknown key config.task.decoding.beams" in err and err.count("\n") == 1
