"""LSTM with two layers of 256 units on your own CSV file with the columns `text` and `label`.

modelzoo train --config=reviews_lstm --workdir=runs/reviews_lstm
"""

from modelzoo import EvalConfig, Experiment, TrainConfig
from modelzoo.data import ClassLabel, Dataset, Table, Text, Words
from modelzoo.models import LSTM
from modelzoo.optimizers import Adam
from modelzoo.schedules import Cosine
from modelzoo.tasks import Classification


def get_config() -> Experiment:
    """Returns the experiment."""
    return Experiment(
        model=LSTM(embedding_dim=100, units=(256, 256), dropout=0.5),
        task=Classification(),
        data=Dataset(
            source=Table("reviews.csv"),
            # A truncated review keeps its start and its end, which say more than its middle.
            inputs=Text(tokenizer=Words(size=20_000, min_count=2), keep="ends"),
            target=ClassLabel(),
            train_split="train[:80%]",
            validation_split="train[80%:90%]",
            test_split="train[90%:]",
        ),
        optimizer=Adam(learning_rate=1e-3, schedule=Cosine(warmup="0.2 epochs")),
        train=TrainConfig(steps="8 epochs", batch_size=64, clip_global_norm=1.0),
        eval=EvalConfig(best_metric="accuracy"),
    )
