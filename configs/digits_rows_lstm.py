"""LSTM with two layers of 128 units that reads handwritten digits row by row.

modelzoo train --config=digits_rows_lstm --workdir=runs/digits_rows_lstm

56 seconds on 2 cores of AMD EPYC; test accuracy 0.9759 (mean of 3 seeds, lowest 0.9750).
"""

from modelzoo import Experiment, TrainConfig
from modelzoo.data import digits
from modelzoo.models import LSTM
from modelzoo.optimizers import Adam
from modelzoo.schedules import Cosine
from modelzoo.tasks import Classification


def get_config() -> Experiment:
    """Returns the experiment."""
    return Experiment(
        model=LSTM(units=(128, 128), dropout=0.2),
        task=Classification(),
        data=digits(),
        optimizer=Adam(learning_rate=2e-3, schedule=Cosine(warmup="1 epoch")),
        train=TrainConfig(steps="60 epochs", batch_size=64, clip_global_norm=1.0),
    )
