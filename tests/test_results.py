"""What is told of scores and speeds is what `results/` holds."""

import json
import pathlib
import re
import sys

import numpy as np
import pytest

import modelzoo
from modelzoo import config, configs, zoo
from modelzoo.inference.predictor import Predictor

ROOT = pathlib.Path(__file__).parents[1]


def benchmark(name):
    """A module of benchmarks/, imported as its commands find each other."""
    folder = str(ROOT / "benchmarks")
    if folder not in sys.path:
        sys.path.append(folder)
    return __import__(name)


RECORDS = benchmark("recorded").records()


def test_all_that_is_generated_is_as_the_results_say():
    files = benchmark("report").generated()
    for path, text in files.items():
        assert path.read_text() == text, f"{path} differs: run python benchmarks/report.py"
    pictures = set((ROOT / "docs" / "curves").iterdir())
    assert pictures <= files.keys()
    assert ROOT / "README.md" in files
    assert {folder / "card.md" for folder in zoo.folders().values()} <= files.keys()


def test_only_generated_lines_tell_of_scores():
    for path in (ROOT / "configs").glob("[a-z]*.py"):
        docstring = path.read_text().split('"""')[1]
        assert path.stem in RECORDS or "accuracy" not in docstring


def test_a_cross_validation_tells_its_folds():
    record = {
        "seeds": [0],
        "scores": {"held-out": {"loss": {"mean": 0.2}, "accuracy": {"mean": 0.9512}}},
        "runs": [{"folds": 10, "over_folds": {"accuracy": {"low": 0.94, "high": 0.96}}}],
    }
    recorded = benchmark("recorded")
    told = "accuracy 0.9512 (10 folds, 95 % interval of their mean 0.9400 to 0.9600)"
    assert f"{recorded.split(record)} {recorded.score(record)}" == f"held-out {told}"


def test_speeds_of_images_and_of_tokens_are_apart():
    rest = {"precision": "float32", "machine": "a machine"}
    records = {
        "speed_lstm_float32": {"tokens_per_second": {"modelzoo": 2e4, "PyTorch": 1e4}, **rest},
        "speed_cnn_float32": {"images_per_second": {"modelzoo": 99.6}, **rest},
    }
    images, tokens = benchmark("report").speeds(records).split("\n\n")
    assert images.splitlines()[2] == "| cnn | float32 | 100 | a machine |"
    assert (
        tokens.splitlines()[0] == "| tokens a second | precision | modelzoo | PyTorch | machine |"
    )
    assert tokens.splitlines()[2] == "| lstm | float32 | 20,000 | 10,000 | a machine |"


def test_speeds_of_searches_have_a_line_for_each():
    rates = {"beam 4": {"modelzoo": 2e3, "Other": 1e3}, "beam 1": {"modelzoo": 4e3}}
    record = {"decoded_tokens_per_second": rates, "machine": "a machine"}
    lines = benchmark("report").speeds({"speed_decoding": record}).splitlines()
    assert lines[0] == "| decoded tokens a second | search | modelzoo | Other | machine |"
    assert lines[2] == "| decoding | beam 4 | 2,000 | 1,000 | a machine |"
    assert lines[3] == "| decoding | beam 1 | 4,000 |  | a machine |"


def test_of_decoded_texts_what_was_decoded_counts():
    scores = {name: {"mean": 31.0} for name in ("loss", "perplexity", "token_accuracy", "bleu")}
    record = {"scores": {"test": scores}, "seeds": [0]}
    assert benchmark("recorded").score(record) == "bleu 31.0000 (one seed)"


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_is_of_the_config_as_it_is(name):
    _, now = benchmark("recorded").trained_config(RECORDS[name])
    recorded = config.from_dict(RECORDS[name]["config"])
    changes = config.difference(recorded, now)
    assert [line for line in changes if not re.match(r"seed:|data\.data_dir:", line)] == []


def test_docstrings_get_one_line_in_place_of_the_last():
    docstring = benchmark("report").docstring
    text = '"""Something.\n\nmodelzoo train\n"""\n\nimport os\n\nA = """\n"""\n'
    record = {
        "machine": "2 cores of AMD EPYC, Linux x86_64",
        "seeds": [0, 1],
        "seconds": {"mean": 3120.0},
        "scores": {"test": {"loss": {}, "accuracy": {"mean": 0.93456, "min": 0.92, "max": 0.94}}},
    }
    line = (
        "52 minutes on 2 cores of AMD EPYC; test accuracy 0.9346 (mean of 2 seeds, lowest 0.9200)."
    )
    once = docstring(text, record)
    assert once == text.replace('train\n"""', f'train\n\n{line}\n"""')
    record["scores"]["test"] = {"mean_absolute_error": {"mean": 1.5, "min": 1, "max": 3}}
    record["seconds"]["mean"] = 12.3
    record["seeds"] = [7]
    again = docstring(once, record)
    line = "12 seconds on 2 cores of AMD EPYC; test mean absolute error 1.5000 (one seed)."
    assert again == text.replace('train\n"""', f'train\n\n{line}\n"""')
    assert docstring(again, record) == again


@pytest.fixture
def ship(monkeypatch, tmp_path):
    """`ship`, which finds the record of a run and ships to a zoo of its own."""

    def of_record(run, name, **changes):
        saved = json.loads((run / "config.json").read_text())
        result = json.loads((run / "result.json").read_text())
        scores = {
            split: {k: v for k, v in values.items() if isinstance(v, float)}
            for split, values in result["eval"].items()
        }
        runs = [{"seed": saved["seed"], "scores": scores}]
        record = {"config": saved, "runs": runs, "scores": scores} | changes
        monkeypatch.setattr(benchmark("recorded"), "records", lambda: {name: record})
        monkeypatch.setattr(zoo, "__path__", [str(tmp_path / "zoo")])
        (tmp_path / "zoo").mkdir(exist_ok=True)
        benchmark("ship").ship(run, name)

    return of_record


def test_ship_writes_what_is_served_and_no_more_than_was_recorded(ship, tmp_path, digits_dir):
    tiny = {
        "train.steps": 3,
        "train.ema_decay": 0.5,
        "model.filters": (2, 2),
        "optimizer.schedule.warmup": 1,
        "data.data_dir": str(digits_dir),
    }
    run = tmp_path / "run"
    modelzoo.train(configs.get("digits_cnn", tiny), run)
    with pytest.raises(SystemExit, match="none of the runs"):
        ship(run, "tiny", runs=[])
    other = json.loads((run / "config.json").read_text())
    other["train"]["steps"] = 4
    with pytest.raises(SystemExit, match="another config: train.steps: 4 -> 3"):
        ship(run, "tiny", config=other)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark("ship"), "MEGABYTES", 0.01)
        with pytest.raises(SystemExit, match="MB, more than 0.01"):
            ship(run, "tiny")
    assert zoo.names() == []
    ship(run, "tiny")
    assert zoo.names() == ["tiny"]
    images = {"image": np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), np.uint8)}
    served, raw = (Predictor.from_workdir(run, weights=kind) for kind in ("ema", "raw"))
    got = modelzoo.load("tiny").outputs(images)["scores"]
    np.testing.assert_array_equal(got, served.outputs(images)["scores"])
    assert (got != raw.outputs(images)["scores"]).any()
    assert str(digits_dir) not in (tmp_path / "zoo" / "tiny" / "config.json").read_text()
