"""Runs on texts: batches of several lengths, with unequal token counts per replica."""

import dataclasses
import shutil

import numpy as np
import pytest
from runs import change, differ, steps_of, train, weights
from texts import Bag, sentences

from modelzoo import EvalConfig, Experiment, TrainConfig, UserError
from modelzoo.data import Words
from modelzoo.data.batches import TrainingBatches
from modelzoo.models import LSTM
from modelzoo.optimizers import SGD
from modelzoo.tasks import Classification, TokenClassification
from modelzoo.training import checkpoint, run_folder

MODELS = {
    "class": LSTM(embedding_dim=5, units=(4,), bidirectional=True, pooling="mean_max"),
    "labels": LSTM(embedding_dim=5, units=(4, 3), cell="gru"),
}
DROPPING = LSTM(embedding_dim=5, units=(4,), dropout=0.3, recurrent_dropout=0.2, word_dropout=0.1)
TASKS = {"class": Classification(), "labels": TokenClassification()}


def experiment(kind="class", model=None, tokens_per_batch=128, **data):
    return Experiment(
        model=model or MODELS[kind],
        task=TASKS[kind],
        data=sentences(kind, **{"lengths": (4, 8, 16), **data}),
        optimizer=SGD(0.5, momentum=0.9),
        train=TrainConfig(
            steps=12,
            tokens_per_batch=tokens_per_batch,
            precision="float64",
            log_every=6,
            checkpoint_every=6,
        ),
        eval=EvalConfig(every=6),
    )


@pytest.mark.parametrize("kind", TASKS)
def test_replicas_and_micro_batches_train_alike(kind, tmp_path):
    results = {}
    for name, parts in {
        "one": {},
        "replicas": {"distribute": {"devices": "cpu:2"}},
        "micro": {"train": {"accumulate": 2}},
        "xla": {"train": {"xla": True, "deterministic": False}},
    }.items():
        parts["train"] = {"steps": 8, **parts.get("train", {})}
        short = experiment(kind, lengths=(6, 16))
        results[name], _ = train(change(short, **parts), tmp_path / name)
    for name in ("replicas", "micro", "xla"):
        for path, value in weights(tmp_path / "one").items():
            other = weights(tmp_path / name)[path]
            np.testing.assert_allclose(other, value, atol=1e-9, err_msg=path)
        for split in ("validation", "test"):
            one, other = (results[k]["eval"][split] for k in ("one", name))
            assert one["confusion"] == other["confusion"]
            assert one["loss"] == pytest.approx(other["loss"], rel=1e-9)


@pytest.mark.field("TrainConfig.tokens_per_batch", "Text.lengths")
def test_a_resumed_run_ends_in_the_same_bits(tmp_path):
    dropping = experiment(model=DROPPING, number=100)
    _, out = train(dropping, tmp_path)
    assert "32 x 4, 16 x 8, 8 x 16 tokens, on 1 replica(s)" in out
    whole = weights(tmp_path)
    shutil.rmtree(tmp_path / "checkpoints" / "00000012")
    _, out = train(dropping, tmp_path)
    assert "resumed at step 6" in out
    assert not differ(whole, weights(tmp_path))
    # What a batch holds depends on its length: positions are counted in examples.
    split = dropping.data.open().split("train")
    batches = TrainingBatches(split, 0, {0: 32, 1: 16, 2: 8})
    taken, position = batches.take(0, 12)
    assert len({len(batch.rows) for batch in taken}) > 1
    assert checkpoint.read_meta(checkpoint.find(tmp_path)).examples == position
    records = [r for r in run_folder.read_records(tmp_path) if r["kind"] == "train"]
    assert [r["step"] for r in records] == [6, 12]
    assert records[-1]["epoch"] == pytest.approx(position / 100)
    assert records[-1]["tokens_per_sec"] > records[-1]["examples_per_sec"]


def test_without_a_budget_a_batch_of_any_length_has_as_many_texts(tmp_path):
    free = experiment(model=Bag(), tokens_per_batch=None)
    plain = change(free, train={"batch_size": 4, "steps": "2 epochs"})
    _, out = train(plain, tmp_path / "plain")
    assert "4 x 4, 4 x 8, 4 x 16 tokens" in out
    assert steps_of(tmp_path / "plain", "train")[-1] == 20
    default = change(free, train={"steps": 1})
    _, out = train(default, tmp_path / "default")
    # Fewer texts than a batch are mixed.
    assert "128 x 16 tokens" in out


@pytest.mark.parametrize(
    "parts, message",
    [
        (
            {"train": {"steps_per_loop": 2}},
            "config.train.steps_per_loop must be 1 with batches of several lengths, got 2",
        ),
        ({"train": {"accumulate": 3}}, "tokens_per_batch must be at least 384, 24 examples of 16 "),
    ],
)
def test_batches_that_cannot_be(parts, message, tmp_path):
    with pytest.raises(UserError, match=message):
        train(change(experiment(model=Bag()), **parts), tmp_path)


def test_a_budget_of_tokens_and_a_number_of_examples_exclude_each_other():
    with pytest.raises(ValueError, match="^batch_size must be none with tokens_per_batch, got 8"):
        TrainConfig(batch_size=8, tokens_per_batch=128)


def test_one_length_runs_in_loops(tmp_path):
    one = experiment(model=Bag(), lengths=(16,))
    train(one, tmp_path / "a")
    train(change(one, train={"steps_per_loop": 4}), tmp_path / "b")
    assert not differ(weights(tmp_path / "a"), weights(tmp_path / "b"))


def test_another_vocabulary_is_other_data(tmp_path):
    train(change(experiment(model=Bag()), train={"steps": 6}), tmp_path)
    inputs = dataclasses.replace(experiment().data.inputs, tokenizer=Words(size=6))
    smaller = change(experiment(model=Bag()), data={"inputs": inputs})
    with pytest.raises(UserError, match="was trained with another config"):
        train(smaller, tmp_path)
