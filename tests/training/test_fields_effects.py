"""Fields whose effect only a run shows."""

import numpy as np
import pytest
import runs

from modelzoo import Experiment, config
from modelzoo.models import CNN
from modelzoo.optimizers import SGD
from modelzoo.tasks import Classification
from modelzoo.training import checkpoint, run_folder


@pytest.fixture
def train(tmp_path):
    """Trains a tiny net in a folder, with fields by their keys: `train(name, {key: text})`."""
    rng = np.random.default_rng(0)
    sizes = {"train": 24, "more": 18, "test": 9, "other": 5}
    arrays = {}
    for split, number in sizes.items():
        arrays[f"x_{split}"] = rng.integers(0, 256, [number, 4, 4, 1], np.uint8)
        arrays[f"y_{split}"] = np.arange(number) % 3
    np.savez(tmp_path / "data.npz", **arrays)
    experiment = Experiment(
        model=CNN(filters=(2,), kernel_size=3, dense=()),
        task=Classification(),
        data=runs.image_archive(tmp_path / "data.npz"),
        optimizer=SGD(),
    )

    def train(name, fields):
        fields = {"train.batch_size": "6", "train.steps": "1 epoch"} | fields
        changed = config.override(experiment, list(fields.items()))
        return runs.train(changed, tmp_path / name)[0]

    return train


@pytest.mark.field("Dataset.train_split", "Dataset.test_split")
def test_a_run_reads_the_splits_of_the_config(train):
    result = train("default", {})
    assert (result["steps"], np.sum(result["eval"]["test"]["confusion"])) == (4, 9)
    result = train("changed", {"data.train_split": "more[:12]", "data.test_split": "other"})
    assert (result["steps"], np.sum(result["eval"]["test"]["confusion"])) == (2, 5)
    assert train("none", {"data.test_split": "none"})["eval"] == {}


@pytest.mark.field("TrainConfig.keep_checkpoints")
@pytest.mark.parametrize("keep", [1, 3])
def test_so_many_checkpoints_are_kept(train, tmp_path, keep):
    train("run", {"train.checkpoint_every": "1", "train.keep_checkpoints": str(keep)})
    assert checkpoint.steps(tmp_path / "run") == [1, 2, 3, 4][-keep:]


@pytest.mark.field("SGD.learning_rate")
def test_an_update_is_proportional_to_the_rate(train, tmp_path):
    def bias(rate):
        fields = {"train.steps": "1", "train.log_every": "1", "optimizer.learning_rate": str(rate)}
        train(f"run{rate}", fields)
        (record,) = run_folder.read_records(tmp_path / f"run{rate}")
        assert record["learning_rate"] == pytest.approx(rate)
        # It starts at zero, so that it is the update.
        return checkpoint.read(checkpoint.find(tmp_path / f"run{rate}"))["model/logits/bias"]

    small, large = bias(0.02), bias(0.06)
    assert np.abs(small).max() > 1e-4
    np.testing.assert_allclose(large, 3 * small, rtol=1e-4)
