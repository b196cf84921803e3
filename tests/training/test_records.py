"""Records of training: speeds, and the same records after a resume."""

import shutil
import types

import numpy as np
import pytest
import tensorflow as tf
from runs import change, train

from modelzoo.data.batches import Batch
from modelzoo.training import checkpoint, run_folder
from modelzoo.training.records import Events, Records


def test_the_first_record_after_a_resume_covers_all_its_steps(experiment, tmp_path):
    # Checkpoints between the log points 4, 8 and 12.
    seldom = change(experiment, train={"checkpoint_every": 3, "keep_checkpoints": 4})
    train(seldom, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    for step in (9, 12):
        shutil.rmtree(checkpoint.find(tmp_path / "cut", step))
    _, out = train(seldom, tmp_path / "cut")
    assert "resumed at step 6" in out

    def records(name):
        times = ("examples_per_sec", "data_wait")
        found = run_folder.read_records(tmp_path / name)
        return [{k: v for k, v in record.items() if k not in times} for record in found]

    assert records("whole") == records("cut")


def events(folder):
    """All events of a folder's files, in the order that they were written."""
    for file in sorted(folder.iterdir()):
        yield from tf.compat.v1.train.summary_iterator(str(file))


def test_events_mark_where_a_resumed_run_starts(tmp_path):
    first = Events(tmp_path)
    for step in (1, 2, 3):
        first.write(step, "train", {"loss": 1.0})
    first.close()
    second = Events(tmp_path, 2)
    second.write(3, "train", {"loss": 2.0})
    second.close()
    starts = [e.step for e in events(tmp_path / "tensorboard") if e.HasField("session_log")]
    assert starts == [1, 3]  # What is of step 3 or later, and was there before, is forgotten.


def test_tensorboard_drops_what_is_done_again(tmp_path):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.plugin_event_accumulator"
    )
    test_events_mark_where_a_resumed_run_starts(tmp_path)
    seen = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in seen.Tensors("train/loss")] == [1, 2, 3]


def test_the_speed_counts_tokens_without_padding_and_no_traced_step():
    written = {}
    log = types.SimpleNamespace(write=lambda step, kind, **values: written.update(values))
    events = types.SimpleNamespace(write=lambda *args: None)
    progress = types.SimpleNamespace(update=lambda fields: None)
    objective = types.SimpleNamespace(metrics=lambda totals: {}, headline=("loss",))
    task = types.SimpleNamespace(objective=objective)
    split = types.SimpleNamespace(
        num_examples=4, buckets=np.array([0, 0, 1, 1]), tokens=np.array([1, 3, 9, 4])
    )
    records = Records(log, events, progress, task, 3, split, {})
    report = {
        name: np.array([1.0])
        for name in ("ok", "alive", "loss_sum", "loss_weight", "learning_rate", "grad_norm")
    }
    for rows in ([0, 1], [1, 0], [1, 1]):  # The first is traced.
        records.add(report, 0.0, 2.0, [Batch(np.array(rows), np.zeros(2, np.int64), 0)])
    records.train(3, 6)
    assert written["tokens_per_sec"] == (4 + 6) / 4 and written["examples_per_sec"] == 1
