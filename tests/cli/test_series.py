"""Series of a table through all commands."""

import dataclasses
import json
import math

import keras
import numpy as np
import pytest
from runs import train

import modelzoo
from modelzoo import Experiment, TrainConfig
from modelzoo.cli import evaluate, export, predict
from modelzoo.cli.main import run
from modelzoo.data import ClassLabel, Dataset, Series, Table, Values
from modelzoo.fields.input_specs import only_array
from modelzoo.optimizers import Adam
from modelzoo.tasks import Classification, Regression

TASKS = {"values": Regression(), "class": Classification()}
TARGETS = {"values": Values(columns=("sum",)), "class": ClassLabel(columns=("side",))}


@dataclasses.dataclass(frozen=True)
class Flat:
    input_kinds = ("series",)

    def build(self, inputs, num_outputs):
        name, spec = only_array(inputs, "series")
        series = keras.Input(spec.shape, name=name)
        x = keras.layers.Flatten(name="flat")(series)
        return keras.Model({name: series}, keras.layers.Dense(num_outputs, name="logits")(x))


def table(rows):
    waves = ((math.sin(0.3 * k), math.cos(0.5 * k)) for k in range(rows))
    lines = (f"{a},{b},{3000 + 200 * a + 100 * b},{'up' if a > 0 else 'down'}" for a, b in waves)
    return "\n".join(["a,b,sum,side", *lines])


@pytest.fixture(scope="module", params=list(TASKS))
def trained(request, tmp_path_factory):
    """Targets, a run's folder, the exported folder, and the result of the run."""
    root, targets = tmp_path_factory.mktemp("series"), request.param
    (root / "waves.csv").write_text(table(120))
    experiment = Experiment(
        model=Flat(),
        task=TASKS[targets],
        data=Dataset(
            source=Table(str(root / "waves.csv")),
            inputs=Series(columns=("a", "b"), length=4, horizon=1),
            target=TARGETS[targets],
            train_split="train[:80%]",
            test_split="train[80%:]",
        ),
        optimizer=Adam(0.05),
        train=TrainConfig(steps=40, batch_size=16),
    )
    result, _ = train(experiment, root / "run")
    assert run(export, [f"--workdir={root / 'run'}", f"--export_dir={root / 'served'}"]) == 0
    return targets, root / "run", root / "served", result


def test_metrics_agree_from_training_to_the_export(trained, tmp_path, capsys):
    targets, workdir, served, result = trained
    capsys.readouterr()
    expected = result["eval"]["test"]
    assert expected["r2" if targets == "values" else "roc_auc"] > 0.8
    for place in (f"--workdir={workdir}", f"--model={served}"):
        file = tmp_path / "predictions.jsonl"
        assert run(evaluate, [place, "--format=json", f"--predictions={file}"]) == 0
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        assert [(row["id"], row["target_id"]) for row in rows[:2]] == [
            (f"waves.csv:{line}", f"waves.csv:{line + 1}") for line in (101, 102)
        ]
        metrics = json.loads(capsys.readouterr().out)
        for name, value in expected.items():
            if isinstance(value, float):
                assert metrics[name] == pytest.approx(value, rel=1e-3, abs=1e-5), name


def test_a_file_is_a_series_of_its_last_rows(trained, tmp_path, capsys):
    targets, workdir, served, _ = trained
    good, swapped = tmp_path / "good.csv", tmp_path / "swapped.csv"
    rows = [line.split(",") for line in table(9).splitlines()]
    good.write_text("\n".join(",".join(row) for row in rows))
    swapped.write_text("\n".join(",".join([row[1], "x", row[0]]) for row in [rows[0], *rows[-4:]]))
    series = np.array([row[:2] for row in rows[-4:]], np.float32)
    expected = modelzoo.load(workdir).outputs({"series": series[None]})
    for place in (f"--workdir={workdir}", f"--model={served}"):
        assert run(predict, [place, str(good), str(swapped)]) == 0
        answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [(one["file"], one["line"], one["horizon"]) for one in answers] == [
            (str(good), 10, 1),
            (str(swapped), 5, 1),
        ]
        for answer in answers:
            if targets == "values":
                assert answer["values"]["sum"] == pytest.approx(expected["values"][0, 0], abs=1e-5)
            else:
                assert answer["class"] == expected["classes"][0]


def test_a_file_without_a_series_is_named(trained, tmp_path, capsys):
    _, workdir, _, _ = trained
    wrong = {
        "short.csv": (table(3).encode(), "has 3 rows, the model needs 4"),
        "other.csv": (
            b"a,c\n1,2\n",
            "has no column 'b' for config.data.inputs.columns; its columns are a, c",
        ),
        "words.csv": (b"a,b\n1,2\n1,2\n1,two\n1,2\n", ", line 4: has 'two' in the column b"),
        "gap.csv": (b"a,b\n1,2\n1,2\n1,2\n1\n", ", line 5: has 1 columns, the header has 2"),
        "latin.csv": (b"a,b\n" + 3 * b"1,2\n" + b"1,\xe9", ", line 5: is not UTF-8"),
        "empty.csv": (b"", "has no header: its first line must name the columns"),
    }
    for name, (text, _) in wrong.items():
        (tmp_path / name).write_bytes(text)
    (tmp_path / "good.csv").write_text(table(5))
    words = [str(tmp_path / name) for name in (*wrong, "good.csv")]
    assert run(predict, [f"--workdir={workdir}", *words]) == 1
    out, err = capsys.readouterr()
    assert [json.loads(line)["file"] for line in out.splitlines()] == words[-1:]
    *named, last = err.splitlines()
    for line, path, (_, reason) in zip(named, words, wrong.values(), strict=False):
        assert line.removeprefix("table ").startswith(path) and reason in line
    assert last == "6 of 7 examples could not be predicted"


def test_windows_of_another_length_are_refused(trained, capsys):
    _, workdir, served, _ = trained
    for place in (f"--workdir={workdir}", f"--model={served}"):
        assert run(evaluate, [place, "--config.data.inputs.length=5"]) == 1
        err = capsys.readouterr().err
        assert "--config.data.inputs.length cannot change after training" in err
        assert err.count("\n") == 1
    assert run(evaluate, [f"--workdir={workdir}", "--config.data.inputs.columns=a"]) == 1
    err = capsys.readouterr().err
    assert "config.data.inputs.columns must have the 4 steps of 2 features" in err
