"""LSTM with two layers of 8 units that classifies table rows of ten numbers, two classes.

modelzoo train --config=features_lstm --workdir=runs/features_lstm

`features.csv` has the columns x1 to x10, which the LSTM reads as ten steps, and `label`.
"""

from modelzoo import EvalConfig, Experiment, TrainConfig
from modelzoo.data import ClassLabel, Dataset, Series, Table
from modelzoo.models import LSTM
from modelzoo.optimizers import Adam
from modelzoo.schedules import Cosine
from modelzoo.tasks import Classification


def get_config() -> Experiment:
    """Returns the experiment."""
    return Experiment(
        model=LSTM(units=(8, 8)),
        task=Classification(loss="binary"),  # One logit with a sigmoid instead of two.
        data=Dataset(
            source=Table("features.csv"),
            inputs=Series(
                columns=tuple(f"x{number}" for number in range(1, 11)),
                layout="columns_are_steps",
            ),
            target=ClassLabel(),
            train_split="train[:80%]",
            validation_split="train[80%:90%]",
            test_split="train[90%:]",
        ),
        optimizer=Adam(learning_rate=0.01, schedule=Cosine()),
        train=TrainConfig(steps="30 epochs", batch_size=32),
        eval=EvalConfig(best_metric="accuracy"),
    )
