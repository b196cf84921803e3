"""Cross-validation: its metrics against scikit-learn and SciPy, its folders, its resume."""

import contextlib
import dataclasses
import io
import json

import keras
import numpy as np
import pytest
import runs
import scipy.stats
import sklearn.metrics as sk
from texts import Bag, sentences

import modelzoo
from modelzoo import EvalConfig, Experiment, TrainConfig, config
from modelzoo.cli import main
from modelzoo.data import ClassLabel, Dataset, Image, Npz, Series, Table, Values
from modelzoo.fields.errors import UserError
from modelzoo.fields.input_specs import only_array
from modelzoo.inference.artifacts import read_run
from modelzoo.models import CNN
from modelzoo.optimizers import SGD
from modelzoo.runs import cross_validation as folds
from modelzoo.tasks import Classification, Regression
from modelzoo.training import checkpoint, run_folder

K = 3


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    path = tmp_path_factory.mktemp("stripes") / "stripes.npz"
    runs.stripes(path, {"train": 40, "validation": 9})
    return Experiment(
        model=CNN(filters=(2,), dense=(4,), dropout=0.3),
        task=Classification(),
        data=Dataset(source=Npz(str(path)), inputs=Image(), target=ClassLabel()),
        optimizer=SGD(0.05, momentum=0.9),
        train=TrainConfig(steps=6, batch_size=8, log_every=2, checkpoint_every=2, ema_decay=0.5),
        seed=5,
    )


@pytest.fixture(scope="module")
def done(experiment, tmp_path_factory):
    """A finished cross-validation: its folder, its result and what was printed."""
    folder = tmp_path_factory.mktemp("done") / "run"
    return folder, *runs.train(experiment, folder, folds=K)


def predictions(folder, path):
    """What `modelzoo evaluate` writes about the examples that each fold held out."""
    rows = []
    for k in range(1, K + 1):
        words = ["evaluate", f"--workdir={folder}/fold{k}", f"--predictions={path}"]
        with contextlib.redirect_stdout(io.StringIO()):
            assert main.dispatch([*words, "--format=json"]) == 0
        rows.append([json.loads(line) for line in path.read_text().splitlines()])
    return rows


