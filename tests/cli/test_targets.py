"""Tags and values through all commands: a run, its export, and a process of TensorFlow alone."""

import json
import subprocess
import sys

import numpy as np
import pytest
import sklearn.metrics as sk
from PIL import Image
from runs import train

import modelzoo
from modelzoo import EvalConfig, Experiment, TrainConfig
from modelzoo.cli import evaluate, export, predict
from modelzoo.cli.main import run
from modelzoo.data import Dataset, Table, Tags, Values
from modelzoo.data import Image as ImageInput
from modelzoo.models import CNN
from modelzoo.optimizers import SGD
from modelzoo.tasks import Regression, Tagging
from modelzoo.training import checkpoint

TAGS = ("bright", "red", "wide")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images with what is true of them: their brightness, colour and form."""
    root = tmp_path_factory.mktemp("targets")
    rng = np.random.default_rng(0)
    lines = ["path,part," + ",".join((*TAGS, "mean", "redness"))]
    for k in range(36):
        wide = bool(rng.integers(2))
        pixels = rng.integers(0, 256, (6, 10, 3) if wide else (10, 6, 3))
        pixels = (pixels * rng.uniform(0.2, 1, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(root / f"{k}.png")
        mean, red = pixels.mean(), pixels[..., 0].mean() - pixels[..., 1].mean()
        part = ("train", "train", "test")[k % 3]
        cells = (f"{k}.png", part, int(mean > 80), int(red > 0), int(wide), mean, red)
        lines.append(",".join(map(str, cells)))
    (root / "table.csv").write_text("\n".join(lines))
    return root


def experiment_of(folder, kind):
    target = {"tags": Tags(columns=TAGS), "values": Values(columns=("mean", "redness"))}[kind]
    task = {
        "tags": Tagging(threshold=0.45),
        "values": Regression(target_mean=(70, 0), target_std=(20, 30)),
    }[kind]
    return Experiment(
        model=CNN(filters=(4,), dense=(8,)),
        task=task,
        data=Dataset(
            source=Table(str(folder / "table.csv"), split_column="part"),
            inputs=ImageInput(size=(8, 8), channels=3),
            target=target,
            validation_split="test",
        ),
        optimizer=SGD(0.05),
        train=TrainConfig(steps=6, batch_size=8, ema_decay=0.5),
        eval=EvalConfig(
            every=2, best_metric={"tags": "mean_average_precision", "values": "mae"}[kind]
        ),
    )


@pytest.fixture(scope="module")
def both(folder):
    """Of each kind: itself, its run's folder, the exported folder, and the result of the run."""
    found = {}
    for kind in ("tags", "values"):
        result, _ = train(experiment_of(folder, kind), folder / kind)
        served = folder / kind / "served"
        assert run(export, [f"--workdir={folder / kind}", f"--export_dir={served}"]) == 0
        found[kind] = (kind, folder / kind, served, result)
    return found


@pytest.fixture(params=["tags", "values"])
def trained(request, both):
    return both[request.param]


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_metrics_agree_from_training_to_the_export(trained, tmp_path, capsys):
    kind, workdir, served, result = trained
    capsys.readouterr()
    found = []
    for place in (f"--workdir={workdir}", f"--model={served}"):
        file = tmp_path / "predictions.jsonl"
        words = [place, "--config.eval.batch_size=5", f"--predictions={file}"]
        assert run(evaluate, [*words, "--format=json"]) == 0
        found.append((json.loads(capsys.readouterr().out), lines(file.read_text())))
    (metrics, rows), (others, _) = found
    expected = {k: v for k, v in result["eval"]["test"].items() if isinstance(v, float)}
    assert len(expected) == {"tags": 11, "values": 5}[kind]
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name
        assert others[name] == pytest.approx(value, rel=1e-3, abs=1e-6), name
    assert sorted(row["id"] for row in rows) == sorted(f"{k}.png" for k in range(2, 36, 3))
    if kind == "tags":
        truth = np.array([[name in row["label"] for name in TAGS] for row in rows])
        given = np.array([row["scores"] for row in rows])
        expected = sk.average_precision_score(truth, given)
        assert metrics["mean_average_precision"] == pytest.approx(expected)
        for row, predicted in zip(rows, given, strict=True):
            chosen = {n: p for n, p in zip(TAGS, predicted.tolist(), strict=True) if p >= 0.45}
            assert row["tags"] == chosen
        assert metrics["per_tag"].keys() == set(TAGS)
    else:
        truth, given = (
            [[row[key][name] for name in ("mean", "redness")] for row in rows]
            for key in ("label", "values")
        )
        assert metrics["r2"] == pytest.approx(sk.r2_score(truth, given), rel=1e-5)
        assert metrics["mae"] == pytest.approx(sk.mean_absolute_error(truth, given), rel=1e-5)


