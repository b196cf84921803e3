"""A bidirectional LSTM tells the language of a name; needs no network, trains in a few minutes.

modelzoo train --config=cldr_language_lstm --workdir=runs/cldr_language_lstm

4 minutes on 2 cores of AMD EPYC; test accuracy 0.8489 (one seed).
"""

from modelzoo.config import Experiment
from modelzoo.data.cldr_names import CldrNames
from modelzoo.models import LSTM
from modelzoo.optimizers.optimizer import AdamW
from modelzoo.schedules.schedule import Cosine
from modelzoo.tasks.text import TextClassification
from modelzoo.training.settings import Evaluation, Train


def get_config() -> Experiment:
    """The experiment."""
    return Experiment(
        model=LSTM(
            embedding_dim=64,
            embedding_init_range=1.7,
            units=(256,),
            bidirectional=True,
            pooling="max",
            dropout=0.3,
        ),
        task=TextClassification(label_smoothing=0.1),
        data=CldrNames(),
        optimizer=AdamW(learning_rate=3e-3, schedule=Cosine(warmup="2 epochs"), weight_decay=0.05),
        train=Train(steps="15 epochs", batch_size=64, ema_decay=0.998, clip_global_norm=1.0),
        eval=Evaluation(every="5 epochs"),
    )
