"""A model with several inputs, a text, an image and a series, through all commands."""

import json
import types

import numpy as np
import pytest
from mixed import Mixed
from PIL import Image as Picture
from runs import train

from modelzoo import Experiment, TrainConfig
from modelzoo.cli import evaluate, export, predict
from modelzoo.cli.main import run
from modelzoo.data import ClassLabel, Dataset, Image, Series, Table, Text
from modelzoo.optimizers import SGD
from modelzoo.tasks import Classification

WORDS = ("ant", "bee", "cät", "dog")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The table of the test split, its folder, and the run and the export of a model."""
    root = tmp_path_factory.mktemp("several")
    rng = np.random.default_rng(0)
    for split, number in (("train", 24), ("test", 7)):
        rows = ["label,title,photo,heat,load"]
        for k in range(number):
            pixels = rng.integers(0, 256, (4, 4), np.uint8)
            Picture.fromarray(pixels).save(root / f"{split}{k}.png")
            title = " ".join(rng.choice(WORDS, 3))
            heat, load = rng.normal(size=2).round(3)
            rows.append(f"{'ab'[k % 2]},{title},{split}{k}.png,{heat},{load}")
        (root / f"{split}.csv").write_text("\n".join(rows))
    experiment = Experiment(
        model=Mixed(),
        task=Classification(),
        data=Dataset(
            source=Table(str(root / "{split}.csv")),
            inputs={
                "title": Text(columns=("title",), lengths=(4,)),
                "photo": Image(columns=("photo",)),
                "weather": Series(columns=("heat", "load"), layout="columns_are_steps"),
            },
            target=ClassLabel(),
        ),
        optimizer=SGD(0.3),
        train=TrainConfig(steps=4, batch_size=8),
    )
    result, _ = train(experiment, root / "run")
    assert run(export, [f"--workdir={root / 'run'}", f"--export_dir={root / 'served'}"]) == 0
    return types.SimpleNamespace(
        root=root, table=root / "test.csv", run=root / "run", served=root / "served", result=result
    )


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def predicted(capsys, *words):
    capsys.readouterr()
    code = run(predict, list(map(str, words)))
    out, err = capsys.readouterr()
    return code, lines(out), err


def test_predict_reads_the_rows_of_a_table_as_evaluate_does(trained, tmp_path, capsys):
    capsys.readouterr()
    places = [f"--workdir={trained.run}", f"--model={trained.served}"]
    for place in places:
        words = [place, f"--predictions={tmp_path / 'lines'}", "--format=json"]
        assert run(evaluate, words) == 0
        metrics = json.loads(capsys.readouterr().out)
        expected = trained.result["eval"]["test"]
        assert metrics["loss"] == pytest.approx(expected["loss"], rel=1e-4)
        assert metrics["confusion"] == expected["confusion"]
    rows = {row["id"]: row for row in lines((tmp_path / "lines").read_text())}
    for place in places:
        code, found, err = predicted(capsys, place, trained.table, "--batch_size=3")
        assert (code, err) == (0, "")
        assert [(row["file"], row["line"]) for row in found] == [
            (str(trained.table), k) for k in range(2, 9)
        ]
        for row in found:
            expected = rows[f"test.csv:{row['line']}"]
            assert row["class"] == expected["class"]
            assert row["probability"] == pytest.approx(expected["probability"], abs=1e-5)


def test_a_table_may_lack_the_labels_and_name_its_columns_in_any_order(trained, capsys):
    _, expected, _ = predicted(capsys, f"--workdir={trained.run}", trained.table)
    swapped = trained.root / "swapped.csv"
    rows = [line.split(",")[:0:-1] for line in trained.table.read_text().splitlines()]
    swapped.write_text("\n".join(map(",".join, rows)))
    code, found, _ = predicted(capsys, f"--workdir={trained.run}", swapped)
    assert code == 0
    assert [row["probability"] for row in found] == pytest.approx(
        [row["probability"] for row in expected], abs=1e-6
    )


def test_a_bad_row_is_named_and_the_others_are_predicted(trained, capsys):
    bad = trained.root / "bad.csv"
    rows = trained.table.read_text().splitlines()
    rows[2] = rows[2].replace("test1.png", "none.png")
    rows[4] = rows[4].rpartition(",")[0] + ",much"
    bad.write_text("\n".join(rows))
    code, found, err = predicted(capsys, f"--workdir={trained.run}", bad)
    assert code == 1
    assert [row["line"] for row in found] == [2, 4, 6, 7, 8]
    assert err.splitlines() == [
        f"{bad}, line 3: there is no file 'none.png' in {trained.root}",
        f"{bad}, line 5: has 'much' in the column load, not a number of float32",
        "2 of 7 examples could not be predicted",
    ]


def test_overrides_reach_into_a_named_input(trained, capsys):
    place = f"--workdir={trained.run}"
    _, plain, _ = predicted(capsys, place, trained.table)
    words = [place, "--config.data.inputs.photo.test_views=flip", trained.table]
    code, flipped, _ = predicted(capsys, *words)
    assert code == 0
    assert [row["line"] for row in flipped] == [row["line"] for row in plain]
    assert [row["probability"] for row in flipped] != [row["probability"] for row in plain]


def test_a_table_is_read_as_the_training_table_is(tmp_path, capsys):
    """No header, bars between columns, and windows of two groups whose rows alternate."""
    for split, number in (("train", 24), ("test", 8)):
        rows = [f"{'ab'[k % 2]}|{WORDS[k % 3]}|p{k % 2}|{k * k % 7}" for k in range(number)]
        (tmp_path / f"{split}.csv").write_text("\n".join(rows))
    source = Table(
        str(tmp_path / "{split}.csv"),
        columns=("label", "title", "place", "heat"),
        header=False,
        delimiter="|",
        group="place",
    )
    inputs = {
        "title": Text(columns=("title",), lengths=(4,)),
        "weather": Series(columns=("heat",), length=3),
    }
    data = Dataset(source=source, inputs=inputs, target=ClassLabel())
    experiment = Experiment(
        model=Mixed(),
        task=Classification(),
        data=data,
        optimizer=SGD(0.3),
        train=TrainConfig(steps=4, batch_size=4),
    )
    train(experiment, tmp_path / "run")
    place, path = f"--workdir={tmp_path / 'run'}", tmp_path / "lines"
    assert run(evaluate, [place, f"--predictions={path}"]) == 0
    expected = {row["id"]: row["probability"] for row in lines(path.read_text())}
    assert sorted(expected) == [
        f"test.csv:{k}" for k in range(5, 9)
    ]  # The third row of each group.
    code, found, err = predicted(capsys, place, tmp_path / "test.csv")
    assert (code, err) == (0, "")
    answers = {f"test.csv:{row['line']}": row["probability"] for row in found}
    assert answers == pytest.approx(expected, abs=1e-5)
    for row in found:
        assert (row["horizon"], row["group"]) == (0, f"p{(row['line'] - 1) % 2}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{root}/test0.png"], "test0.png"),
        (["{root}"], "is a folder: name the files in it"),
        (
            ["{root}/other.csv"],
            "other.csv: has no column 'heat' for config.data.inputs.weather.columns",
        ),
        (["--text=ant"], "--text needs a model of texts"),
        (["{table}", "--config.data.inputs.title.lengths=9"], "inputs.title.lengths cannot change"),
        (["{table}", "--config.data.inputs.titel.lengths=9"], "nearest is config.data.inputs.titl"),
    ],
)
def test_mistakes_are_one_line(trained, capsys, words, message):
    (trained.root / "other.csv").write_text("text,photo\nant,test0.png\n")
    words = [word.format(root=trained.root, table=trained.table) for word in words]
    code, rows, err = predicted(capsys, f"--workdir={trained.run}", *words)
    assert (code, rows, err.count("\n")) == (1, [], 1), err
    assert message in err
