"""One class for each token: what counts, what is served and what is said of it."""

import numpy as np
import pytest
import sklearn.metrics as sk
import tensorflow as tf
from modelzoo.tasks.text import SequenceLabelling
from texts import Bag, spec_of

from modelzoo.fields.errors import UserError

NAMES = ("noun", "verb", "other")
SPEC = spec_of("labels", names=NAMES)
LABELS = np.array([[0, 1, 2, -1], [2, -1, 1, 1], [-1, -1, -1, -1]])
WEIGHTS = np.array([1.0, 2.0, 3.0], np.float32)


def batch_of():
    logits = np.random.default_rng(0).normal(size=(3, 4, 3)).astype(np.float32)
    return (
        {"logits": tf.constant(logits)},
        {"label": tf.constant(LABELS, tf.int64), "weight": tf.constant(WEIGHTS)},
    )


def flat():
    """Logits, labels and weights of the tokens that have a label."""
    there = LABELS >= 0
    weights = np.broadcast_to(WEIGHTS[:, None], LABELS.shape)
    return batch_of()[0]["logits"].numpy()[there], LABELS[there], weights[there]


def test_loss_and_weight_are_sums_over_labelled_tokens():
    outputs, batch = batch_of()
    logits, labels, weights = flat()
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    own = -logs[np.arange(len(labels)), labels]
    loss = SequenceLabelling().bind(SPEC).loss(outputs, batch)
    np.testing.assert_allclose(loss, [(own * weights).sum(), weights.sum()], rtol=1e-5)
    config = SequenceLabelling(label_smoothing=0.3, class_weights=(1.0, 2.0, 4.0))
    factors = weights * np.array(config.class_weights)[labels]
    each = 0.7 * own - 0.3 * logs.mean(axis=1)
    loss = config.bind(SPEC).loss(outputs, batch)
    np.testing.assert_allclose(loss, [(each * factors).sum(), factors.sum()], rtol=1e-5)


def test_scores_are_those_of_tokens():
    outputs, batch = batch_of()
    task = SequenceLabelling().bind(SPEC)
    assert task.collected(outputs, batch) == {}
    got = task.scores({name: value.numpy() for name, value in task.sums(outputs, batch).items()})
    logits, labels, weights = flat()
    best = logits.argmax(axis=1)
    assert got["accuracy"] == pytest.approx(sk.accuracy_score(labels, best, sample_weight=weights))
    for average in ("macro", "micro"):
        expected = sk.f1_score(labels, best, average=average, sample_weight=weights)
        assert got[f"{average}_f1"] == pytest.approx(expected)
    assert "roc_auc" not in got


def test_evaluation_lowers_to_xla():
    outputs, batch = batch_of()
    task = SequenceLabelling().bind(SPEC)
    compiled = tf.function(task.sums, jit_compile=True, autograph=False)(outputs, batch)
    for name, value in task.sums(outputs, batch).items():
        np.testing.assert_allclose(compiled[name], value, rtol=1e-5, err_msg=name)


def test_a_model_has_outputs_for_each_token_and_serves_those_of_the_texts():
    task = SequenceLabelling().bind(SPEC)
    model = task.build_model(Bag())
    assert model.output_shape == (None, None, 3)
    texts = tf.constant(["ant bee dog", "", "bee"])
    served = {k: v.numpy() for k, v in task.signatures(model)["serving_default"](texts).items()}
    tokens = task.features({"text": texts}, training=False)["tokens"]
    real = tokens.numpy() != 0
    np.testing.assert_array_equal(served["classes"] != b"", real)
    logits = model(tokens).numpy()
    expected = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(served["scores"], expected * real[..., None], atol=1e-6)
    names = np.array(NAMES)[logits.argmax(axis=-1)]
    first = {"classes": served["classes"][0].astype(str), "scores": served["scores"][0]}
    answer = task.answer(first)
    assert answer["classes"] == names[0].tolist()
    np.testing.assert_allclose(answer["probabilities"], expected[0].max(axis=-1), rtol=1e-5)
    empty = {"classes": served["classes"][1].astype(str), "scores": served["scores"][1]}
    assert task.answer(empty) == {"classes": [], "probabilities": []}
    with pytest.raises(UserError, match="--top"):
        task.answer(first, top=1)


def test_what_is_served_counts_as_what_was_evaluated():
    task = SequenceLabelling().bind(SPEC)
    model = task.build_model(Bag())
    texts = tf.constant(["ant bee dog", "bee"])
    labels = tf.constant([[0, 2, -1, -1, -1, -1, -1, -1], [1, -1, -1, -1, -1, -1, -1, -1]])
    batch = {"label": labels, "weight": tf.ones(2)}
    # Of the eight tokens that the split is padded to, three are served.
    tokens = tf.pad(task.features({"text": texts}, training=False)["tokens"], [[0, 0], [0, 5]])
    served = task.signatures(model)["serving_default"](texts)
    again = task.outputs_of({name: value.numpy() for name, value in served.items()})
    expected = task.sums(task.outputs(model, {"tokens": tokens}), batch)
    for name, value in task.sums(again, batch).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, err_msg=name)


def test_labels_are_named_and_aligned():
    task = SequenceLabelling().bind(SPEC)
    assert task.truth(np.array([1, -1, 0, -1, -1])) == ["verb", None, "noun"]
    assert task.truth(np.array([-1])) == []
    aligned = task.align(spec_of("labels", names=("other", "noun")))
    raw = aligned({"label": tf.constant([[0, 1, -1], [-1, -1, 1]], tf.int64)})
    assert raw["label"].numpy().tolist() == [[2, 0, -1], [-1, -1, 0]]