def test_metrics_are_of_the_examples_that_each_fold_holds_out(done, tmp_path):
    folder, result, printed = done
    assert result == run_folder.read_json(folder / "result.json")
    by_fold = predictions(folder, tmp_path / "rows")
    rows = [row for part in by_fold for row in part]
    assert sorted(row["id"] for row in rows) == sorted(f"train/{k}" for k in range(40))

    accuracies = []
    for part, of in zip(by_fold, result["folds"], strict=True):
        labels, classes = ([row[key] for row in part] for key in ("label", "class"))
        accuracies.append(sk.accuracy_score(labels, classes))
        assert of["metrics"]["accuracy"] == pytest.approx(accuracies[-1])
        assert (of["train"], of["held_out"], of["steps"]) == (40 - len(part), len(part), 6)
    found = result["over_folds"]["accuracy"]
    middle, error = np.mean(accuracies), scipy.stats.sem(accuracies)
    interval = scipy.stats.t.interval(0.95, K - 1, loc=middle, scale=error)
    expected = [middle, error * K**0.5, *interval]
    assert dict(zip(("mean", "std", "low", "high"), expected, strict=True)) == pytest.approx(found)
    assert result["over_folds"].keys() == {
        key for key, value in result["pooled"].items() if isinstance(value, float)
    }

    labels, classes = ([row[key] for row in rows] for key in ("label", "class"))
    pooled = result["pooled"]
    assert pooled["accuracy"] == pytest.approx(sk.accuracy_score(labels, classes))
    assert pooled["macro_f1"] == pytest.approx(sk.f1_score(labels, classes, average="macro"))
    assert pooled["confusion"] == sk.confusion_matrix(labels, classes).tolist()
    losses = [-np.log(row["scores"][int(row["label"])]) for row in rows]
    assert pooled["loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    correct = sum(a == b for a, b in zip(labels, classes, strict=True))
    wilson = scipy.stats.binomtest(correct, 40).proportion_ci(method="wilson")
    assert [*result["pooled_intervals"]["accuracy"].values()] == pytest.approx(list(wilson))

    last = printed.splitlines()[-len(result["over_folds"]) :]
    [line] = [line for line in last if line.startswith("accuracy ")]
    numbers = [middle, found["std"], found["low"], found["high"], pooled["accuracy"], *wilson]
    for number in numbers:
        assert f" {number:.4f}" in line.replace("(", " ")


def test_the_folder_of_a_fold_is_a_run(done, experiment):
    folder = done[0]
    saved = [read_run(run_folder.fold_folder(folder, k))[0] for k in (1, 2, 3)]
    assert [of.data.fold for of in saved] == [(1, K, 5), (2, K, 5), (3, K, 5)]
    assert run_folder.read_json(folder / "config.json") == config.to_dict(experiment)
    assert modelzoo.curve(folder / "fold2").train["step"] == [2, 4, 6]
    assert modelzoo.load(folder / "fold3").task.data.target.names == ("0", "1")
    for use in (modelzoo.curve, modelzoo.load, lambda f: modelzoo.train(experiment, f)):
        with pytest.raises(UserError, match=r"holds the folds of .*, such as .*/run/fold1,"):
            use(folder)


class Killed(BaseException):
    """Nothing catches it, so the disk holds what a kill would leave."""


def test_a_killed_run_resumes_to_the_same_bits(done, experiment, tmp_path):
    folder, write, write_bytes = tmp_path / "run", checkpoint.write, run_folder.write_bytes

    def before_the_counts(path, content):
        if path.name == "held_out.npz":
            raise Killed
        write_bytes(path, content)

    def in_the_second_fold(workdir, arrays, meta):
        write(workdir, arrays, meta)
        if workdir.name == "fold2" and meta.step == 4:
            raise Killed

    for module, function, deadly in [
        (run_folder, "write_bytes", before_the_counts),
        (checkpoint, "write", in_the_second_fold),
    ]:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            patch.setattr(module, function, deadly)
            runs.train(experiment, folder, folds=K)
    assert checkpoint.steps(folder / "fold2") == [2, 4] and not (folder / "fold3").exists()
    finished = checkpoint.find(folder / "fold1").stat().st_mtime_ns
    result, printed = runs.train(experiment, folder, folds=K)
    assert "fold 1 of 3 is finished\nfold 2 of 3\n" in printed and "resumed at step 4" in printed
    assert checkpoint.find(folder / "fold1").stat().st_mtime_ns == finished
    for k in (1, 2, 3):
        arrays = [
            checkpoint.read(checkpoint.find(run_folder.fold_folder(where, k)))
            for where in (done[0], folder)
        ]
        for name, values in arrays[0].items():
            np.testing.assert_array_equal(values, arrays[1][name], err_msg=name)
    for key in ("over_folds", "pooled", "pooled_intervals"):
        assert result[key] == done[1][key]


def test_texts_with_a_checkpoint_selected_by_the_validation_split(tmp_path):
    experiment = Experiment(
        model=Bag(),
        task=Classification(),
        data=sentences(lengths=(4, 16)),
        optimizer=SGD(0.3),
        train=TrainConfig(steps=8, batch_size=8),
        eval=EvalConfig(every=4, best_metric="accuracy"),
    )
    result, _ = runs.train(experiment, tmp_path, folds=2)
    scores, labels = [], []
    for k in (1, 2):
        predictor = modelzoo.load(tmp_path / f"fold{k}")
        split = predictor.experiment.data.open().split("test")
        raw = split.gather(np.arange(split.num_examples))
        scores += predictor.signatures["serving_default"](raw["text"])["scores"].numpy().tolist()
        labels += raw["target/label"].numpy().tolist()
        run = run_folder.read_json(tmp_path / f"fold{k}/result.json")
        assert run["best_metric"] == "accuracy" and run["eval"].keys() == {"validation", "test"}
        tokenizers = [data.inputs[""].tokenizer for data in (predictor.task.data, split.bound)]
        assert tokenizers[0] == tokenizers[1]
    expected = sk.roc_auc_score(labels, np.array(scores)[:, 1])
    assert result["pooled"]["roc_auc"] == pytest.approx(expected, abs=1e-6)
    assert sum(of["held_out"] for of in result["folds"]) == 40 == len(labels)


@dataclasses.dataclass(frozen=True)
class Flat:
    input_kinds = ("series",)

    def build(self, inputs, num_outputs):
        name, spec = only_array(inputs, "series")
        series = keras.Input(spec.shape, name=name)
        x = keras.layers.Flatten(name="flat")(series)
        return keras.Model({name: series}, keras.layers.Dense(num_outputs, name="logits")(x))


def test_values_of_grouped_series(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 2)).round(3)
    lines = [f"{a},{b},{'wxyz'[k // 10]}" for k, (a, b) in enumerate(rows)]
    (tmp_path / "table.csv").write_text("\n".join(["heat,load,plant", *lines]))
    experiment = Experiment(
        model=Flat(),
        task=Regression(),
        data=Dataset(
            source=Table(str(tmp_path / "table.csv"), group="plant"),
            inputs=Series(columns=("heat",), length=3),
            target=Values(columns=("load",)),
        ),
        optimizer=SGD(0.1),
        train=TrainConfig(steps=4, batch_size=8),
        eval=EvalConfig(every=None),
    )
    result, _ = runs.train(experiment, tmp_path / "run", folds=2)
    values, truth = [], []
    for k in (1, 2):
        predictor = modelzoo.load(tmp_path / f"run/fold{k}")
        split = predictor.experiment.data.open().split("test")
        raw = split.gather(np.arange(split.num_examples))
        values.append(predictor.signatures["serving_default"](raw["series"])["values"])
        truth.append(raw["target/label"])
        assert len(set(split.groups)) == 2
    expected = sk.r2_score(np.concatenate(truth), np.concatenate(values))
    assert result["pooled"]["r2"] == pytest.approx(expected, rel=1e-5)
    assert result["pooled_intervals"] == {} and "r2" in result["over_folds"]


