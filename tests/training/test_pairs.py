"""Runs on pairs of texts: unequal token counts per replica, and decoding in evaluation."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pairs
import pytest
from runs import change, differ, train, weights

import modelzoo
from modelzoo import EvalConfig, Experiment, TrainConfig, UserError
from modelzoo.data import Text, Words
from modelzoo.data.batches import TrainingBatches
from modelzoo.decoding.config import Decoding
from modelzoo.optimizers import SGD
from modelzoo.tasks import TextToText
from modelzoo.training import checkpoint, run_folder

METRICS = ("bleu", "chrf", "exact_match", "f1")


def experiment(dropout=0.0, metrics=METRICS, tokens_per_batch=128, **data):
    return Experiment(
        model=dataclasses.replace(pairs.TINY, dropout=dropout),
        task=TextToText(label_smoothing=0.1, decoding=Decoding(beams=2), metrics=metrics),
        data=pairs.phrases(**data),
        optimizer=SGD(0.3, momentum=0.9),
        train=TrainConfig(
            steps=6,
            tokens_per_batch=tokens_per_batch,
            precision="float64",
            log_every=3,
            checkpoint_every=3,
        ),
        eval=EvalConfig(every=6),
    )


def test_a_run_first_reports_truncated_texts_and_metrics_that_do_not_fit(tmp_path):
    short = change(
        experiment(lengths=(3,), metrics=("bleu",)),
        task={"bleu_tokenizer": "zh"},
        eval={"every": None},
    )
    _, out = train(short, tmp_path)
    assert "tok:zh" in out
    begin, _, _ = out.partition("step 3/6")
    for split in ("train", "test"):
        assert re.search(
            rf"^{split} split: [1-9]\d* of \d+ examples are truncated to 3 tokens", begin, re.M
        )
    assert "bleu_tokenizer=zh does, but the references are of another script: use 13a" in begin


def test_replicas_and_micro_batches_train_alike(tmp_path):
    results = {}
    for name, parts in {
        "one": {},
        "replicas": {"distribute": {"devices": "cpu:2"}},
        "micro": {"train": {"accumulate": 2}},
        "xla": {"train": {"xla": True, "deterministic": False}},
    }.items():
        short = change(experiment(lengths=(8,)), eval={"every": None})
        results[name], _ = train(change(short, **parts), tmp_path / name)
    for name in ("replicas", "micro", "xla"):
        for path, value in weights(tmp_path / "one").items():
            other = weights(tmp_path / name)[path]
            np.testing.assert_allclose(other, value, atol=1e-9, err_msg=path)
        one, other = (dict(results[k]["eval"]["test"]) for k in ("one", name))
        assert one.pop("signatures") == other.pop("signatures")
        assert set(one) > {"loss", "token_accuracy", *METRICS}
        for score in one:
            assert one[score] == pytest.approx(other[score], rel=1e-9), score


def test_replicas_have_unequal_token_counts():
    split = experiment(lengths=(8,)).data.open().split("train")
    taken, _ = TrainingBatches(split, 0, {0: 16}).take(0, 6)
    parts = [split.tokens[batch.rows].reshape(2, -1).sum(axis=1) for batch in taken]
    assert any(one != other for one, other in parts)


def test_a_resumed_run_ends_in_the_same_bits(tmp_path):
    dropping = experiment(dropout=0.3, metrics=())
    _, out = train(dropping, tmp_path)
    assert "32 x 4, 16 x 8 tokens, on 1 replica(s)" in out
    assert "  output " not in out
    whole = weights(tmp_path)
    shutil.rmtree(tmp_path / "checkpoints" / "00000006")
    _, out = train(dropping, tmp_path)
    assert "resumed at step 3" in out
    assert not differ(whole, weights(tmp_path))
    records = [r for r in run_folder.read_records(tmp_path) if r["kind"] == "train"]
    assert {"loss", "token_accuracy", "tokens_per_sec"} <= set(records[-1])
    with pytest.raises(UserError, match="was trained with another config"):
        train(
            change(
                dropping,
                data={"inputs": dataclasses.replace(dropping.data.inputs, tokenizer=Words(size=6))},
            ),
            tmp_path,
        )


def test_folds_pool_the_texts_of_vocabularies_of_their_own(tmp_path):
    plain = change(
        experiment(number=30, lengths=(8,), validation_split=None, tokens_per_batch=None),
        train={"steps": 4, "batch_size": 8, "log_every": 4, "checkpoint_every": 4},
    )
    result, _ = train(plain, tmp_path, folds=2)
    pooled, folds = result["pooled"], [fold["metrics"] for fold in result["folds"]]
    assert pooled["f1"] == pytest.approx(np.mean([fold["f1"] for fold in folds]))
    assert pooled["signatures"] == folds[0]["signatures"]
    json.dumps(result, allow_nan=False)


def test_a_wrong_best_metric_is_refused_before_training(tmp_path):
    wrong = {"eval": {"every": 3, "best_metric": "rouge1"}}
    with pytest.raises(UserError, match="best_metric must be one of loss, .*chrf.*got 'rouge1'"):
        train(change(experiment(lengths=(8,)), **wrong), tmp_path)


@pytest.mark.field("VocabularyField.vocabulary", "TokenizerConfig.pad", "TokenizerConfig.end")
def test_a_run_with_a_vocabulary_whose_padding_has_another_id(tmp_path):
    """The order of a vocabulary changes rows of the embeddings, and nothing else."""
    special = {"pad": "[PAD]", "unknown": "[UNK]", "start": "[CLS]", "end": "[SEP]"}
    words = (*pairs.WORDS, *pairs.LETTERS.values())
    orders = {
        "first": (*special.values(), *words),
        "last": (*reversed(words), "[SEP]", "[UNK]", "[PAD]", "[CLS]"),
    }
    runs, size = {}, len(words) + len(special)
    for name, tokens in orders.items():
        path = tmp_path / f"{name}.txt"
        path.write_text("\n".join(tokens) + "\n", encoding="utf-8")
        text = Text(
            columns=("source",), tokenizer=Words(**special), vocabulary=str(path), lengths=(4, 8)
        )
        data = dataclasses.replace(pairs.phrases(), inputs=text)
        plain = experiment(metrics=("exact_match",))
        task = {"decoding": Decoding(beams=2, min_length=2)}
        runs[name] = change(plain, data=data, task=task, eval={"every": None})
    # From the same weights, but for the order of the rows.
    first = change(runs["first"], train={"steps": 1, "checkpoint_every": 1})
    train(change(first, optimizer={"learning_rate": 1e-12}), tmp_path / "start")
    arrays = weights(tmp_path / "start")
    order = [orders["first"].index(token) for token in orders["last"]]
    meta = checkpoint.Meta(step=1, examples=1)
    results = {}
    for name, own in runs.items():
        rows = order if name == "last" else range(size)
        start = {
            path: value[rows] if value.shape[:1] == (size,) else value
            for path, value in arrays.items()
        }
        checkpoint.write(tmp_path / f"{name}-start", start, meta)
        init = {"init_from": str(checkpoint.find(tmp_path / f"{name}-start"))}
        results[name], _ = train(change(own, train=init), tmp_path / name)
    for path, value in weights(tmp_path / "first").items():
        other = weights(tmp_path / "last")[path]
        same = value[order] if value.shape[:1] == (size,) else value
        np.testing.assert_allclose(other, same, atol=1e-9, err_msg=path)
    one, other = (results[name]["eval"]["test"] for name in ("first", "last"))
    assert one == pytest.approx(other, rel=1e-9)
    served = [modelzoo.load(tmp_path / name) for name in runs]
    texts = [[p.text for p in one.predict_texts(["ant bee", "", "hen fox dog"])] for one in served]
    assert texts[0] == texts[1]
    # No special token is part of a text.
    assert all(len(text.split()) >= 2 for text in texts[1])
    assert set(" ".join(texts[1]).split()) <= {*words, "\u2047"}
