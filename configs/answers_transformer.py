"""Transformer that answers questions about a text, trained on your own JSON lines.

modelzoo train --config=answers_transformer --workdir=runs/answers_transformer

The data is that of SQuAD, one question per line: `question`, `context`, a list `answers` and
`title`. Training uses the first answer; in evaluation, any answer counts as correct. All questions
with the same title are in the same split.
"""

from modelzoo import EvalConfig, Experiment, TrainConfig
from modelzoo.data import Dataset, Subwords, Table, Text, TextTarget
from modelzoo.models import Transformer
from modelzoo.optimizers import Adam
from modelzoo.schedules import InverseSqrt
from modelzoo.tasks import TextToText


def get_config() -> Experiment:
    """Returns the experiment."""
    return Experiment(
        # Pre-norm needs less warmup than post-norm (Xiong et al., 2020).
        model=Transformer.small(norm="pre", dropout=0.2),
        task=TextToText(label_smoothing=0.1, metrics=("exact_match", "f1")),
        data=Dataset(
            source=Table("questions.jsonl", group="title"),
            inputs=Text(
                columns=("question", "context"),
                tokenizer=Subwords(size=16_000),
                # Lengths that batches are padded to; longer texts are truncated.
                lengths=(128, 256, 384),
            ),
            target=TextTarget(columns=("answers",), lengths=(16, 16, 32)),
            train_split="train[:90%]",
            validation_split="train[90%:95%]",
            test_split="train[95%:]",
        ),
        optimizer=Adam(
            learning_rate=1e-3,
            beta_2=0.98,
            schedule=InverseSqrt(warmup="1 epoch", timescale="1 epoch"),
        ),
        train=TrainConfig(tokens_per_batch=8192, steps="20 epochs", clip_global_norm=1.0),
        eval=EvalConfig(best_metric="f1"),
    )
