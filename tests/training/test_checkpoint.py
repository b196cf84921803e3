import dataclasses
import json
import os

import keras
import numpy as np
import pytest

from modelzoo.fields.errors import UserError
from modelzoo.training import checkpoint
from modelzoo.training.checkpoint import Meta

ARRAYS = {"model/a/kernel": np.arange(6.0).reshape(2, 3), "optimizer/sgd/iteration": np.int32(3)}


def write(workdir, *steps, **meta):
    for step in steps:
        checkpoint.write(workdir, ARRAYS, Meta(step=step, examples=10 * step, **meta))


def test_arrays_and_meta_come_back(tmp_path):
    write(tmp_path, 5, best_step=5, best_value=0.25, stale=2)
    path = checkpoint.find(tmp_path, "last")
    arrays = checkpoint.read(path)
    assert arrays.keys() == ARRAYS.keys()
    for name in ARRAYS:
        np.testing.assert_array_equal(arrays[name], ARRAYS[name])
        assert arrays[name].dtype == ARRAYS[name].dtype
    assert checkpoint.read_meta(path) == Meta(5, 50, best_step=5, best_value=0.25, stale=2)


def test_the_newest_and_the_best_stay(tmp_path):
    write(tmp_path, 1, 2, 3, 4, 5)
    (checkpoint.folder(tmp_path) / "00000009.partial").mkdir()
    checkpoint.prune(tmp_path, keep=2, best=1)
    assert checkpoint.steps(tmp_path) == [1, 4, 5]
    assert not list(checkpoint.folder(tmp_path).glob("*.partial"))


def test_which(tmp_path):
    write(tmp_path, 1, 2, best_step=1)
    assert checkpoint.find(tmp_path, "best").name == "00000001"
    assert checkpoint.find(tmp_path, 2).name == "00000002"
    assert checkpoint.find(tmp_path, "2") == checkpoint.find(tmp_path, "last")
    assert checkpoint.resolve(tmp_path).name == "00000001"
    assert checkpoint.resolve(checkpoint.find(tmp_path, 2)).name == "00000002"
    with pytest.raises(UserError, match=r"no checkpoint of step 7 in .*\[1, 2\]"):
        checkpoint.find(tmp_path, 7)
    with pytest.raises(UserError, match="'last', 'best', 'mean:N' or a step, got 'newest'"):
        checkpoint.find(tmp_path, "newest")
    with pytest.raises(UserError, match="train there first"):
        checkpoint.find(tmp_path / "elsewhere", "last")
    write(tmp_path / "other", 1)
    with pytest.raises(UserError, match="has no best checkpoint"):
        checkpoint.find(tmp_path / "other", "best")


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    write(tmp_path, 1)

    def full(*args, **kwargs):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(UserError, match="No space left.* checkpoint of step 1 is intact"):
        write(tmp_path, 2)
    assert checkpoint.steps(tmp_path) == [1]
    assert [p.name for p in checkpoint.folder(tmp_path).iterdir()] == ["00000001"]


def test_no_wrong_byte_goes_unnoticed(tmp_path):
    written = {"model/a": np.arange(6, dtype=np.float32), "model/b": np.arange(3)}
    checkpoint.write(tmp_path, written, checkpoint.Meta(step=1, examples=1))
    file = checkpoint.find(tmp_path) / "state.npz"
    whole = file.read_bytes()
    named = 0
    for position in range(len(whole)):
        content = bytearray(whole)
        content[position] ^= 255
        file.write_bytes(content)
        try:
            read = checkpoint.read(file.parent)
        except UserError as error:
            assert str(error).startswith(f"the checkpoint {file} is damaged")
            named += 1
        else:
            # The byte told nothing, such as a date, or hid an array, which `assign` finds missing.
            for name, values in read.items():
                np.testing.assert_array_equal(values, written[name])
    assert named > 0.7 * len(whole)


def test_damage_is_named(tmp_path):
    write(tmp_path, 1)
    file = checkpoint.find(tmp_path) / "state.npz"
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 255
    file.write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        checkpoint.read(file.parent)
    file.write_bytes(b"no archive")
    with pytest.raises(UserError, match="damaged"):
        checkpoint.read(file.parent)
    (file.parent / "meta.json").write_text("{")
    with pytest.raises(UserError, match="is not a checkpoint of modelzoo"):
        checkpoint.read_meta(file.parent)
    (file.parent / "meta.json").write_text(json.dumps({"steps": 1}))
    with pytest.raises(UserError, match="is not a checkpoint of modelzoo"):
        checkpoint.read_meta(file.parent)


def test_no_pickle_is_read(tmp_path):
    target = checkpoint.folder(tmp_path) / "00000001"
    target.mkdir(parents=True)
    np.savez(target / "state.npz", evil=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UserError, match="damaged"):
        checkpoint.read(target)


def test_assignment_is_all_or_nothing():
    first = keras.Variable(np.zeros(2), name="first")
    second = keras.Variable(np.zeros(3), name="second")
    named = {"model/first": first, "model/second": second}
    with pytest.raises(UserError, match="another model.* it has no 'model/second'"):
        checkpoint.assign(named, {"model/first": np.ones(2)})
    both = {"model/first": np.ones(2), "model/second": np.ones(3)}
    with pytest.raises(UserError, match=r"'model/second' is \(4,\), the run's is \(3,\)"):
        checkpoint.assign(named, both | {"model/second": np.ones(4)})
    with pytest.raises(UserError, match="another model.* the run has no 'model/third'"):
        checkpoint.assign(named, both | {"model/third": np.ones(4)})
    with pytest.raises(UserError, match=r"config\.train\.ema_decay"):
        checkpoint.assign(named, both | {"ema/first": np.ones(2)})
    assert not first.numpy().any()
    checkpoint.assign(named, {"model/first": np.ones(2), "model/second": np.ones(3)})
    assert first.numpy().all() and second.numpy().all()


def test_the_best_is_judged_by_its_metric_then_by_loss():
    meta = Meta(step=1, examples=1)
    history = []
    evaluations = [(0.5, 2.0), (0.7, 1.0), (0.7, 1.5), (0.7, 0.9), (0.6, 0.1)]
    for step, (accuracy, loss) in enumerate(evaluations, start=1):
        now = dataclasses.replace(meta, step=step)
        meta = now.with_evaluation("accuracy", {"accuracy": accuracy, "loss": loss})
        history.append((meta.best_step, meta.stale))
    # A lower loss is a better checkpoint, but an equal accuracy is no improvement.
    assert history == [(1, 0), (2, 0), (2, 1), (4, 2), (4, 3)]
    assert meta.for_metric("accuracy") == meta
    assert meta.for_metric("loss").best_step is None
    lower = Meta(step=1, examples=1).with_evaluation("loss", {"loss": 2.0})
    assert dataclasses.replace(lower, step=2).with_evaluation("loss", {"loss": 1.0}).best_step == 2
    assert dataclasses.replace(lower, step=2).with_evaluation("loss", {"loss": 3.0}).best_step == 1
    assert lower.with_evaluation("loss", {"loss": 2.0}).stale == 1
    for lower_is_better, best in ((("loss", "mae"), 2), (("loss",), 1)):
        error = Meta(step=1, examples=1).with_evaluation("mae", {"mae": 2.0}, lower_is_better)
        error = dataclasses.replace(error, step=2).with_evaluation(
            "mae", {"mae": 1.0}, lower_is_better
        )
        assert error.best_step == best
