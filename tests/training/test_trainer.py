"""Runs from end to end: what a config asks for is what a run does."""

import itertools
import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image as Pillow
from runs import Torn, change, differ, steps_of, train, weights
from tensorflow.python.framework import config as tf_config

import modelzoo
from modelzoo import UserError, config
from modelzoo.data import Augment, ClassFolders, ClassLabel, Dataset, Image, Npz
from modelzoo.schedules import Constant
from modelzoo.training import checkpoint, run_folder
from modelzoo.training.progress import Progress
from modelzoo.training.step import TrainStep
from modelzoo.training.trainer import Trainer


@pytest.mark.field(
    "TrainConfig.steps", "TrainConfig.log_every", "TrainConfig.checkpoint_every", "EvalConfig.every"
)
@pytest.mark.field("TrainConfig.batch_size")
def test_a_run_leaves_its_result_records_and_checkpoints(experiment, tmp_path):
    result, out = train(experiment, tmp_path)
    assert result["steps"] == 12
    assert result == json.loads((tmp_path / "result.json").read_text())
    assert set(result["eval"]) == {"validation", "test"}
    assert result["eval"]["test"]["accuracy"] > 0.9
    assert np.sum(result["eval"]["test"]["confusion"]) == 21  # 21 is no multiple of the batch.
    assert steps_of(tmp_path, "train") == [4, 8, 12]
    assert steps_of(tmp_path, "eval") == [6, 12]
    assert checkpoint.steps(tmp_path) == [6, 12]
    assert checkpoint.read_meta(checkpoint.find(tmp_path)).examples == 12 * 16
    record = next(run_folder.read_records(tmp_path))
    assert {"loss", "accuracy", "learning_rate", "grad_norm", "examples_per_sec"} <= set(record)
    assert 0 <= record["data_wait"] <= 1
    assert config.from_dict(json.loads((tmp_path / "config.json").read_text())) == experiment
    assert "12 (4 epochs), from scratch" in out
    # 4 filters of 3x3 and 4 biases, 2x2x4 pooled values to 8, 8 to 2 classes.
    assert result["parameters"] == 40 + 136 + 18
    assert "194 parameters" in out
    assert re.fullmatch(r"trained 12 steps in \d+:\d\d", out.splitlines()[-1])


def test_tensorboard_events_hold_the_same_values(experiment, tmp_path):
    train(experiment, tmp_path)
    (file,) = (tmp_path / "tensorboard").iterdir()
    seen = {}
    for event in tf.compat.v1.train.summary_iterator(str(file)):
        for value in event.summary.value:
            assert value.metadata.plugin_data.plugin_name == "scalars" or not value.tag
            seen[value.tag, event.step] = float(tf.make_ndarray(value.tensor))
    for record in run_folder.read_records(tmp_path):
        kind, step = record["kind"], record["step"]
        for name in ("loss", "accuracy"):
            assert seen[f"{kind}/{name}", step] == pytest.approx(record[name], rel=1e-5)


def test_lengths_in_epochs_and_examples(experiment, tmp_path):
    # 48 examples in batches of 16: an epoch is 3 steps.
    train(
        change(
            experiment,
            train={"steps": "4 epochs", "log_every": "1 epoch", "checkpoint_every": "64 examples"},
            eval={"every": "2 epochs"},
        ),
        tmp_path,
    )
    assert steps_of(tmp_path, "train") == [3, 6, 9, 12]
    assert steps_of(tmp_path, "eval") == [6, 12]
    assert checkpoint.steps(tmp_path) == [4, 8, 12]


