"""The mean of the last checkpoints: what is evaluated is what is served."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from runs import Torn, change, train, weights

import modelzoo
from modelzoo.cli import evaluate
from modelzoo.cli.main import run
from modelzoo.fields.errors import UserError
from modelzoo.inference.predictor import Predictor
from modelzoo.training import averaging, checkpoint, run_folder
from modelzoo.training.checkpoint import Meta
from modelzoo.training.config import EvalConfig
from modelzoo.training.plan import Plan
from modelzoo.training.progress import Progress


def write(workdir, step, **meta):
    """A checkpoint of numbers that a mean in float32 would round."""
    rng = np.random.default_rng(step)
    arrays = {
        "model/a/kernel": rng.normal(size=[3, 2]).astype(np.float32),
        "model/a/moving_mean": 1e4 + rng.normal(size=[2]).astype(np.float32),
        "model/a/count": np.int64(step),
        "ema/a/kernel": rng.normal(size=[3, 2]).astype(np.float32),
        "optimizer/sgd/momentum": rng.normal(size=[2]).astype(np.float32),
    }
    checkpoint.write(workdir, arrays, Meta(step=step, examples=step, **meta))
    return arrays


def test_the_mean_against_numpy(tmp_path):
    written = [write(tmp_path, step) for step in (1, 2, 3, 4)]
    paths = averaging.find(tmp_path, "mean:3")
    assert averaging.steps(paths) == [2, 3, 4]
    arrays = averaging.read(paths)
    assert arrays.keys() == written[0].keys()
    for name in ("model/a/kernel", "model/a/moving_mean", "ema/a/kernel"):
        mean = np.mean([np.float64(w[name]) for w in written[1:]], axis=0)
        np.testing.assert_array_equal(arrays[name], mean.astype(np.float32), err_msg=name)
        assert arrays[name].dtype == np.float32
    for name in ("model/a/count", "optimizer/sgd/momentum"):
        np.testing.assert_array_equal(arrays[name], written[-1][name], err_msg=name)
    assert list(averaging.read(paths, "ema/")) == ["ema/a/kernel"]
    single = averaging.read(averaging.find(tmp_path, "mean:1"))
    np.testing.assert_array_equal(single["model/a/kernel"], written[-1]["model/a/kernel"])


def test_checkpoints_of_a_stopped_run_are_skipped_and_deleted(tmp_path):
    for step, interim in ((10, False), (20, False), (25, True), (30, False)):
        write(tmp_path, step, interim=interim)
    assert averaging.steps(averaging.find(tmp_path, "mean:2")) == [20, 30]
    checkpoint.prune(tmp_path, keep=2, best=None)
    assert checkpoint.steps(tmp_path) == [20, 30]
    # The newest is where the run goes on.
    write(tmp_path, 33, interim=True)
    checkpoint.prune(tmp_path, keep=2, best=None)
    assert checkpoint.steps(tmp_path) == [30, 33]


def test_which_checkpoints_are_served(tmp_path):
    for step in (1, 2, 3):
        write(tmp_path, step, best_metric="loss", best_step=1, best_value=0.5)

    def served(**fields):
        return averaging.steps(averaging.find_final(tmp_path, EvalConfig(**fields)))

    assert served() == [3]
    assert served(best_metric="loss") == [1]
    assert served(best_metric="accuracy") == [3]
    assert served(average_checkpoints=2) == [2, 3]
    with pytest.raises(UserError, match=r"mean:4 needs 4 checkpoints .*\[1, 2, 3\].*=last"):
        served(average_checkpoints=4)
    with pytest.raises(UserError, match="mean:N needs N of at least 1, got mean:0"):
        averaging.find(tmp_path, "mean:0")
    with pytest.raises(UserError, match="'mean:N' or a step, got 'mean:-1'"):
        averaging.find(tmp_path, "mean:-1")


def test_too_few_checkpoints_are_refused_before_training(tmp_path):
    plan = Plan(total=60, log_every=5, checkpoint_every=25, eval_every=None, steps_per_loop=1)
    three, four = (EvalConfig(average_checkpoints=n) for n in (3, 4))
    averaging.check(tmp_path, three, 3, plan)  # 25, 50, 60
    with pytest.raises(UserError, match="needs 4 checkpoints, this run ends with 3"):
        averaging.check(tmp_path, four, 4, plan)
    with pytest.raises(
        UserError, match="keep_checkpoints must be at least .*average_checkpoints, 3, got 2"
    ):
        averaging.check(tmp_path, three, 2, plan)
    averaging.check(tmp_path, EvalConfig(), 1, plan)
    # A resumed run whose earlier ones are gone; then one that a stop left, which will go.
    write(tmp_path, 50)
    with pytest.raises(UserError, match="this run ends with 2"):
        averaging.check(tmp_path, three, 3, plan)
    write(tmp_path, 55, interim=True)
    with pytest.raises(UserError, match="this run ends with 2"):
        averaging.check(tmp_path, three, 3, plan)
    # It stays the newest of a run that is to end there.
    ended = dataclasses.replace(plan, total=55)
    averaging.check(tmp_path, EvalConfig(average_checkpoints=2), 2, ended)
    write(tmp_path, 60)
    with pytest.raises(UserError, match="this run ends with 2"):
        averaging.check(tmp_path, three, 3, plan)


@pytest.fixture
def averaged(experiment):
    """A run of the checkpoints 4, 8 and 10, of which the last two are averaged."""
    return change(
        experiment,
        optimizer={"learning_rate": 0.3},
        train={"steps": 10, "checkpoint_every": 4, "ema_decay": 0.5},
        eval={"average_checkpoints": 2, "every": 5},
    )


def metrics_of(capsys, *words):
    assert run(evaluate, [*words, "--format=json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.field("EvalConfig.average_checkpoints")
def test_what_a_run_evaluates_is_evaluated_again_exported_and_served(averaged, tmp_path, capsys):
    averaged = change(averaged, export={"at_end": True})
    result, out = train(averaged, tmp_path)
    assert (result["evaluated_step"], result["averaged_steps"]) == (10, [8, 10])
    assert "mean of steps 8, 10" in out
    # The run says if the mean is worse than the last checkpoint.
    (at_end,) = (
        r for r in run_folder.read_records(tmp_path) if r["kind"] == "eval" and r["step"] == 10
    )
    worse = result["eval"]["validation"]["loss"] > at_end["loss"]
    assert worse == ("the mean of 2 checkpoints is worse than the last one: validation" in out)
    assert worse
    expected = result["eval"]["test"]
    evaluated = metrics_of(capsys, f"--workdir={tmp_path}")
    exported = metrics_of(capsys, f"--model={tmp_path / 'export'}")
    explicit = metrics_of(capsys, f"--workdir={tmp_path}", "--checkpoint=mean:2")
    raw = metrics_of(capsys, f"--workdir={tmp_path}", "--weights=raw")
    last = metrics_of(capsys, f"--workdir={tmp_path}", "--checkpoint=last")
    assert "the mean of steps 8, 10 of" in evaluated["model"]
    for metrics in (evaluated, exported, explicit):
        assert metrics["loss"] == pytest.approx(expected["loss"], rel=1e-5)
        assert metrics["confusion"] == expected["confusion"]
    assert raw["loss"] == pytest.approx(expected["raw"]["loss"], rel=1e-5)
    losses = (expected["loss"], expected["raw"]["loss"], last["loss"])
    assert len({round(loss, 5) for loss in losses}) == 3
    validation = metrics_of(capsys, f"--workdir={tmp_path}", "--split=validation")
    assert validation["loss"] == pytest.approx(result["eval"]["validation"]["loss"], rel=1e-5)
    arrays = [checkpoint.read(checkpoint.find(tmp_path, step)) for step in (8, 10)]
    for chosen, kind in (("ema", "ema"), ("raw", "model")):
        model = Predictor.from_workdir(tmp_path, weights=chosen).model
        for variable in model.weights:
            mean = np.mean([a[f"{kind}/{variable.path}"] for a in arrays], axis=0)
            np.testing.assert_allclose(variable.numpy(), mean, rtol=1e-6, atol=1e-7)
    # The last checkpoint itself is as training left it, and scoring it again changes nothing.
    again, _ = train(averaged, tmp_path)
    assert again == result
    alone, _ = train(
        change(averaged, eval={"average_checkpoints": 1}), tmp_path, resume_with_changes=True
    )
    assert alone["eval"]["test"]["loss"] == pytest.approx(last["loss"], rel=1e-5)
    assert (alone["export"], result["export"]) == ("export/2", "export/1")
    # Gone is gone: no other mean takes its place.
    train(averaged, tmp_path, resume_with_changes=True)
    shutil.rmtree(checkpoint.find(tmp_path, 8))
    shutil.rmtree(checkpoint.find(tmp_path, 4))
    with pytest.raises(UserError, match="mean:2 needs 2 checkpoints"):
        modelzoo.load(tmp_path)


def test_a_run_that_was_stopped_averages_the_same(averaged, tmp_path):
    whole, _ = train(averaged, tmp_path / "whole")
    talkative = change(averaged, train={"log_every": 1})
    with pytest.raises(BrokenPipeError):
        # Eight lines of summary, eight of steps, one of scores.
        modelzoo.train(talkative, tmp_path / "cut", progress=Progress(Torn(17)))
    path = checkpoint.find(tmp_path / "cut")
    assert (path.name, checkpoint.read_meta(path).interim) == ("00000009", True)
    cut, _ = train(talkative, tmp_path / "cut")
    assert cut["averaged_steps"] == whole["averaged_steps"] == [8, 10]
    assert cut["eval"] == whole["eval"]
    assert checkpoint.steps(tmp_path / "cut") == checkpoint.steps(tmp_path / "whole")


def test_init_from_an_averaged_run_starts_with_what_it_serves(averaged, tmp_path):
    train(averaged, tmp_path / "first")
    start = change(
        averaged,
        train={"init_from": str(tmp_path / "first"), "steps": 1, "checkpoint_every": 1},
        optimizer={"learning_rate": 1e-12},
        eval={"average_checkpoints": 1},
    )
    _, out = train(start, tmp_path / "second")
    assert "weights from the mean of 2 checkpoints until" in out
    served = {f"model/{v.path}": v.numpy() for v in modelzoo.load(tmp_path / "first").model.weights}
    for name, value in weights(tmp_path / "second").items():
        np.testing.assert_allclose(value, served[name], atol=1e-9, err_msg=name)
    assert run_folder.read_json(tmp_path / "second" / "result.json")["evaluated_step"] == 1


def test_best_and_mean_exclude_each_other():
    with pytest.raises(ValueError, match="^average_checkpoints must be 1 if best_metric"):
        EvalConfig(best_metric="loss", average_checkpoints=2)
