"""Loss and scores against hand values, NumPy and scikit-learn."""

import numpy as np
import pytest
import sklearn.metrics
import tensorflow as tf

from modelzoo.fields.errors import UserError
from modelzoo.tasks import classification


def _log_softmax(logits):
    logits = logits.astype(np.float64)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def _example(n=40, classes=7, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, classes)).astype(np.float32)
    labels = rng.integers(classes, size=n)
    weights = rng.uniform(0.1, 3.0, size=n).astype(np.float32)
    return logits, labels, weights


def _sums(logits, labels, weights):
    summed = classification.sums(tf.constant(logits), tf.constant(labels), tf.constant(weights))
    return {key: value.numpy() for key, value in summed.items()}


def test_loss_of_a_hand_example():
    # Probabilities 1/4 and 3/4: the label's are 1/4 (weight 1) and 3/4 (weight 2).
    logits = tf.math.log(tf.constant([[0.25, 0.75], [0.25, 0.75]]))
    total, weight = classification.loss(logits, tf.constant([0, 1]), tf.constant([1.0, 2.0]))
    assert total.numpy() == pytest.approx(np.log(4) + 2 * np.log(4 / 3), rel=1e-6)
    assert weight.numpy() == 3.0


@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float32, tf.float64])
def test_loss_equals_one_hot_cross_entropy_with_smoothing_and_class_weights(dtype):
    logits, labels, weights = _example()
    logits = tf.cast(logits, dtype)
    class_weights = (0.0, 0.5, 1.0, 2.0, 1.0, 3.0, 0.25)
    total, weight = classification.loss(
        logits, tf.constant(labels), tf.constant(weights), 0.1, class_weights
    )
    targets = 0.9 * np.eye(7)[labels] + 0.1 / 7
    each = -(targets * _log_softmax(tf.cast(logits, tf.float64).numpy())).sum(axis=-1)
    factors = weights.astype(np.float64) * np.array(class_weights)[labels]
    expected = tf.float64 if dtype == tf.float64 else tf.float32
    assert total.dtype == weight.dtype == expected
    tolerance = 1e-12 if dtype == tf.float64 else 1e-5
    np.testing.assert_allclose(total.numpy(), (each * factors).sum(), rtol=tolerance)
    np.testing.assert_allclose(weight.numpy(), factors.sum(), rtol=tolerance)


def test_a_mixed_example_weighs_by_the_shares_of_its_labels():
    # Its weight 2 is divided 3 to 1 between a first label of probability 1/4 and a second of 3/4.
    batch = {
        "label": tf.constant([0, 1]),
        "label_2": tf.constant([1, 1]),
        "weight": tf.constant([2.0, 1.0]),
        "mix": tf.constant([0.75, 0.0]),
    }
    logits = tf.math.log(tf.constant([[0.25, 0.75], [0.5, 0.5]]))
    parts = classification.label_parts(batch)
    losses = [classification.loss(logits, *part, class_weights=(4.0, 1.0)) for part in parts]
    total = sum(loss for loss, _ in losses)
    expected = 1.5 * 4 * np.log(4) + 0.5 * np.log(4 / 3) + 1 * np.log(2)
    assert total.numpy() == pytest.approx(expected, rel=1e-6)
    assert sum(weight for _, weight in losses).numpy() == pytest.approx(6 + 0.5 + 1)
    plain = {"label": batch["label"], "weight": batch["weight"]}
    assert classification.label_parts(plain) == [(batch["label"], batch["weight"])]


def test_sums_and_loss_add_up_over_any_split_and_ignore_padding():
    logits, labels, weights = _example()
    whole = _sums(logits, labels, weights)
    padded = [np.concatenate([a, a[:3]]) for a in (logits, labels, weights)]
    padded[2][-3:] = 0.0
    parts = [_sums(*(a[rows] for a in padded)) for rows in (slice(0, 11), slice(11, None))]
    for key, value in whole.items():
        np.testing.assert_allclose(parts[0][key] + parts[1][key], value, rtol=1e-6, atol=1e-6)


def test_training_sums_are_the_cheap_ones():
    logits, labels, weights = (tf.constant(a) for a in _example())
    summed = classification.sums(logits, labels, weights, training=True)
    full = classification.sums(logits, labels, weights)
    assert set(summed) == {"correct", "weight"}
    assert all(summed[key].numpy() == full[key].numpy() for key in summed)


@pytest.mark.parametrize("weighted", [False, True])
def test_scores_equal_scikit_learn(weighted):
    logits, labels, weights = _example(n=60)
    if not weighted:
        weights = np.ones_like(weights)
    # Class 6 is never predicted, class 5 never occurs as a label, class 4 is neither.
    logits[:, 6] -= 6
    logits[:, 4] -= 6
    labels[np.isin(labels, (4, 5))] = 6
    weights[-4:] = 0.0
    names = tuple("abcdefg")
    result = classification.scores(_sums(logits, labels, weights), names)
    predictions = logits.argmax(axis=-1)
    keyword = {"sample_weight": weights}
    probabilities = np.exp(_log_softmax(logits))
    every = np.arange(7)
    assert result["accuracy"] == pytest.approx(
        sklearn.metrics.accuracy_score(labels, predictions, **keyword)
    )
    assert result["loss"] == pytest.approx(
        sklearn.metrics.log_loss(labels, probabilities, labels=every, **keyword), rel=1e-5
    )
    assert result["top5_accuracy"] == pytest.approx(
        sklearn.metrics.top_k_accuracy_score(labels, probabilities, k=5, labels=every, **keyword)
    )
    confusion = sklearn.metrics.confusion_matrix(labels, predictions, labels=every, **keyword)
    np.testing.assert_allclose(result["confusion"], confusion, rtol=1e-5)
    macro = sklearn.metrics.precision_recall_fscore_support(
        labels, predictions, average="macro", zero_division=0, **keyword
    )
    np.testing.assert_allclose(
        [result[f"macro_{name}"] for name in ("precision", "recall", "f1")], macro[:3], rtol=1e-5
    )
    per_class = sklearn.metrics.precision_recall_fscore_support(
        labels, predictions, labels=every, zero_division=0, **keyword
    )
    for name, expected in zip(("precision", "recall", "f1", "support"), per_class, strict=True):
        got = [result["per_class"][class_name][name] for class_name in names]
        np.testing.assert_allclose(got, expected, rtol=1e-5, err_msg=name)
    assert result["per_class"]["e"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    assert all(isinstance(c, int) for row in result["confusion"] for c in row) == (not weighted)


def test_top5_needs_more_than_five_classes_and_breaks_ties_by_class():
    logits, labels, weights = _example(classes=5)
    result = classification.scores(_sums(logits, labels, weights), tuple("abcde"))
    assert "top5_accuracy" not in result
    # Constant logits know nothing: only the five lower classes of ten count as among the best.
    summed = _sums(np.zeros((10, 10), np.float32), np.arange(10), np.ones(10, np.float32))
    assert summed["top5"] == 5
    assert summed["correct"] == 1


def test_nothing_to_score_is_an_error():
    logits, labels, weights = _example(n=3)
    with pytest.raises(UserError, match="no example"):
        classification.scores(_sums(logits, labels, weights * 0), tuple("abcdefg"))
