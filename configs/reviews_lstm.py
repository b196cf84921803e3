"""Two LSTM layers of 256 on reviews in a CSV file of yours, with columns `text` and `label`.

modelzoo train --config=reviews_lstm --workdir=runs/reviews_lstm
"""

from modelzoo import EvalConfig, Experiment, TrainConfig
from modelzoo.data.text_table import TextTable
from modelzoo.data.tokenizers import Words
from modelzoo.models import LSTM
from modelzoo.optimizers import Adam
from modelzoo.schedules import Cosine
from modelzoo.tasks.text import TextClassification


def get_config() -> Experiment:
    """The experiment."""
    return Experiment(
        model=LSTM(embedding_dim=100, units=(256, 256), dropout=0.5),
        task=TextClassification(),
        data=TextTable(
            path="reviews.csv",
            train_split="train[:80%]",
            validation_split="train[80%:90%]",
            test_split="train[90%:]",
            tokenizer=Words(size=20_000, min_count=2),
            lengths=(32, 64, 128, 256),
            keep="ends",
        ),
        optimizer=Adam(learning_rate=1e-3, schedule=Cosine(warmup="0.2 epochs")),
        train=TrainConfig(steps="8 epochs", batch_size=64, clip_global_norm=1.0),
        eval=EvalConfig(best_metric="accuracy"),
    )
