"""The speed that a run on pairs reports counts the tokens of its targets."""

import types

import numpy as np

from modelzoo.data.batches import Batch
from modelzoo.training.records import Records


def test_the_targets_tokens_are_counted_without_padding():
    written = {}
    log = types.SimpleNamespace(write=lambda step, kind, **values: written.update(values))
    events = types.SimpleNamespace(write=lambda *args: None)
    progress = types.SimpleNamespace(update=lambda fields: None)
    task = types.SimpleNamespace(scores=lambda totals: {}, headline="loss")
    source = types.SimpleNamespace(
        num_examples=4, lengths=np.array([8, 8, 16, 16]), tokens=np.array([1, 3, 9, 4])
    )
    records = Records(log, events, progress, task, 3, source, {})
    report = {
        name: np.array([1.0])
        for name in ("ok", "alive", "loss_sum", "loss_weight", "learning_rate", "grad_norm")
    }
    for rows in ([0, 1], [1, 0], [1, 1]):  # The first is traced.
        records.add(report, 0.0, 2.0, [Batch(np.array(rows), np.zeros(2, np.int64), 8)])
    records.train(3, 6)
    assert written["tokens_per_sec"] == (4 + 6) / 4 and written["examples_per_sec"] == 1
