"""Bidirectional LSTM over words on SST-2, phrases of film reviews, tested on its dev split.

modelzoo train --config=sst2_lstm --workdir=runs/sst2_lstm

2 minutes on 2 cores of AMD EPYC; dev accuracy 0.8199 (one seed).
"""

from modelzoo import Experiment, TrainConfig
from modelzoo.data import ClassLabel, Dataset, Table, Text, Words
from modelzoo.models import LSTM
from modelzoo.optimizers import Adam
from modelzoo.schedules import Cosine
from modelzoo.tasks import Classification


def get_config() -> Experiment:
    """Returns the experiment."""
    return Experiment(
        model=LSTM(
            embedding_dim=128,
            units=(128,),
            bidirectional=True,
            pooling="mean_max",
            dropout=0.5,
            word_dropout=0.2,  # Drops whole words.
        ),
        task=Classification(),
        data=Dataset(
            source=Table("sst2/{split}.tsv", columns=("label", "sentence")),
            inputs=Text(
                columns=("sentence",), tokenizer=Words(size=15_000), lengths=(8, 16, 24, 32, 64)
            ),
            target=ClassLabel(),
            validation_split=None,  # Nothing is selected on the dev split.
            test_split="dev",
        ),
        optimizer=Adam(learning_rate=2e-3, schedule=Cosine(warmup="0.1 epochs")),
        train=TrainConfig(
            tokens_per_batch=2048, steps="3 epochs", ema_decay=0.998, clip_global_norm=1.0
        ),
    )