@pytest.mark.field("Recipe.seed")
def test_the_seed_decides(experiment, tmp_path):
    train(experiment, tmp_path / "a")
    train(experiment, tmp_path / "b")
    train(change(experiment, seed=1), tmp_path / "c")
    assert not differ(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert differ(weights(tmp_path / "a", 6), weights(tmp_path / "c", 6))


@pytest.mark.field("TrainConfig.steps_per_loop")
def test_calls_are_cut_where_something_is_due(experiment, tmp_path):
    train(experiment, tmp_path / "a")
    train(change(experiment, train={"steps_per_loop": 5}), tmp_path / "b")
    assert not differ(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert steps_of(tmp_path / "b", "train") == [4, 8, 12]
    assert checkpoint.steps(tmp_path / "b") == [6, 12]


@pytest.mark.field(
    "DistributeConfig.strategy", "DistributeConfig.devices", "TrainConfig.accumulate"
)
def test_replicas_and_micro_batches_train_alike(experiment, tmp_path):
    result, _ = train(experiment, tmp_path / "one")
    split = change(
        experiment,
        train={"accumulate": 2},
        distribute={"strategy": "mirrored", "devices": "cpu:2"},
    )
    other, out = train(split, tmp_path / "two")
    assert "mirrored over CPU:0, CPU:1" in out
    assert "16 = 2 replica(s) x 8, in 2 micro-batches" in out
    assert other["devices"] == ["CPU:0", "CPU:1"]
    first, second = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name in first:
        np.testing.assert_allclose(first[name], second[name], atol=1e-5, err_msg=name)
    for split_name in ("validation", "test"):
        a, b = result["eval"][split_name], other["eval"][split_name]
        assert a["confusion"] == b["confusion"]
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)


def test_all_augmentation_trains_alike_on_replicas_and_resumes_to_the_bit(experiment, tmp_path):
    augment = Augment(1, True, (0.3, 1.0), brightness=0.3, erasing=0.5, mixup=0.2, cutmix=1.0)
    experiment = change(experiment, data={"inputs": Image(augment=augment)})
    train(experiment, tmp_path / "one")
    whole = weights(tmp_path / "one")
    train(change(experiment, distribute={"devices": "cpu:2"}), tmp_path / "two")
    for name, value in weights(tmp_path / "two").items():
        np.testing.assert_allclose(value, whole[name], atol=1e-5, err_msg=name)
    shutil.rmtree(tmp_path / "one" / "checkpoints" / "00000012")
    _, out = train(experiment, tmp_path / "one")
    assert "resumed at step 6" in out
    for name, value in weights(tmp_path / "one").items():
        np.testing.assert_array_equal(value, whole[name], err_msg=name)


def test_parts_of_images_are_taken_from_the_files_in_training_alone(experiment, tmp_path):
    rng = np.random.default_rng(0)
    for split, label in itertools.product(("train", "validation"), ("a", "b")):
        folder = tmp_path / "images" / split / label
        folder.mkdir(parents=True)
        for number in range(4):
            pixels = rng.integers(0, 256, (20, 10 + number), np.uint8)
            Pillow.fromarray(pixels).save(folder / f"{number}.png")
    data = Dataset(
        source=ClassFolders(str(tmp_path / "images")),
        inputs=Image(size=(6, 6), augment=Augment(crop_area=(0.1, 1.0))),
        target=ClassLabel(),
    )
    sizes = []

    def spied(self, image, seed, shape):
        tf.py_function(lambda shape: sizes.append(tuple(shape.numpy())), [tf.shape(image)], [])
        return tf.ensure_shape(image[:6, :6], shape)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Augment, "crop", spied)
        changed = change(experiment, data=data, train={"steps": 2, "batch_size": 8})
        train(changed, tmp_path / "run")
    assert set(sizes) == {(20, 10 + number, 1) for number in range(4)}


def test_a_run_that_fails_ends_its_stream(experiment, tmp_path, monkeypatch):
    stream, ended = Trainer.stream, []

    def fail(self, batches, count):
        raise RuntimeError("in the step")

    def watched(self):
        try:
            yield from stream(self)
        finally:
            ended.append(True)

    monkeypatch.setattr(Trainer, "stream", watched)
    monkeypatch.setattr(TrainStep, "__call__", fail)
    # The error keeps the frames, and what they hold, alive.
    with pytest.raises(RuntimeError, match="in the step") as error:
        train(experiment, tmp_path)
    assert ended and error.tb


def test_resuming_a_finished_run_evaluates_it_again(experiment, tmp_path):
    first, _ = train(experiment, tmp_path)
    second, out = train(experiment, tmp_path)
    assert "resumed at step 12" in out
    assert first["eval"] == second["eval"]
    assert first["seconds"] == second["seconds"] > 0
    assert steps_of(tmp_path, "train") == [4, 8, 12]


def test_another_config_is_refused_unless_asked_for(experiment, tmp_path):
    train(experiment, tmp_path)
    longer = change(experiment, train={"steps": 16})
    with pytest.raises(UserError, match=r"train.steps: 12 -> 16.*--resume_with_changes"):
        train(longer, tmp_path)
    assert checkpoint.steps(tmp_path) == [6, 12]
    # What was saved before a field was added was trained with the field's default.
    saved = run_folder.read_json(tmp_path / "config.json")
    del saved["train"]["xla"]
    run_folder.write_json(tmp_path / "config.json", saved)
    train(experiment, tmp_path)
    with pytest.raises(UserError, match=r"config \(train.xla: false -> true\)"):
        train(change(experiment, train={"xla": True}), tmp_path)
    result, _ = train(longer, tmp_path, resume_with_changes=True)
    assert result["steps"] == 16
    assert steps_of(tmp_path, "train") == [4, 8, 12, 16]


