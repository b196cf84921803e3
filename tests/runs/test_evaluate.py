"""`modelzoo.evaluate` on a run, an export and a shipped model, on one and two devices."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import modelzoo
from modelzoo.cli.main import dispatch
from modelzoo.fields.errors import UserError
from modelzoo.inference.predictor import Predictor
from modelzoo.inference.signature_runner import SignatureRunner
from modelzoo.training import checkpoint
from modelzoo.training.evaluation import ModelRunner

TWO = {"distribute.devices": "cpu:2", "eval.batch_size": 6}


@pytest.fixture(scope="module")
def places(image_run, tmp_path_factory):
    """One model as a run, an export and a shipped model."""
    root = tmp_path_factory.mktemp("places")
    Predictor.from_workdir(image_run.workdir).export(root / "export")
    arrays = checkpoint.read(checkpoint.find(image_run.workdir, 10), "ema/")
    shutil.copytree(image_run.workdir / "assets", root / "shipped")
    shutil.copy(image_run.workdir / "config.json", root / "shipped")
    weights = {f"model/{name.removeprefix('ema/')}": value for name, value in arrays.items()}
    np.savez(root / "shipped" / "weights.npz", **weights)
    return {
        "run": image_run.workdir,
        "export": root / "export",
        "shipped": root / "shipped",
    }


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize(
    ("place", "overrides"),
    [("run", TWO), ("export", {}), ("shipped", {}), ("shipped", TWO)],
    ids=["run on two", "export", "shipped", "shipped on two"],
)
def test_every_place_gives_the_same_metrics_and_predictions(places, tmp_path, place, overrides):
    # Twelve examples: batches of five on one device are padded.
    files = [tmp_path / "expected", tmp_path / "got"]
    expected = modelzoo.evaluate(
        places["run"], overrides={"eval.batch_size": 5}, predictions=files[0]
    )
    assert (expected["split"], expected["examples"], expected["skipped"]) == ("test", 12, 0)
    got = modelzoo.evaluate(places[place], overrides=overrides, predictions=files[1])
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, float):
            assert got[name] == pytest.approx(value, rel=1e-4), name
    assert got["confusion"] == expected["confusion"]
    for a, b in zip(*map(lines, files), strict=True):
        assert {k: v for k, v in a.items() if isinstance(v, str)}.items() <= b.items()
        np.testing.assert_allclose(a["scores"], b["scores"], atol=1e-5)


def test_predictions_are_those_of_predict_and_of_the_exported_graph(
    image_run, places, tmp_path, capsys
):
    modelzoo.evaluate(places["run"], predictions=tmp_path / "lines")
    rows = {row["id"]: row for row in lines(tmp_path / "lines")}
    for flag in (f"--workdir={places['run']}", f"--model={places['export']}"):
        assert dispatch(["predict", flag, str(image_run.data_dir / "test")]) == 0
        predicted = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert len(predicted) == 12
        for one in predicted:
            row = rows[str(Path(one.pop("file")).relative_to(image_run.data_dir))]
            assert one["class"] == row["class"]
            assert one["probability"] == pytest.approx(row["probability"], abs=1e-5)
    graph = tf.saved_model.load(str(places["export"] / "1")).signatures["image_bytes"]
    contents = [(image_run.data_dir / name).read_bytes() for name in rows]
    served = graph(encoded=tf.constant(contents))
    scores = np.array([row["scores"] for row in rows.values()])
    np.testing.assert_allclose(served["scores"], scores, atol=1e-5)
    classes = [name.decode() for name in served["classes"].numpy()]
    assert classes == [row["class"] for row in rows.values()]


@pytest.mark.parametrize(("place", "runner"), [("run", ModelRunner), ("export", SignatureRunner)])
def test_predictions_need_no_second_run_of_the_model(places, tmp_path, monkeypatch, place, runner):
    outputs, seen = runner.outputs, []

    def counted(self, batch):
        tf.py_function(lambda index: seen.append(index.numpy().tolist()), [batch["index"]], [])
        return outputs(self, batch)

    monkeypatch.setattr(runner, "outputs", counted)
    found = modelzoo.evaluate(
        places[place], overrides={"eval.batch_size": 5}, predictions=tmp_path / "lines"
    )
    assert found["examples"] == len(lines(tmp_path / "lines")) == 12
    assert sorted(row for batch in seen for row in batch if row >= 0) == list(range(12))


def test_overrides_choose_the_data_and_the_checkpoint(image_run, places, tmp_path):
    shutil.copytree(image_run.data_dir / "test" / "ant", tmp_path / "test" / "ant")
    found = modelzoo.evaluate(
        places["run"],
        checkpoint=20,
        weights="raw",
        overrides=[("data.source.path", str(tmp_path)), ("data.train_split", "test")],
    )
    assert found["examples"] == 4 and "step 20" in found["model"] and "raw" in found["model"]
    assert [sum(row) for row in found["confusion"]] == [4, 0, 0]
    assert modelzoo.evaluate(places["run"], "test[:50%]")["examples"] < 12


@pytest.mark.parametrize(
    ("place", "options", "message"),
    [
        ("run", {"overrides": {"data.inputs.size": (9, 9)}}, "config.data.inputs.size cannot"),
        ("run", {"overrides": {"model.width": 3}}, "config.model.width cannot change after"),
        ("run", {"overrides": {"distribute.devices": "two"}}, "config.distribute.devices must be"),
        ("run", {"overrides": {"distribute.device": "cpu:1"}}, "nearest is config.distribute.dev"),
        ("run", {"overrides": TWO | {"eval.batch_size": 5}}, "must be a multiple of 2 replicas"),
        ("export", {"overrides": TWO}, "an exported model runs on one device"),
        ("export", {"weights": "ema"}, "exported and shipped models have one set of weights"),
        ("run", {"split": "final"}, "has no split 'final'"),
    ],
)
def test_mistakes_are_one_line(places, place, options, message):
    with pytest.raises(UserError, match=message) as error:
        modelzoo.evaluate(places[place], **options)
    assert "\n" not in str(error.value)


def test_a_name_without_a_model_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no folder and no trained model is called 'digits_renset'"):
        modelzoo.evaluate("digits_renset")
    with pytest.raises(UserError, match="not a run folder"):
        modelzoo.evaluate(tmp_path)
