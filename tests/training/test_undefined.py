"""Metrics that the labels of a split do not define: null in files, a dash for people."""

import dataclasses
import json

import numpy as np
import pytest
from linear import Linear
from runs import change, image_archive, train

from modelzoo import EvalConfig, Experiment, TrainConfig
from modelzoo.cli import evaluate
from modelzoo.cli.main import run
from modelzoo.data import ClassLabel, Tags, Values
from modelzoo.data.split import Split
from modelzoo.fields.errors import UserError
from modelzoo.optimizers import SGD
from modelzoo.tasks import Classification, Regression, Tagging
from modelzoo.training import checkpoint, run_folder

DASH = "\N{EN DASH}"

# By target: task, labels of training, labels of validation, and the metrics that these leave open.
KINDS = {
    "one class": (ClassLabel(), Classification(), [0, 1], [1, 1], ("roc_auc",)),
    "no tag": (
        Tags(),
        Tagging(),
        [[0, 1], [1, 0]],
        [[0, 0], [0, 0]],
        ("roc_auc", "mean_average_precision", "micro_f1", "macro_recall", "micro_precision"),
    ),
    "every tag": (Tags(), Tagging(), [[0, 1], [1, 0]], [[1, 1], [1, 1]], ("roc_auc",)),
    "equal values": (Values(), Regression(), [0.5, 1.0], [0.7, 0.7], ("r2",)),
}
CASES = [(kind, metric) for kind, values in KINDS.items() for metric in values[-1]]


def experiment_of(folder, kind):
    target, task, *labels, _ = KINDS[kind]
    arrays = {}
    for split, given in zip(("train", "validation"), labels, strict=True):
        arrays[f"x_{split}"] = np.arange(32, dtype=np.uint8).reshape(8, 2, 2)
        arrays[f"y_{split}"] = np.array(given * 4)
    np.savez(folder / "data.npz", **arrays)
    return Experiment(
        model=Linear(),
        task=task,
        data=image_archive(folder / "data.npz", target=target),
        optimizer=SGD(0.01),
        train=TrainConfig(steps=2, batch_size=4),
        eval=EvalConfig(every=2),
    )


@pytest.mark.parametrize("kind, metric", CASES)
def test_an_undefined_metric_cannot_choose_a_checkpoint(kind, metric, tmp_path):
    experiment = change(experiment_of(tmp_path, kind), eval={"best_metric": metric})
    with pytest.raises(
        UserError, match=f"best_metric={metric} is undefined on .*: use one of loss"
    ):
        train(experiment, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_an_undefined_metric_is_null_in_files_and_a_dash_for_people(kind, tmp_path, capsys):
    workdir, names = tmp_path / "run", KINDS[kind][-1]
    result, printed = train(experiment_of(tmp_path, kind), workdir)
    (record,) = [r for r in run_folder.read_records(workdir) if r["kind"] == "eval"]
    for found in (
        result["eval"]["validation"],
        run_folder.read_json(workdir / "result.json")["eval"]["validation"],
        record,
    ):
        undefined = {name for name, value in found.items() if value is None}
        assert set(names) <= undefined and "loss" not in undefined
    shown = [name for name in names if name in ("r2", "mean_average_precision", "micro_f1")]
    assert all(f"{name} {DASH}" in printed for name in shown)
    assert run(evaluate, [f"--workdir={workdir}", "--split=validation"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert all([name, DASH] in lines for name in names)
    words = [f"--workdir={workdir}", "--split=validation", "--format=json"]
    assert run(evaluate, words) == 0
    text = capsys.readouterr().out
    assert all(json.loads(text)[name] is None for name in names) and "NaN" not in text


def test_the_last_checkpoint_is_used_if_no_evaluation_defined_the_metric(tmp_path, monkeypatch):
    # As labels that are read with the inputs, which are not known before training.
    monkeypatch.setattr(Split, "labels_in_memory", False)
    experiment = change(experiment_of(tmp_path, "one class"), eval={"best_metric": "roc_auc"})
    experiment = change(experiment, eval={"every": 1, "patience": 1})
    result, printed = train(experiment, tmp_path / "run")
    assert (result["steps"], result["evaluated_step"], result["best_metric"]) == (2, 2, None)
    assert "roc_auc is undefined on the validation split: using the last checkpoint" in printed


def test_an_undefined_value_leaves_the_best_checkpoint_as_it_is():
    meta = checkpoint.Meta(step=1, examples=4)
    assert meta.with_evaluation("r2", {"r2": None, "loss": 1.0}) == meta
    best = meta.with_evaluation("r2", {"r2": 0.5, "loss": 1.0})
    later = dataclasses.replace(best, step=2)
    assert later.with_evaluation("r2", {"r2": None, "loss": 0.1}) == later