@pytest.mark.field("TrainConfig.init_from")
def test_init_from_starts_with_a_checkpoints_weights(experiment, tmp_path):
    train(experiment, tmp_path / "first")
    start = change(
        experiment,
        train={"init_from": str(tmp_path / "first"), "steps": 1, "checkpoint_every": 1},
        optimizer={"learning_rate": 1e-12},
        seed=9,
    )
    _, out = train(start, tmp_path / "second")
    assert "weights from" in out
    a, b = weights(tmp_path / "first"), weights(tmp_path / "second")
    for name in a:
        np.testing.assert_allclose(a[name], b[name], atol=1e-9)
    for filters in ((5,), (4, 4)):
        other = change(start, model={"filters": filters, "padding": "same"})
        with pytest.raises(UserError, match="another model"):
            train(other, tmp_path / "third")
    with pytest.raises(UserError, match="no folder and no trained model is called"):
        train(change(start, train={"init_from": "/nowhere"}), tmp_path / "fourth")


@pytest.mark.field("EvalConfig.best_metric", "EvalConfig.patience")
def test_the_best_is_kept_and_patience_ends_a_run(experiment, tmp_path):
    # A rate that grows the loss after the first evaluations.
    worse = change(
        experiment,
        optimizer={"learning_rate": 3.0, "momentum": 0.0},
        train={"steps": 60, "checkpoint_every": 60, "keep_checkpoints": 1},
        eval={"every": 2, "best_metric": "loss", "patience": 3},
    )
    result, out = train(worse, tmp_path)
    evals = {r["step"]: r["loss"] for r in run_folder.read_records(tmp_path) if r["kind"] == "eval"}
    best = min(evals, key=evals.get)
    assert max(evals) == best + 6 == result["steps"] < 60
    assert "stopping early" in out
    assert result["evaluated_step"] == best
    assert result["eval"]["validation"]["loss"] == pytest.approx(evals[best], rel=1e-6)
    assert checkpoint.steps(tmp_path) == [best, result["steps"]]
    assert checkpoint.find(tmp_path, "best").name == f"{best:08d}"
    again, _ = train(worse, tmp_path)
    assert again["steps"] == result["steps"]
    assert again["eval"] == result["eval"]


@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_an_equal_metric_is_no_improvement_also_after_a_resume(metric, experiment, tmp_path):
    # The accuracy stands still; the loss falls a little, or stands still.
    still = change(
        experiment,
        optimizer={"learning_rate": 1e-4 if metric == "accuracy" else 1e-30, "momentum": 0.0},
        train={"steps": 4, "checkpoint_every": 2, "ema_decay": None},
        eval={"every": 2, "best_metric": metric, "patience": 3},
    )
    train(still, tmp_path)
    longer = change(still, train={"steps": 60})
    _, out = train(longer, tmp_path, resume_with_changes=True)
    assert "resumed at step 4" in out
    assert f"stopping early: {metric} did not improve in 3 evaluations" in out
    evals = [r for r in run_folder.read_records(tmp_path) if r["kind"] == "eval"]
    assert [r["step"] for r in evals] == [2, 4, 6, 8] and len({r[metric] for r in evals}) == 1
    best = 8 if metric == "accuracy" else 2
    assert checkpoint.find(tmp_path, "best").name == f"{best:08d}"


def test_a_wrong_best_metric_lists_the_valid_ones(experiment, tmp_path):
    with pytest.raises(UserError, match="best_metric must be one of loss, accuracy.*'bleu'"):
        train(change(experiment, eval={"best_metric": "bleu"}), tmp_path)


@pytest.mark.field("Dataset.validation_split")
def test_without_a_validation_split(experiment, tmp_path):
    blind = change(experiment, data={"validation_split": None})
    result, _ = train(blind, tmp_path / "a")
    assert set(result["eval"]) == {"test"}
    assert steps_of(tmp_path / "a", "eval") == []
    with pytest.raises(UserError, match="config.data.validation_split"):
        train(change(blind, eval={"best_metric": "loss"}), tmp_path / "b")


