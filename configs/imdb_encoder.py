"""Sentiment of film reviews, IMDB, by a small Transformer encoder over words.

modelzoo train --config=imdb_encoder --workdir=runs/imdb_encoder

4 minutes on 2 cores of AMD EPYC; test accuracy 0.8757 (one seed).
"""

from modelzoo import Experiment, TrainConfig
from modelzoo.data.text_folder import TextFolder
from modelzoo.data.tokenizers import Words
from modelzoo.models import Encoder
from modelzoo.optimizers import Adam
from modelzoo.schedules import Cosine
from modelzoo.tasks.text import TextClassification


def get_config() -> Experiment:
    """The experiment."""
    return Experiment(
        model=Encoder(
            layers=2, dim=64, ffn_dim=256, heads=2, norm="pre", pooling="mean_max", dropout=0.3
        ),
        task=TextClassification(),
        # What stands between the two ends of a long review says less.
        data=TextFolder(
            data_dir="aclImdb",
            classes=("neg", "pos"),
            tokenizer=Words(size=20_000),
            lengths=(64, 96, 128, 160, 192, 256, 320),
            keep="ends",
            tokens_per_batch=8192,
        ),
        optimizer=Adam(learning_rate=1e-3, schedule=Cosine(warmup="0.2 epochs")),
        train=TrainConfig(
            steps="4 epochs", precision="bfloat16", ema_decay=0.998, clip_global_norm=1.0
        ),
    )