@pytest.mark.parametrize(
    "fields, number, message",
    [
        ({}, 2, "--folds must be 3 in .*, got 2: use another --workdir$"),
        ({"batch_size": 4}, K, "fold1 was trained with .*batch_size.*: use another --workdir$"),
    ],
)
def test_another_number_of_folds_or_config_is_refused(done, experiment, fields, number, message):
    before = (done[0] / "result.json").read_bytes()
    with pytest.raises(UserError, match=message):
        modelzoo.train(runs.change(experiment, train=fields), done[0], folds=number)
    assert (done[0] / "result.json").read_bytes() == before


def test_examples_that_changed_between_the_folds(experiment, tmp_path):
    path, original = tmp_path / "data.npz", folds._train
    changed = runs.change(experiment, train={"steps": 1})
    changed = config.override(changed, {"data.source.path": str(path)})

    def killed(experiment, workdir, fold, *args):
        if fold[0] == 2:
            raise Killed
        original(experiment, workdir, fold, *args)

    runs.stripes(path, {"train": 12})
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(folds, "_train", killed)
        runs.train(changed, tmp_path / "run", folds=2)
    runs.stripes(path, {"train": 14})
    with pytest.raises(UserError, match="the examples differ from those of .*fold1: restore"):
        runs.train(changed, tmp_path / "run", folds=2)


def test_a_metric_that_is_undefined_on_a_fold_has_no_mean():
    metrics = [{"loss": 1.0, "roc_auc": 0.5}, {"loss": 3.0, "roc_auc": None}]
    found = folds.summarize_folds(metrics)
    assert found["loss"]["mean"] == 2.0
    assert found["roc_auc"] == dict.fromkeys(("mean", "std", "low", "high"))
    result = {
        "folds": [{"held_out": 4}] * 2,
        "over_folds": found,
        "pooled": {"loss": 2.0, "roc_auc": 0.75},
        "pooled_intervals": {},
    }
    dash = "\N{EN DASH}"
    assert list(folds.format_table(result))[-1].split() == [
        "roc_auc",
        *[dash] * 3,
        "to",
        dash,
        "0.7500",
    ]
