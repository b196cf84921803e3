"""Splice junctions in DNA, read letter by letter: donor, acceptor or neither.

modelzoo train --config=splice_lstm --workdir=runs/splice_lstm

6 minutes on 2 cores of AMD EPYC; held-out accuracy 0.9401 (10 folds, 95 % interval of their mean
0.9277 to 0.9525).
"""

from modelzoo import Experiment, TrainConfig
from modelzoo.data.text_table import TextTable
from modelzoo.data.tokenizers import Characters
from modelzoo.models import LSTM
from modelzoo.optimizers import Adam
from modelzoo.schedules import Cosine
from modelzoo.tasks.text import TextClassification


def get_config() -> Experiment:
    """The experiment."""
    return Experiment(
        model=LSTM(
            embedding_dim=16,
            embedding_scale=1.7,
            units=(48,),
            bidirectional=True,
            pooling="attention",
            word_dropout=0.1,
        ),
        task=TextClassification(),
        # The file of the UCI repository has no header.
        data=TextTable(
            path="splice.data",
            columns=("class", "name", "sequence"),
            header=False,
            text_columns=("sequence",),
            target_columns=("class",),
            tokenizer=Characters(),
            lengths=(60,),
            test_split=None,
        ),
        optimizer=Adam(learning_rate=5e-3, schedule=Cosine(warmup="1 epoch")),
        train=TrainConfig(steps="20 epochs", batch_size=32, clip_global_norm=1.0),
    )