def test_the_best_step_is_the_one_of_the_best_value(trained):
    kind, workdir, _, result = trained
    records = lines((workdir / "metrics.jsonl").read_text())
    name = {"tags": "mean_average_precision", "values": "mae"}[kind]
    by_step = {r["step"]: r[name] for r in records if r["kind"] == "eval"}
    best = {"tags": max, "values": min}[kind](by_step.values())
    meta = checkpoint.read_meta(checkpoint.find(workdir))
    assert result["evaluated_step"] == meta.best_step and by_step[meta.best_step] == best
    assert len(set(by_step.values())) > 1
    shown = {"tags": "micro_f1", "values": "mse"}[kind]
    assert all(np.isfinite(r[shown]) for r in records)


def test_the_table_of_metrics_has_a_row_for_each(trained, capsys):
    kind, workdir, _, _ = trained
    assert run(evaluate, [f"--workdir={workdir}"]) == 0
    out = capsys.readouterr().out
    title, names = {"tags": ("tag", TAGS), "values": ("output", ("mean", "redness"))}[kind]
    rows = out.partition("\n\n")[2].splitlines()
    assert [row.split()[0] for row in rows] == [title, *names]


def test_predictions_of_files(trained, folder, capsys):
    kind, workdir, served, _ = trained
    words = [str(folder / f"{k}.png") for k in range(3)]
    for place in (f"--workdir={workdir}", f"--model={served}"):
        assert run(predict, [place, *words]) == 0
        rows = lines(capsys.readouterr().out)
        assert [row.pop("file") for row in rows] == words
        predictions = list(modelzoo.load(workdir).predict_files(words))
        for row, prediction in zip(rows, predictions, strict=True):
            assert row.keys() == {kind} and row[kind].keys() == getattr(prediction, kind).keys()
            for name, value in row[kind].items():
                assert value == pytest.approx(prediction.json[kind][name], rel=1e-4)
    code = run(predict, [f"--workdir={workdir}", "--top=2", *words])
    out, err = capsys.readouterr()
    if kind == "tags":
        assert code == 0 and all(len(row["top"]) == 2 for row in lines(out))
    else:
        assert code == 1 and "--top needs a model of classes" in err and err.count("\n") == 1


# Imports of Keras and of this package raise, so what runs here knows TensorFlow alone.
_ALONE = """
import json, pathlib, sys
for name in ("keras", "tf_keras", "modelzoo"):
    sys.modules[name] = None
import tensorflow as tf
files = [pathlib.Path(path).read_bytes() for path in sys.argv[3:]]
for folder in sys.argv[1:3]:
    loaded = tf.saved_model.load(folder)
    answer = loaded.signatures["image_bytes"](encoded=tf.constant(files))
    arrays = {name: value.numpy().tolist() for name, value in answer.items()}
    print(json.dumps(arrays, default=bytes.decode))
"""


def test_what_is_served_alone_is_what_the_runs_give(both, folder):
    files = [folder / f"{k}.png" for k in range(5)]
    raw = {"encoded": [file.read_bytes() for file in files]}
    exported = [served / "1" for _, _, served, _ in both.values()]
    done = subprocess.run(
        [sys.executable, "-c", _ALONE, *exported, *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for answer, (kind, workdir, _, _) in zip(lines(done.stdout), both.values(), strict=True):
        expected = modelzoo.load(workdir).outputs(raw)
        assert answer.keys() == expected.keys()
        key = {"tags": "scores", "values": "values"}[kind]
        np.testing.assert_allclose(answer[key], expected[key], rtol=1e-4, atol=1e-4)
        if kind == "tags":
            assert answer["classes"] == expected["classes"].tolist() == [list(TAGS)] * 5
            assert answer["predicted"] == expected["predicted"].tolist()
