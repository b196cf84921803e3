"""A Transformer that answers questions on a text, from JSON lines of yours as of SQuAD.

modelzoo train --config=answers_transformer --workdir=runs/answers_transformer

Each line has `question`, `context`, a list `answers`, of which the first is trained on and any
counts as right, and `title`, the same for all questions that must stay on one side of a split.
"""

from modelzoo import EvalConfig, Experiment, TrainConfig
from modelzoo.data import Dataset, Subwords, Table, Text, TextTarget
from modelzoo.models import Transformer
from modelzoo.optimizers import Adam
from modelzoo.schedules import InverseSqrt
from modelzoo.tasks import TextToText


def get_config() -> Experiment:
    """The experiment."""
    return Experiment(
        model=Transformer.small(norm="pre", dropout=0.2),
        task=TextToText(label_smoothing=0.1, metrics=("exact_match", "f1")),
        data=Dataset(
            source=Table("questions.jsonl", group="title"),
            inputs=Text(
                columns=("question", "context"),
                tokenizer=Subwords(size=16_000),
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
