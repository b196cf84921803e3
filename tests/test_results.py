"""Records of results, and what is generated from them."""

import dataclasses
import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

import modelzoo
from modelzoo import config, configs, zoo
from modelzoo.data import ClassFolders, ClassLabel, CldrNames, Dataset, ParallelText, Table, Text
from modelzoo.inference.predictor import Predictor

ROOT = pathlib.Path(__file__).parents[1]


def benchmark(name):
    """A module of benchmarks/, imported as the scripts there import each other."""
    folder = str(ROOT / "benchmarks")
    if folder not in sys.path:
        sys.path.append(folder)
    return __import__(name)


RECORDS = benchmark("recorded").records()


def test_generated_files_are_up_to_date():
    files = benchmark("report").generated_files()
    for path, text in files.items():
        assert path.read_text() == text, f"{path} is out of date: run python benchmarks/report.py"
    curves = set((ROOT / "docs" / "curves").iterdir())
    assert curves <= files.keys()
    assert ROOT / "README.md" in files
    assert {folder / "card.md" for folder in zoo.folders().values()} <= files.keys()


def test_configs_state_only_recorded_metrics():
    for path in (ROOT / "configs").glob("[a-z]*.py"):
        docstring = path.read_text().split('"""')[1]
        assert path.stem in RECORDS or "accuracy" not in docstring


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_has_the_config_as_it_is_now(name):
    _, now = benchmark("recorded").trained_config(RECORDS[name])
    recorded = config.from_dict(RECORDS[name]["config"])
    first = RECORDS[name]["seeds"][0]
    assert config.difference(recorded, dataclasses.replace(now, seed=first)) == []
    assert config.to_dict(recorded) == RECORDS[name]["config"]


def test_no_record_card_or_guide_names_a_folder_of_a_machine():
    files = [*(ROOT / "results").iterdir(), *(ROOT / "modelzoo" / "zoo").glob("*/**/*.json")]
    files += [*(ROOT / "docs").glob("*.*"), *(ROOT / "modelzoo" / "zoo").glob("*/*.md")]
    files += [*ROOT.glob("*.md"), *(ROOT / "configs").glob("*.py")]
    assert len(files) > 60
    # /data is a folder of an example, and a URL has its own slashes.
    absolute = re.compile(r"(?:^|[\s\"'=`(])(?:/(?!data/)[\w.-]+/[\w./-]+|[A-Z]:\\\S+)", re.M)
    for path in files:
        if path.name != "tokenizer.json":  # Its tokens are characters.
            assert absolute.findall(path.read_text()) == [], path


def test_a_record_has_a_variable_in_place_of_the_folder_of_the_data(monkeypatch):
    record = benchmark("record")
    monkeypatch.setenv("DATA", "/disk/data/")
    words = ["--config=sst2_lstm", "--folds=2", "--config.data.source.path=/disk/data/{split}.tsv"]
    words.append("--config.data.source.data_dir=/disk/data")
    assert record.command_line("/code/benchmarks/record.py", words) == (
        "python benchmarks/record.py --config=sst2_lstm --folds=2 "
        '"--config.data.source.path=$DATA/{split}.tsv" --config.data.source.data_dir=$DATA'
    )
    saved = {"path": ["/disk/data/a", "/disk/database", "its/disk/data", 3, None]}
    expected = {"path": ["$DATA/a", "/disk/database", "its/disk/data", 3, None]}
    assert record.without_data_folder(saved) == expected
    with pytest.raises(SystemExit, match="^--x=/disk/database/a names a folder of this machine"):
        record.command_line("record.py", ["--x=/disk/database/a"])
    assert record.portable_values({"a": [{"b": "/disk/data/c"}]}) == {"a": [{"b": "$DATA/c"}]}
    for other in ({"a": ["/disk/database/b"]}, {"defined in": "~/own.py"}):
        with pytest.raises(
            SystemExit, match="^the config names (~/own.py|/disk/database/b), a folder"
        ):
            record.portable_values(other)
    monkeypatch.delenv("DATA")
    assert record.without_data_folder(saved) == saved
    with pytest.raises(SystemExit, match="set the environment variable DATA"):
        record.command_line("record.py", words)


def test_a_recorded_command_is_one_for_a_shell(monkeypatch):
    monkeypatch.setenv("DATA", "/some where")
    words = ["--config=a b", "--config.data.source.path=/some where/{split}.tsv", "--x=it's"]
    command = benchmark("record").command_line("record.py", words)
    shown = command.replace("python benchmarks/record.py", r"printf '%s\n'")
    assert subprocess.check_output(["sh", "-c", shown], text=True).splitlines() == words


@pytest.mark.parametrize(
    "source, name",
    [
        (configs.get("cifar10_resnet20").data.source, "cifar10"),
        (ClassFolders("some/aclImdb"), "aclImdb"),
        (Table("raw/splice.data"), "splice"),
        (Table("$DATA/sst2/{split}.tsv"), "sst2"),
        (ParallelText("multi30k/{split}.en", "multi30k/{split}.de"), "multi30k"),
        (CldrNames(), "cldr names"),
    ],
)
def test_a_data_set_has_the_name_of_its_source(source, name):
    data = Dataset(source=source, inputs=Text(), target=ClassLabel())
    assert benchmark("recorded").data_name(data) == name


def test_a_cross_validation_is_described_by_its_folds():
    record = {
        "seeds": [0],
        "scores": {"held-out": {"loss": {"mean": 0.2}, "accuracy": {"mean": 0.9512}}},
        "runs": [{"folds": 10, "over_folds": {"accuracy": {"low": 0.94, "high": 0.96}}}],
    }
    recorded = benchmark("recorded")
    assert recorded.main_split(record) == "held-out"
    assert recorded.describe_metric(record) == (
        "accuracy 0.9512 (10 folds, 95 % confidence interval of their mean 0.9400 to 0.9600)"
    )


