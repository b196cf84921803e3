"""A schedule is added by one file."""

import importlib
import json

import numpy as np
import pytest
import tensorflow as tf

from modelzoo import UserError, config, configs

SCHEDULE = '''
import dataclasses

from modelzoo.fields.checks import check_share
from modelzoo.schedules.schedule import WarmupSchedule


@dataclasses.dataclass(frozen=True)
class Squared(WarmupSchedule):
    """A parabola from the peak down to `final` of it."""

    final: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        check_share(final=self.final)

    def at_progress(self, progress):
        return self.final + (1.0 - self.final) * (1.0 - progress) ** 2
'''


def test_a_schedule_in_its_own_file(tmp_path, monkeypatch):
    (tmp_path / "squared_schedule.py").write_text(SCHEDULE)
    monkeypatch.syspath_prepend(tmp_path)
    squared = importlib.import_module("squared_schedule").Squared(warmup=2, final=0.5)
    experiment = configs.get("digits_cnn", {"optimizer.schedule": squared})
    assert config.from_dict(json.loads(json.dumps(config.to_dict(experiment)))) == experiment
    changed = config.override(experiment, {"optimizer.schedule.final": 0.0})
    factor = changed.optimizer.schedule.bind(12, int)
    got = [float(factor(tf.constant(step))) for step in (0, 1, 2, 7, 12)]
    np.testing.assert_allclose(got, [0.5, 1.0, 1.0, 0.25, 0.0], rtol=1e-6)
    assert squared.describe(12, int) == "Squared after 2 steps of warmup"
    with pytest.raises(UserError, match=r"config\.optimizer\.schedule\.final must be between"):
        config.override(experiment, {"optimizer.schedule.final": 2.0})
