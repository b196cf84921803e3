"""What a run says, and what it refuses, before it trains."""

import io

import pytest
import tensorflow as tf
from texts import Bag

from modelzoo import EvalConfig, Experiment, TrainConfig
from modelzoo.data import ClassLabel, Dataset, Table, Text, Words
from modelzoo.fields.errors import UserError
from modelzoo.optimizers import SGD
from modelzoo.tasks import Classification
from modelzoo.training.progress import Progress
from modelzoo.training.trainer import Trainer


def start(folder, lines, train="train[:50%]", validation="train[50%:]", **fields):
    """What is printed when the data of a run is opened."""
    (folder / "texts.csv").write_text("\n".join(["text,label", *lines]))
    experiment = Experiment(
        model=Bag(),
        task=Classification(),
        data=Dataset(
            source=Table(str(folder / "texts.csv")),
            inputs=Text(tokenizer=Words(), lengths=(4,)),
            target=ClassLabel(),
            train_split=train,
            validation_split=validation,
            on_bad="skip",
        ),
        optimizer=SGD(0.1),
        train=TrainConfig(steps=1, batch_size=2),
        eval=EvalConfig(**fields),
    )
    stream = io.StringIO()
    trainer = Trainer(experiment, folder / "run", tf.distribute.get_strategy(), Progress(stream))
    trainer.open_data()
    return stream.getvalue().splitlines(), trainer


GOOD = [f"good film {k},{'pos' if k % 2 else 'neg'}" for k in range(40)]


def test_what_all_splits_skip_is_said_once(tmp_path):
    lines = ["no label at all", *GOOD, "a,b,c,d", ",pos"]
    said, trainer = start(tmp_path, lines)
    skipped = [line for line in said if "skipped" in line]
    assert len(skipped) == 1 and skipped[0].startswith(
        "skipped 3 bad example(s) of the train split"
    )
    assert {len(split.skipped) for split in trainer.splits.values()} == {3}


def test_remarks_on_labels_are_said(tmp_path):
    said, _ = start(tmp_path, [*GOOD, "odd film,Pos"], "train", "train[:5]")
    assert "classes that differ by case, space or notation only: 'Pos', 'pos'" in said


@pytest.mark.parametrize("metric", ["roc_auc", "loss", "nothing"])
def test_a_single_label_is_refused_whatever_metric_is_asked_for(metric, tmp_path):
    lines = [f"good film {k},pos" for k in range(20)]
    with pytest.raises(UserError, match="all labels of the training split are 'pos'"):
        start(tmp_path, lines, best_metric=metric)
