"""Small Transformer encoder over words that classifies the sentiment of IMDB film reviews.

modelzoo train --config=imdb_encoder --workdir=runs/imdb_encoder

4 minutes on 2 cores of AMD EPYC; test accuracy 0.8757 (one seed).
"""

from modelzoo import Experiment, TrainConfig
from modelzoo.data import ClassFolders, ClassLabel, Dataset, Text, Words
from modelzoo.models import Encoder
from modelzoo.optimizers import Adam
from modelzoo.schedules import Cosine
from modelzoo.tasks import Classification


def get_config() -> Experiment:
    """Returns the experiment."""
    return Experiment(
        model=Encoder(
            num_layers=2,
            hidden_dim=64,
            intermediate_dim=256,
            num_heads=2,
            norm="pre",
            pooling="mean_max",
            dropout=0.3,
        ),
        task=Classification(),
        data=Dataset(
            source=ClassFolders("aclImdb", classes=("neg", "pos")),
            # A truncated review keeps its start and its end, which say more than its middle.
            inputs=Text(
                tokenizer=Words(size=20_000),
                lengths=(64, 96, 128, 160, 192, 256, 320),
                keep="ends",
            ),
            target=ClassLabel(),
        ),
        optimizer=Adam(learning_rate=1e-3, schedule=Cosine(warmup="0.2 epochs")),
        train=TrainConfig(
            tokens_per_batch=8192,
            steps="4 epochs",
            precision="bfloat16",
            ema_decay=0.998,  # Evaluates the moving average of the weights.
            clip_global_norm=1.0,
        ),
    )