@pytest.mark.field("EvalConfig.test_at_end", "EvalConfig.batch_size")
def test_evaluation_settings(experiment, tmp_path):
    result, _ = train(change(experiment, eval={"test_at_end": False}), tmp_path / "a")
    assert set(result["eval"]) == {"validation"}
    other, _ = train(change(experiment, eval={"batch_size": 3}), tmp_path / "b")
    a, b = result["eval"]["validation"], other["eval"]["validation"]
    assert a["confusion"] == b["confusion"]
    odd = change(experiment, eval={"batch_size": 3}, distribute={"devices": "cpu:2"})
    with pytest.raises(UserError, match="config.eval.batch_size must be a multiple of 2"):
        train(odd, tmp_path / "c")


@pytest.mark.field("TrainConfig.ema_decay", "EvalConfig.weights")
def test_the_moving_average_is_evaluated_beside_the_raw_weights(experiment, tmp_path):
    averaged = change(experiment, train={"ema_decay": 0.99})
    result, _ = train(averaged, tmp_path / "ema")
    scores = result["eval"]["test"]
    assert scores["loss"] != scores["raw"]["loss"]
    # Usable early on: twelve steps from the start it is no longer near the initial weights.
    assert scores["accuracy"] > 0.9
    (last,) = [r for r in run_folder.read_records(tmp_path / "ema") if r["kind"] == "eval"][-1:]
    assert last["raw_loss"] == pytest.approx(result["eval"]["validation"]["raw"]["loss"])
    raw, _ = train(change(averaged, eval={"weights": "raw"}), tmp_path / "raw")
    assert raw["eval"]["test"]["loss"] == pytest.approx(scores["raw"]["loss"], rel=1e-6)
    served = modelzoo.load(tmp_path / "ema"), modelzoo.load(tmp_path / "raw")
    image = {"image": np.full([1, 6, 6, 1], 90, np.uint8)}
    assert not np.allclose(*(p.outputs(image)["scores"] for p in served), atol=1e-6)


@pytest.mark.field("TrainConfig.precision", "TrainConfig.xla")
def test_arithmetic(experiment, tmp_path):
    experiment = change(experiment, model={"pooling": "average"})
    plain, _ = train(experiment, tmp_path / "float32")
    compiled, out = train(change(experiment, train={"xla": True}), tmp_path / "xla")
    assert ", XLA" in out
    half, out = train(change(experiment, train={"precision": "bfloat16"}), tmp_path / "bfloat16")
    assert "bfloat16" in out
    double, _ = train(change(experiment, train={"precision": "float64"}), tmp_path / "float64")
    a, b, c, d = (
        weights(tmp_path / name)["model/logits/kernel"]
        for name in ("float32", "xla", "bfloat16", "float64")
    )
    assert (a.dtype, c.dtype, d.dtype) == ("float32", "float32", "float64")
    np.testing.assert_allclose(a, b, atol=1e-4)
    np.testing.assert_allclose(a, c, atol=0.1)
    assert not np.allclose(a, c, atol=1e-5)
    assert plain["eval"]["test"]["accuracy"] == compiled["eval"]["test"]["accuracy"]
    assert half["eval"]["test"]["accuracy"] > 0.9 and double["eval"]["test"]["accuracy"] > 0.9


@pytest.mark.field("TrainConfig.deterministic")
def test_determinism_is_switched_on_where_asked_for(experiment, tmp_path):
    train(change(experiment, train={"deterministic": False}), tmp_path / "a")
    assert not tf_config.is_op_determinism_enabled()
    train(experiment, tmp_path / "b")
    assert tf_config.is_op_determinism_enabled()


