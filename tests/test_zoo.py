"""The shipped models, and how they are found."""

import json
import re
import shutil

import numpy as np
import pytest

import modelzoo
from modelzoo import config, configs, zoo
from modelzoo.cli.main import dispatch
from modelzoo.fields.errors import UserError
from modelzoo.inference.predictor import Predictor
from modelzoo.training import checkpoint, run_folder

ROOT = zoo.folders()["digits_resnet"].parents[2]


@pytest.fixture
def evaluated(capsys):
    """The metrics that `modelzoo evaluate` prints for a model, on the digits."""

    def evaluate(*words):
        assert dispatch(["evaluate", *words, "--format=json"]) == 0
        return json.loads(capsys.readouterr().out)

    return evaluate


@pytest.mark.parametrize("name", zoo.names())
def test_every_model_is_small_and_complete_and_predicts(name):
    folder = zoo.folders()[name]
    sizes = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file()
    }
    predictor = modelzoo.load(name)
    data = predictor.task.data
    files = {"config.json", "data.json", "weights.npz", "card.md"}
    assert set(sizes) == files | ({"inputs/tokenizer.json"} if data.words else set())
    assert sum(sizes.values()) < 10e6
    arrays = checkpoint.read(folder)
    assert all(k.startswith("model/") and a.dtype == np.float32 for k, a in arrays.items())
    saved = json.loads((folder / "config.json").read_text())
    assert config.to_dict(predictor.experiment) == saved
    assert saved["data"]["source"].get("data_dir") is None
    assert {f"model/{v.path}" for v in predictor.model.weights} == set(arrays)
    trainable = sum(v.shape.num_elements() for v in predictor.model.trainable_variables)
    assert f"| Parameters | {trainable:,}, " in zoo.card(name)
    if data.words is None:
        shape = data.model_specs()["image"].shape
        raw = {"image": np.random.default_rng(0).integers(0, 256, (2, *shape), np.uint8)}
    elif data.target.names:
        raw = {"text": ["Österreich", ""]}
    else:
        raw = {"text": ["<de>September 2, 1970", ""]}
    outputs = predictor.outputs(raw)
    if data.target.names:
        assert all(class_name in zoo.card(name) for class_name in data.target.names)
        np.testing.assert_allclose(outputs["scores"].sum(axis=1), 1, atol=1e-5)
    else:
        assert outputs["texts"][0].tolist() == ["2. September 1970"]
        assert np.log(0.99) < outputs["scores"][0, 0] <= 0


def test_the_metrics_on_the_digits_are_the_recorded_ones(evaluated):
    record = json.loads((ROOT / "results" / "digits_resnet.json").read_text())
    seed = modelzoo.load("digits_resnet").experiment.seed
    (run,) = [run for run in record["runs"] if run["seed"] == seed]
    for split in ("test", "validation"):
        metrics = evaluated("--model=digits_resnet", f"--split={split}")
        assert metrics["accuracy"] == run["scores"][split]["accuracy"]
        assert metrics["loss"] == pytest.approx(run["scores"][split]["loss"], rel=1e-4)
        assert metrics["model"] == "shipped model digits_resnet"
    assert f"Test accuracy {run['scores']['test']['accuracy']:.4f}" in zoo.card("digits_resnet")
    two = evaluated("--model=digits_resnet", "--strategy=mirrored", "--devices=cpu:2")
    assert two["accuracy"] == run["scores"]["test"]["accuracy"]


def test_an_export_of_a_shipped_model_predicts_the_same(tmp_path, evaluated, capsys):
    export = ["export", "--model=digits_resnet", f"--export_dir={tmp_path / 'served'}"]
    assert dispatch(export) == 0
    assert "--model_name=digits_resnet" in capsys.readouterr().out
    got = evaluated(f"--model={tmp_path / 'served'}")
    assert got["accuracy"] == evaluated("--model=digits_resnet")["accuracy"]


def test_a_run_starts_from_a_shipped_model_by_its_name(tmp_path):
    start = configs.get(
        "digits_resnet",
        {
            "train.init_from": "digits_resnet",
            "train.steps": 1,
            "train.ema_decay": 0.999,
            "optimizer.learning_rate": 1e-12,
            "optimizer.schedule.warmup": 1,
        },
    )
    result = modelzoo.train(start, tmp_path)
    shipped = checkpoint.read(zoo.folders()["digits_resnet"])
    arrays = checkpoint.read(checkpoint.find(tmp_path))
    moving = [name for name in shipped if "moving" in name]
    assert moving and shipped.keys() < arrays.keys()
    for name in shipped.keys() - set(moving):
        np.testing.assert_allclose(arrays[name], shipped[name], atol=1e-7, err_msg=name)
    assert result["eval"]["test"]["accuracy"] > 0.98


def test_list_shows_shipped_models_with_their_first_line_and_metric(capsys):
    assert dispatch(["list"]) == 0
    section = capsys.readouterr().out.split("\n\n")[1].splitlines()
    assert section[0].startswith("trained models")
    shown = dict(line.split(maxsplit=1) for line in section[1:])
    assert list(shown) == zoo.names()
    about, metric = configs.first_line("digits_resnet"), r"Test accuracy 0\.99\d\d"
    assert re.fullmatch(f"{re.escape(about)} {metric}\\.", shown["digits_resnet"])
    assert re.search(f"\n{re.escape(about)}\n\n{metric} ", zoo.card("digits_resnet"))


def test_a_local_folder_takes_precedence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = zoo.folders()["digits_resnet"]
    (tmp_path / "digits_resnet").touch()  # A file, not a folder.
    assert zoo.find("digits_resnet") == checkpoint.resolve("digits_resnet") == shipped
    (tmp_path / "digits_resnet").unlink()
    (tmp_path / "digits_resnet").mkdir()
    assert zoo.find("digits_resnet").resolve() == tmp_path / "digits_resnet"
    for call in (modelzoo.load, checkpoint.resolve):
        with pytest.raises(UserError, match="run folder"):
            call("digits_resnet")


def test_a_folder_in_the_format_of_shipped_models_is_a_model(tmp_path):
    images = {"image": np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), np.uint8)}
    expected = modelzoo.load("digits_resnet").outputs(images)["scores"]
    shutil.copytree(zoo.folders()["digits_resnet"], tmp_path / "mine")
    for predictor in (modelzoo.load(tmp_path / "mine"), Predictor.from_zoo(tmp_path / "mine")):
        np.testing.assert_array_equal(predictor.outputs(images)["scores"], expected)
    saved = run_folder.read_json(tmp_path / "mine" / "config.json")
    del saved["train"]["deterministic"], saved["distribute"]  # As if they were added since.
    run_folder.write_json(tmp_path / "mine" / "config.json", saved)
    assert modelzoo.load(tmp_path / "mine").experiment == modelzoo.load("digits_resnet").experiment


def test_an_unknown_name_lists_the_nearest_one():
    with pytest.raises(UserError) as caught:
        modelzoo.load("digits_renset")
    assert str(caught.value) == (
        "no folder and no trained model is called 'digits_renset', nearest is digits_resnet; "
        "`modelzoo list` shows the models"
    )
    with pytest.raises(UserError, match="called 'zzz'; `modelzoo list` shows"):
        zoo.find("zzz")