def test_speeds_of_images_and_of_tokens_have_separate_tables():
    rest = {"precision": "float32", "machine": "a machine"}
    records = {
        "speed_lstm_float32": {"tokens_per_second": {"modelzoo": 2e4, "PyTorch": 1e4}, **rest},
        "speed_cnn_float32": {"images_per_second": {"modelzoo": 99.6}, **rest},
    }
    images, tokens = benchmark("report").speed_tables(records).split("\n\n")
    assert images.splitlines()[2] == "| cnn | float32 | 100 | a machine |"
    assert (
        tokens.splitlines()[0] == "| tokens per second | precision | modelzoo | PyTorch | machine |"
    )
    assert tokens.splitlines()[2] == "| lstm | float32 | 20,000 | 10,000 | a machine |"


def test_each_search_has_a_row_of_speeds():
    rates = {"beam 4": {"modelzoo": 2e3, "Other": 1e3}, "beam 1": {"modelzoo": 4e3}}
    record = {"decoded_tokens_per_second": rates, "machine": "a machine"}
    lines = benchmark("report").speed_tables({"speed_decoding": record}).splitlines()
    assert lines[0] == "| decoded tokens per second | search | modelzoo | Other | machine |"
    assert lines[2] == "| decoding | beam 4 | 2,000 | 1,000 | a machine |"
    assert lines[3] == "| decoding | beam 1 | 4,000 |  | a machine |"


def test_the_main_metric_of_generated_texts_is_one_of_texts():
    metrics = {name: {"mean": 31.0} for name in ("loss", "perplexity", "token_accuracy", "bleu")}
    record = {"scores": {"test": metrics}, "seeds": [0]}
    assert benchmark("recorded").describe_metric(record) == "bleu 31.0000 (one seed)"


def test_a_docstring_ends_with_one_paragraph_of_results():
    update = benchmark("report").update_docstring
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
    once = update(text, record)
    assert once == text.replace('train\n"""', f'train\n\n{line}\n"""')
    record["scores"]["test"] = {"mean_absolute_error": {"mean": 1.5, "min": 1, "max": 3}}
    record["seconds"]["mean"] = 12.3
    record["seeds"] = [7]
    again = update(once, record)
    line = "12 seconds on 2 cores of AMD EPYC; test mean absolute error 1.5000 (one seed)."
    assert again == text.replace('train\n"""', f'train\n\n{line}\n"""')
    assert update(again, record) == again


@pytest.fixture
def ship(monkeypatch, tmp_path):
    """`ship` with a record of the run, into another folder of trained models."""

    def ship_recorded(run, name, **changes):
        saved = json.loads((run / "config.json").read_text())
        result = json.loads((run / "result.json").read_text())
        metrics = {
            split: {k: v for k, v in values.items() if isinstance(v, float)}
            for split, values in result["eval"].items()
        }
        runs = [{"seed": saved["seed"], "scores": metrics}]
        record = {"config": saved, "runs": runs, "scores": metrics} | changes
        monkeypatch.setattr(benchmark("recorded"), "records", lambda: {name: record})
        monkeypatch.setattr(zoo, "__path__", [str(tmp_path / "zoo")])
        (tmp_path / "zoo").mkdir(exist_ok=True)
        benchmark("ship").ship(run, name)

    return ship_recorded


def test_ship_writes_the_evaluated_weights_of_recorded_runs_only(ship, tmp_path):
    tiny = {
        "train.steps": 3,
        "train.ema_decay": 0.5,
        "model.filters": (2, 2),
        "optimizer.schedule.warmup": 1,
    }
    run = tmp_path / "run"
    modelzoo.train(configs.get("digits_cnn", tiny), run)
    with pytest.raises(SystemExit, match="does not record the run"):
        ship(run, "tiny", runs=[])
    other = json.loads((run / "config.json").read_text())
    other["train"]["steps"] = 4
    with pytest.raises(SystemExit, match="another config: train.steps: 4 -> 3"):
        ship(run, "tiny", config=other)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark("ship"), "MAX_MEGABYTES", 0.01)
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


def test_ship_keeps_vocabularies_and_no_folder_of_the_machine(ship, tmp_path, monkeypatch):
    data = tmp_path / "data"
    data.mkdir()
    rows = [f"{word} {k},{word}" for word in ("red", "blue") for k in range(40)]
    (data / "words.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    tiny = {
        "data.source.path": str(data / "words.csv"),
        "data.train_split": "train[:60%]",
        "data.validation_split": None,
        "data.test_split": "train[60%:]",
        "eval.best_metric": None,
        "train.steps": 2,
        "train.tokens_per_batch": None,
        "train.batch_size": 8,
        "model.embedding_dim": 2,
        "model.units": (2,),
        "data.inputs.lengths": (4,),
    }
    run = tmp_path / "run"
    modelzoo.train(configs.get("reviews_lstm", tiny), run)
    monkeypatch.setenv("DATA", str(data))
    record = benchmark("record")
    saved = record.without_data_folder(json.loads((run / "config.json").read_text()))
    assert saved["data"]["source"]["path"] == "$DATA/words.csv"
    ship(run, "words", config=saved)
    folder = tmp_path / "zoo" / "words"
    assert str(tmp_path) not in (folder / "config.json").read_text()
    predictor = modelzoo.load("words")
    assert predictor.task.data == Predictor.from_workdir(run).task.data
    assert predictor.experiment.data.source.path == "$DATA/words.csv"
