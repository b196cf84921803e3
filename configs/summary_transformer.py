"""Transformer that summarizes texts, trained on JSON lines with `document` and `summary`.

modelzoo train --config=summary_transformer --workdir=runs/summary_transformer
"""

from modelzoo import EvalConfig, Experiment, TrainConfig
from modelzoo.data import Dataset, Subwords, Table, Text, TextTarget
from modelzoo.decoding import Decoding
from modelzoo.models import Transformer
from modelzoo.optimizers import Adam
from modelzoo.schedules import InverseSqrt
from modelzoo.tasks import TextToText


def get_config() -> Experiment:
    """Returns the experiment."""
    return Experiment(
        # Pre-norm needs less warmup than post-norm (Xiong et al., 2020).
        model=Transformer.small(norm="pre", dropout=0.2),
        task=TextToText(
            label_smoothing=0.1,
            decoding=Decoding(beams=4, length_penalty=1.0),
            metrics=("rouge", "chrf"),
        ),
        data=Dataset(
            source=Table("summaries.jsonl"),
            inputs=Text(
                columns=("document",),
                tokenizer=Subwords(size=16_000),
                lengths=(128, 256, 512),
            ),
            target=TextTarget(columns=("summary",), lengths=(32, 64, 128)),
            train_split="train[:90%]",
            validation_split="train[90%:95%]",
            test_split="train[95%:]",
            on_bad="skip",  # Skips bad lines instead of stopping.
        ),
        optimizer=Adam(
            learning_rate=1e-3,
            beta_2=0.98,
            schedule=InverseSqrt(warmup="1 epoch", timescale="1 epoch"),
        ),
        train=TrainConfig(tokens_per_batch=8192, steps="20 epochs", clip_global_norm=1.0),
        eval=EvalConfig(best_metric="rougeL"),
    )
