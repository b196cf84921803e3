"""Token classification: which tokens count, what is served and how it reads."""

import numpy as np
import pytest
import sklearn.metrics as sk
import tensorflow as tf
from linear import softmax
from texts import Bag, text_data

from modelzoo.fields.errors import UserError
from modelzoo.tasks import TokenClassification

NAMES = ("noun", "verb", "other")
DATA = text_data("labels", NAMES)
LABELS = np.array([[0, 1, 2, -1], [2, -1, 1, 1], [-1, -1, -1, -1]])
WEIGHTS = np.array([1.0, 2.0, 3.0], np.float32)


def batch_of():
    logits = np.random.default_rng(0).normal(size=(3, 4, 3)).astype(np.float32)
    batch = {
        "label": tf.constant(LABELS, tf.int64),
        "label_mask": tf.constant(LABELS >= 0),
        "weight": tf.constant(WEIGHTS),
    }
    return {"logits": tf.constant(logits)}, batch


def flat():
    """Logits, labels and weights of the tokens that have a label."""
    mask = LABELS >= 0
    weights = np.broadcast_to(WEIGHTS[:, None], LABELS.shape)
    return batch_of()[0]["logits"].numpy()[mask], LABELS[mask], weights[mask]


def test_loss_and_weight_are_sums_over_labelled_tokens():
    outputs, batch = batch_of()
    logits, labels, weights = flat()
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    own = -logs[np.arange(len(labels)), labels]
    loss = TokenClassification().bind(DATA).objective.loss(outputs, batch)
    np.testing.assert_allclose(loss, [(own * weights).sum(), weights.sum()], rtol=1e-5)
    config = TokenClassification(label_smoothing=0.3, class_weights=(1.0, 2.0, 4.0))
    factors = weights * np.array(config.class_weights)[labels]
    each = 0.7 * own - 0.3 * logs.mean(axis=1)
    loss = config.bind(DATA).objective.loss(outputs, batch)
    np.testing.assert_allclose(loss, [(each * factors).sum(), factors.sum()], rtol=1e-5)


def test_metrics_are_those_of_tokens():
    outputs, batch = batch_of()
    objective = TokenClassification().bind(DATA).objective
    assert objective.per_example(outputs, batch) == {}
    sums = objective.metric_sums(outputs, batch)
    got = objective.metrics({name: value.numpy() for name, value in sums.items()})
    logits, labels, weights = flat()
    best = logits.argmax(axis=1)
    assert got["accuracy"] == pytest.approx(sk.accuracy_score(labels, best, sample_weight=weights))
    for average in ("macro", "micro"):
        expected = sk.f1_score(labels, best, average=average, sample_weight=weights)
        assert got[f"{average}_f1"] == pytest.approx(expected)
    assert "roc_auc" not in got


def test_evaluation_lowers_to_xla():
    outputs, batch = batch_of()
    metric_sums = TokenClassification().bind(DATA).objective.metric_sums
    compiled = tf.function(metric_sums, jit_compile=True, autograph=False)(outputs, batch)
    for name, value in metric_sums(outputs, batch).items():
        np.testing.assert_allclose(compiled[name], value, rtol=1e-5, err_msg=name)


def test_a_model_has_outputs_for_each_token_and_serves_those_of_the_texts():
    task = TokenClassification().bind(DATA)
    model = task.build_model(Bag())
    assert model.output_shape == (None, None, 3)
    texts = tf.constant(["ant bee dog", "", "bee"])
    served = {k: v.numpy() for k, v in task.signatures(model)["serving_default"](texts).items()}
    batch = DATA.features({"text": texts}, training=False)
    mask = np.arange(3) < np.array([[3], [0], [1]])
    np.testing.assert_array_equal(served["classes"] != b"", mask)
    logits = model(batch).numpy()
    expected = softmax(logits)
    np.testing.assert_allclose(served["scores"], expected * mask[..., None], atol=1e-6)
    names = np.array(NAMES)[logits.argmax(axis=-1)]
    rows = [
        {"classes": served["classes"][k].astype(str), "scores": served["scores"][k]}
        for k in range(3)
    ]
    answer = task.serving.to_json(rows[0])
    assert answer["classes"] == names[0].tolist()
    np.testing.assert_allclose(answer["probabilities"], expected[0].max(axis=-1), rtol=1e-5)
    assert task.serving.to_json(rows[1]) == {"classes": [], "probabilities": []}
    with pytest.raises(UserError, match="--top"):
        task.serving.to_json(rows[0], top=1)


def test_what_is_served_has_the_metrics_of_what_is_evaluated():
    task = TokenClassification().bind(DATA)
    model = task.build_model(Bag())
    texts = tf.constant(["ant bee dog", "bee"])
    labels = np.array([[0, 2] + [-1] * 6, [1] + [-1] * 7])
    batch = {
        "label": tf.constant(labels),
        "label_mask": tf.constant(labels >= 0),
        "weight": tf.ones(2),
    }
    # Of the eight tokens that the split is padded to, three are served.
    read = DATA.features({"text": texts}, training=False)
    read = {name: tf.pad(value, [[0, 0], [0, 5]]) for name, value in read.items()}
    served = task.signatures(model)["serving_default"](texts)
    again = task.serving.from_serving(served)
    expected = task.objective.metric_sums(task.objective.outputs(model, read), batch)
    for name, value in task.objective.metric_sums(again, batch).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, err_msg=name)
