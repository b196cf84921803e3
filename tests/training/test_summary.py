import numpy as np
import pytest
import runs

from modelzoo import Experiment, TrainConfig
from modelzoo.models import CNN
from modelzoo.optimizers import SGD, Adam, Muon
from modelzoo.schedules import Constant, Cosine, OneCycle
from modelzoo.tasks import Classification


@pytest.mark.parametrize(
    "optimizer, words",
    [
        (Adam(), "Adam, rate 0.001, Constant, no weight decay"),
        (
            SGD(0.1, Cosine(warmup=2), weight_decay=0.01, decay_exclude=("bias", "logits")),
            "SGD, rate 0.1, Cosine after 2 steps of warmup, weight decay 0.01 on 2 of 6 variables",
        ),
        (
            SGD(
                0.1,
                Constant(warmup=9),
                weight_decay=0.01,
                learning_rate_multipliers=(("conv", 0.0), ("dense", 0.1), (".*", 1.0)),
                weight_decay_multipliers=(("logits", 0.5), (".*", 1.0)),
            ),
            "SGD, rate 0.1, Constant after 9 steps of warmup, longer than the run, x 0 on 2, "
            "x 0.1 on 2 of 6 variables, weight decay 0.005 on 1, 0.01 on 2 of 6 variables",
        ),
        (
            Muon(schedule=OneCycle(), weight_decay=0.0),
            "Muon on 2 of 6 variables, rate 0.001, OneCycle with its peak at step 1, "
            "no weight decay",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_optimizer_in_words(optimizer, words, tmp_path):
    arrays = {"x_train": np.zeros([8, 4, 4, 1], np.uint8), "y_train": np.arange(8) % 2}
    np.savez(tmp_path / "data.npz", **arrays)
    experiment = Experiment(
        model=CNN(filters=(2,), kernel_size=3, dense=(3,)),
        task=Classification(),
        data=runs.image_archive(tmp_path / "data.npz", test_split=None),
        optimizer=optimizer,
        train=TrainConfig(steps=4, batch_size=4),
    )
    _, shown = runs.train(experiment, tmp_path / "run")
    lines = [line.split(maxsplit=1) for line in shown.splitlines()]
    assert ["optimizer", words] in lines
