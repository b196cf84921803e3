"""Transformer that translates dates between 14 languages; it needs no download.

modelzoo train --config=cldr_dates_transformer --workdir=runs/cldr_dates_transformer

3 minutes on 2 cores of AMD EPYC; test exact match 0.9995 (one seed).
"""

from modelzoo import EvalConfig, Experiment, TrainConfig
from modelzoo.data import cldr_dates
from modelzoo.models import Transformer
from modelzoo.optimizers import AdamW
from modelzoo.schedules import Cosine
from modelzoo.tasks import TextToText


def get_config() -> Experiment:
    """Returns the experiment."""
    return Experiment(
        model=Transformer(
            num_encoder_layers=2,
            num_decoder_layers=2,
            hidden_dim=128,
            intermediate_dim=256,
            num_heads=4,
            norm="pre",
            positions="rotary",
            activation="gelu",
            dropout=0.0,
        ),
        task=TextToText(metrics=("exact_match",)),
        data=cldr_dates(),
        optimizer=AdamW(learning_rate=2e-3, beta_2=0.98, schedule=Cosine(warmup=100)),
        train=TrainConfig(tokens_per_batch=2048, steps=2000, clip_global_norm=1.0),
        eval=EvalConfig(every=1000),
    )
