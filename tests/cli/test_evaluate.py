"""The command `evaluate`: metrics and predictions of runs and exports, and what is served."""

import dataclasses
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics
from PIL import Image

import modelzoo
from modelzoo import EvalConfig, TrainConfig
from modelzoo.cli import evaluate, export, predict
from modelzoo.cli.main import run
from modelzoo.inference.predictor import Predictor
from modelzoo.training.progress import Progress

VIEWS = "--config.data.inputs.test_views"


@pytest.fixture(scope="module")
def exported(image_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    Predictor.from_workdir(image_run.workdir).export(folder)
    return folder


def _evaluate(capsys, *words):
    """Metrics by name that the command prints as JSON."""
    code = run(evaluate, [*words, "--format=json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return json.loads(out)


def _lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def _same(got, expected, rtol=1e-4):
    for name in ("loss", "accuracy", "macro_f1"):
        assert got[name] == pytest.approx(expected[name], rel=rtol), name
    assert got["confusion"] == expected["confusion"]


def test_metrics_and_predictions_agree_and_count_every_example_once(image_run, tmp_path, capsys):
    file = tmp_path / "predictions.jsonl"
    # Twelve examples in batches of five: the last one is padded.
    metrics = _evaluate(
        capsys,
        f"--workdir={image_run.workdir}",
        "--config.eval.batch_size=5",
        f"--predictions={file}",
    )
    rows = _lines(file)
    files = sorted(p.relative_to(image_run.data_dir) for p in image_run.data_dir.glob("test/*/*"))
    assert sorted(row["id"] for row in rows) == [str(path) for path in files]
    assert metrics["examples"] == len(rows) == 12
    assert np.sum(metrics["confusion"]) == 12
    labels = [row["label"] for row in rows]
    assert labels == [row["id"].split("/")[1] for row in rows]
    classes = [row["class"] for row in rows]
    probabilities = np.array([row["scores"] for row in rows])
    names = list(image_run.bound.target.names)
    assert classes == [names[i] for i in probabilities.argmax(axis=1)]
    assert [row["probability"] for row in rows] == probabilities.max(axis=1).tolist()
    assert metrics["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(labels, classes))
    assert metrics["loss"] == pytest.approx(
        -np.mean(np.log([p[names.index(n)] for p, n in zip(probabilities, labels, strict=True)])),
        rel=1e-4,
    )
    expected = sklearn.metrics.confusion_matrix(labels, classes, labels=names)
    assert metrics["confusion"] == expected.tolist()


def test_an_export_has_the_metrics_of_its_checkpoint(image_run, exported, capsys):
    words = ["--config.eval.batch_size=5"]
    expected = _evaluate(capsys, f"--workdir={image_run.workdir}", *words)
    for flag in ("model", "workdir"):
        _same(_evaluate(capsys, f"--{flag}={exported}", *words), expected)


def test_checkpoint_weights_and_split_are_chosen(image_run, capsys):
    run_folder = f"--workdir={image_run.workdir}"
    losses = {
        words: _evaluate(capsys, run_folder, *words)["loss"]
        for words in (
            (),
            ("--checkpoint=best", "--weights=ema"),
            ("--checkpoint=last",),
            ("--checkpoint=20", "--weights=ema"),
            ("--weights=raw",),
            ("--split=train",),
            ("--split=test[:5]",),
        )
    }
    values = list(losses.values())
    assert values[0] == values[1]
    assert values[2] == values[3]
    assert len(set(values)) == 5


def test_metrics_are_those_of_the_end_of_training(image_run, tmp_path, capsys):
    experiment = dataclasses.replace(
        image_run.experiment,
        train=TrainConfig(steps=2, batch_size=4, ema_decay=0.5, precision="bfloat16"),
        eval=EvalConfig(batch_size=5),
    )
    result = modelzoo.train(experiment, tmp_path / "run", progress=Progress(io.StringIO()))
    for weights, expected in (
        ("ema", result["eval"]["test"]),
        ("raw", result["eval"]["test"]["raw"]),
    ):
        words = [f"--workdir={tmp_path / 'run'}", f"--weights={weights}"]
        _same(_evaluate(capsys, *words), expected, rtol=1e-5)


def test_views_are_chosen_for_a_run_and_are_in_its_export(image_run, tmp_path, capsys):
    run_folder = f"--workdir={image_run.workdir}"
    plain = _evaluate(capsys, run_folder)
    files = [tmp_path / name for name in ("evaluated", "served")]
    flipped = _evaluate(capsys, run_folder, f"{VIEWS}=flip", f"--predictions={files[0]}")
    assert flipped["loss"] != plain["loss"]
    # It is the mean over the images and their mirror images, as plain evaluation sees them.
    predictor = Predictor.from_workdir(image_run.workdir)
    raw = image_run.experiment.data.open().split("test").gather(np.arange(12))
    images = raw["image"].numpy()
    expected = sum(predictor.outputs({"image": i})["scores"] for i in (images, images[:, :, ::-1]))
    rows = _lines(files[0])
    np.testing.assert_allclose([row["scores"] for row in rows], expected / 2, atol=1e-5)

    assert (
        run(
            export,
            [
                run_folder,
                f"{VIEWS}=flip",
                f"--export_dir={tmp_path / 'out'}",
            ],
        )
        == 0
    )
    capsys.readouterr()
    exported = _evaluate(capsys, f"--model={tmp_path / 'out'}", f"--predictions={files[1]}")
    _same(exported, flipped)
    for served, row in zip(_lines(files[1]), rows, strict=True):
        np.testing.assert_allclose(served["scores"], row["scores"], atol=1e-5)
    assert (
        run(
            predict,
            [run_folder, f"{VIEWS}=flip", str(image_run.data_dir / "test")],
        )
        == 0
    )
    predicted = {}
    for line in map(json.loads, capsys.readouterr().out.splitlines()):
        name = str(Path(line["file"]).relative_to(image_run.data_dir))
        predicted[name] = line["probability"]
    assert predicted == pytest.approx({row["id"]: row["probability"] for row in rows}, abs=1e-5)


# Imports of Keras and of this package raise, so what runs here knows TensorFlow alone.
_SERVED = """
import json, pathlib, sys
for name in ("keras", "tf_keras", "modelzoo"):
    sys.modules[name] = None
import tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
root = pathlib.Path(sys.argv[2])
for path in sorted(root.glob("test/*/*")):
    answer = loaded.signatures["image_bytes"](encoded=tf.constant([path.read_bytes()]))
    print(json.dumps({
        "id": str(path.relative_to(root)),
        "class": answer["classes"].numpy()[0].decode(),
        "scores": answer["scores"].numpy()[0].tolist(),
    }))
"""


def test_what_is_served_is_what_was_evaluated(image_run, tmp_path, capsys):
    file = tmp_path / "predictions.jsonl"
    _evaluate(capsys, f"--workdir={image_run.workdir}", f"--predictions={file}")
    evaluated = {row["id"]: row for row in _lines(file)}
    assert len({row["class"] for row in evaluated.values()}) > 1
    words = [f"--workdir={image_run.workdir}", f"--export_dir={tmp_path / 'served'}"]
    assert run(export, words) == 0
    served = subprocess.run(
        [sys.executable, "-c", _SERVED, tmp_path / "served" / "1", image_run.data_dir],
        capture_output=True,
        text=True,
        check=False,
    )
    assert served.returncode == 0, served.stderr
    rows = [json.loads(line) for line in served.stdout.splitlines()]
    assert [row["id"] for row in rows] == sorted(evaluated)
    for row in rows:
        assert row["class"] == evaluated[row["id"]]["class"]
        np.testing.assert_allclose(row["scores"], evaluated[row["id"]]["scores"], atol=1e-5)


def _folder(root, classes, size=(40, 25), mode="L"):
    rng = np.random.default_rng(5)
    for name in classes:
        (root / "test" / name).mkdir(parents=True)
        for k in range(2):
            pixels = rng.integers(0, 256, (size[1], size[0]), np.uint8)
            Image.fromarray(pixels).convert(mode).save(root / "test" / name / f"{k}.png")
    shutil.copytree(root / "test", root / "train")


@pytest.mark.parametrize("which", ["workdir", "model"])
def test_another_folder_is_converted_to_the_models_size_and_classes(
    image_run, exported, tmp_path, capsys, which
):
    # Grey images of another size, and only two of the three classes: numbers 1 and 2 there.
    _folder(tmp_path, ("bee", "cät"))
    source = {"workdir": image_run.workdir, "model": exported}[which]
    file = tmp_path / "predictions.jsonl"
    metrics = _evaluate(
        capsys,
        f"--{which}={source}",
        f"--config.data.source.path={tmp_path}",
        f"--predictions={file}",
    )
    assert [sum(row) for row in metrics["confusion"]] == [0, 2, 2]
    assert all(row["label"] == row["id"].split("/")[1] for row in _lines(file))
    predicted = Predictor.from_workdir(image_run.workdir).predict_files(
        [tmp_path / row["id"] for row in _lines(file)]
    )
    for row, prediction in zip(_lines(file), predicted, strict=True):
        np.testing.assert_allclose(row["scores"], prediction.scores, atol=1e-5)


def test_the_table_names_every_metric_and_class(image_run, capsys):
    words = [f"--workdir={image_run.workdir}"]
    metrics = _evaluate(capsys, *words)
    assert run(evaluate, words) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    cells = {row[0]: row[1:] for row in rows if row}
    for name in ("loss", "accuracy", "macro_precision", "macro_recall", "macro_f1"):
        assert cells[name] == [f"{metrics[name]:.4f}"]
    assert cells["examples"] == ["12"]
    for class_name, values in metrics["per_class"].items():
        expected = [f"{values[n]:.4f}" for n in ("precision", "recall", "f1")]
        assert cells[class_name] == [*expected, "4"]


def _broken(tmp_path):
    _folder(tmp_path, ("ant", "bee", "cät"))
    file = tmp_path / "test" / "bee" / "0.png"
    file.write_bytes(file.read_bytes()[:-40])
    return f"--config.data.source.path={tmp_path}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (lambda tmp: ["--split=validation"], "validation"),
        (lambda tmp: ["--split=tset"], "tset"),
        (
            lambda tmp: ["--config.train.steps=3"],
            "--config.train.steps cannot change after training",
        ),
        (lambda tmp: ["--config.data.source.pathh=x"], "nearest is config.data.source.path"),
        (lambda tmp: ["--config.data.source.path=/absent"], "/absent"),
        (
            lambda tmp: ["--config.data.inputs.size=10,10"],
            "--config.data.inputs.size cannot change",
        ),
        (lambda tmp: ["--config.data.inputs.mean=1,1,1"], "the run's own is used; of Image only"),
        (lambda tmp: ["--config.model.width=8"], "--config.model.width cannot change after train"),
        (lambda tmp: ["--devices=gpu:64"], "gpu:64"),
        (lambda tmp: ["--checkpoint=7"], "no checkpoint of step 7"),
        (lambda tmp: ["--model=x"], "either --workdir"),
        (lambda tmp: [f"--predictions={tmp}/absent/file"], "cannot write --predictions"),
        (lambda tmp: [_broken(tmp)], "test/bee/0.png"),
    ],
)
def test_mistakes_are_one_line(image_run, tmp_path, capsys, words, message):
    assert run(evaluate, [f"--workdir={image_run.workdir}", *words(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("predictions", [False, True])
@pytest.mark.parametrize("which", ["workdir", "model"])
def test_a_broken_image_found_during_evaluation_is_named(
    image_run, exported, tmp_path, capsys, monkeypatch, which, predictions
):
    # What does not fit into memory is decoded while it is evaluated.
    monkeypatch.setattr("modelzoo.data.inputs.image_store.MEMORY_LIMIT", 0)
    source = {"workdir": image_run.workdir, "model": exported}[which]
    file = tmp_path / "predictions.jsonl"
    words = [f"--{which}={source}", _broken(tmp_path)]
    if predictions:
        words.append(f"--predictions={file}")
    assert run(evaluate, words) == 1
    assert "test/bee/0.png" in capsys.readouterr().err
    assert not file.exists()


def test_classes_that_the_model_does_not_know_are_named(image_run, tmp_path, capsys):
    _folder(tmp_path, ("bee", "dog"))
    words = [f"--workdir={image_run.workdir}", f"--config.data.source.path={tmp_path}"]
    assert run(evaluate, words) == 1
    assert "'dog'" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["model", "workdir"])
@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--devices=cpu:1", "one device"),
        ("--weights=raw", "have one set of weights"),
        (f"{VIEWS}=flip", f"{VIEWS} is part of an exported graph: export the run again with it"),
        ("--config.data.inputs.size=10,10", "--config.data.inputs.size cannot change after"),
    ],
)
def test_devices_and_weights_are_not_for_an_export(exported, capsys, flag, word, message):
    assert run(evaluate, [f"--{flag}={exported}", word]) == 1
    assert message in capsys.readouterr().err


def test_a_tilde_is_the_home_folder_in_every_path(image_run, tmp_path, capsys, monkeypatch):
    shutil.copytree(image_run.workdir, tmp_path / "run")
    shutil.copytree(image_run.data_dir, tmp_path / "data")
    monkeypatch.setenv("HOME", str(tmp_path))
    words = ["--config.data.source.path=~/data", "--predictions=~/predictions.jsonl"]
    expected = _evaluate(capsys, "--workdir=~/run", *words)
    assert len(_lines(tmp_path / "predictions.jsonl")) == 12
    assert run(export, ["--workdir=~/run", "--export_dir=~/served"]) == 0
    capsys.readouterr()
    _same(_evaluate(capsys, "--model=~/served", *words), expected)
    assert run(predict, ["--workdir", "~/run", "~/data/test"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 12
    assert modelzoo.load("~/served").task.data == image_run.bound


def test_the_examples_of_the_help_work(image_run, capsys):
    words = shlex.split(" ".join(re.findall(r"--config\.[a-z].*", evaluate.FLAGS.overrides_help)))
    assert len(words) == 5
    # Few images: a tenth of them may be none.
    words = [word.replace("10%", "100%") for word in words if "source.path" not in word]
    words = [word for word in words if "decoding" not in word]  # Of models of pairs of texts.
    assert _evaluate(capsys, f"--workdir={image_run.workdir}", *words)["examples"] > 0
