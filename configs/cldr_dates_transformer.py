"""A Transformer translates dates between 14 languages; needs no network, trains in minutes.

modelzoo train --config=cldr_dates_transformer --workdir=runs/cldr_dates_transformer

3 minutes on 2 cores of AMD EPYC; test exact match 0.9995 (one seed).
"""

from modelzoo import EvalConfig, Experiment, TrainConfig
from modelzoo.data.cldr_dates import CldrDates
from modelzoo.models import Transformer
from modelzoo.optimizers import AdamW
from modelzoo.schedules import Cosine
from modelzoo.tasks.text_to_text import TextToText


def get_config() -> Experiment:
    """The experiment."""
    return Experiment(
        model=Transformer(
            encoder_layers=2,
            decoder_layers=2,
            dim=128,
            ffn_dim=256,
            heads=4,
            norm="pre",
            positions="rotary",
            activation="gelu",
            dropout=0.0,
        ),
        task=TextToText(metrics=("exact_match",)),
        data=CldrDates(tokens_per_batch=2048),
        optimizer=AdamW(learning_rate=2e-3, beta_2=0.98, schedule=Cosine(warmup=100)),
        train=TrainConfig(steps=2000, clip_global_norm=1.0),
        eval=EvalConfig(every=1000),
    )