@pytest.mark.field(
    "TrainConfig.clip_value", "TrainConfig.clip_norm", "TrainConfig.clip_global_norm"
)
@pytest.mark.field("Optimizer.learning_rate")
def test_clipping_and_rate_reach_the_step(experiment, tmp_path):
    once = {"steps": 1, "checkpoint_every": 1, "keep_checkpoints": 4}
    one = change(experiment, train=once, eval={"every": 100})
    train(one, tmp_path / "free")
    free = weights(tmp_path / "free")
    changes = [
        {"train": {"clip_value": 1e-4}},
        {"train": {"clip_norm": 1e-4}},
        {"train": {"clip_global_norm": 1e-4}},
        {"optimizer": {"learning_rate": 0.01}},
        {"optimizer": {"schedule": Constant(warmup="1 epoch")}, "train": {"steps": 4}},
        {"task": {"label_smoothing": 0.2}},
        {"task": {"class_weights": (1.0, 3.0)}},
        {"data": {"inputs": Image(augment=Augment(flip=True))}},
    ]
    for number, parts in enumerate(changes):
        workdir = tmp_path / str(number)
        train(change(one, **parts), workdir)
        assert differ(free, weights(workdir, 1)), parts


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(experiment, tmp_path):
    wild = change(experiment, optimizer={"learning_rate": 1e30})
    with pytest.raises(UserError, match=r"of step 1 are not finite: lower config.optimizer"):
        train(wild, tmp_path)
    assert checkpoint.steps(tmp_path) == []


def test_other_data_is_refused_unless_asked_for(experiment, stripes, tmp_path):
    arrays = dict(np.load(stripes))
    fewer = tmp_path / "fewer.npz"
    np.savez(fewer, **{k: v[1:] if k.endswith("_train") else v for k, v in arrays.items()})
    (tmp_path / "data.npz").write_bytes(stripes.read_bytes())
    moved = change(experiment, data={"source": Npz(str(tmp_path / "data.npz"))})
    train(moved, tmp_path / "run")
    (tmp_path / "data.npz").write_bytes(fewer.read_bytes())
    with pytest.raises(UserError, match="training data has other examples .* until step 12"):
        train(moved, tmp_path / "run")
    result, _ = train(moved, tmp_path / "run", resume_with_changes=True)
    assert result["steps"] == 12


def test_another_best_metric_forgets_the_best_of_the_last(experiment, tmp_path):
    best = change(experiment, eval={"best_metric": "accuracy", "patience": 9})
    train(best, tmp_path)
    other = change(best, eval={"best_metric": "loss"}, train={"steps": 18})
    train(other, tmp_path, resume_with_changes=True)
    meta = checkpoint.read_meta(checkpoint.find(tmp_path))
    assert (meta.best_metric, meta.best_step) == ("loss", 18)
    none = change(other, eval={"best_metric": None, "patience": None}, train={"steps": 24})
    result, _ = train(none, tmp_path, resume_with_changes=True)
    assert result["evaluated_step"] == 24
    assert checkpoint.resolve(tmp_path).name == "00000024"


def test_a_reader_that_stops_ends_the_run_once_it_is_saved(experiment, tmp_path):
    whole, _ = train(experiment, tmp_path / "whole")
    with pytest.raises(BrokenPipeError):
        modelzoo.train(experiment, tmp_path / "cut", progress=Progress(Torn(8)))
    assert checkpoint.steps(tmp_path / "cut") == [4]
    result, _ = train(experiment, tmp_path / "cut")
    assert result["eval"] == whole["eval"]
    assert not differ(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


@pytest.mark.parametrize(
    "parts, message",
    [
        ({"train": {"accumulate": 3}}, "batch_size must be a multiple of 1 replica.* = 3, got 16"),
        ({"data": {"test_split": "tset"}}, "tset"),
        ({"task": {"class_weights": (1.0, 2.0, 3.0)}}, "config.task.class_weights"),
        (
            {"data": {"inputs": Image(augment=Augment(mixup=0.2))}, "train": {"batch_size": 15}},
            "batch_size must be an even number per replica .* got 15 on 1",
        ),
        (
            {
                "data": {"inputs": Image(augment=Augment(cutmix=1.0))},
                "train": {"batch_size": 6},
                "distribute": {"devices": "cpu:2"},
            },
            "batch_size must be an even number per replica .* got 6 on 2",
        ),
        ({"model": {"filters": (4, 4, 4, 4)}}, "config.model.filters"),
        ({"distribute": {"devices": "gpu:8"}}, "--devices=gpu:8 needs 8 GPU"),
        ({"distribute": {"devices": "cpu:64"}}, "cpu:64"),
    ],
    ids=str,
)
def test_parts_that_do_not_fit(experiment, tmp_path, parts, message):
    with pytest.raises(UserError, match=message):
        train(change(experiment, **parts), tmp_path)
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.field("ExportConfig.at_end")
def test_export_at_the_end(experiment, tmp_path):
    _, out = train(change(experiment, export={"at_end": True}), tmp_path)
    assert (tmp_path / "export" / "1" / "saved_model.pb").exists()
    assert f"exported to {tmp_path / 'export' / '1'}" in out
