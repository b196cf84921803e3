"""Tagging: loss and metrics against NumPy and scikit-learn."""

import numpy as np
import pytest
import sklearn.metrics as sk
import tensorflow as tf
from bound_data import image_data

from modelzoo.fields.errors import UserError
from modelzoo.tasks import Tagging, tagging

RNG = np.random.default_rng(0)
N, TAGS = 60, 4
NAMES = ("a", "b", "c", "d")
# Few distinct values, so that many probabilities are equal.
LOGITS = RNG.integers(-4, 5, (N, TAGS)) / 2.0
LABELS = (RNG.random((N, TAGS)) < (0.5, 0.2, 0.7, 0.1)).astype(np.float32)
WEIGHTS = RNG.choice([0.0, 0.5, 1.0, 3.0], N).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def summed(labels=LABELS, weights=WEIGHTS, threshold=0.5, training=False, parts=1):
    total = {}
    for rows in np.array_split(np.arange(N), parts):
        arrays = (tf.constant(a[rows], tf.float32) for a in (LOGITS, labels, weights))
        for name, value in tagging.compute_metric_sums(*arrays, threshold, training).items():
            total[name] = total.get(name, 0) + value.numpy().astype(np.float64)
    return total


def measured(labels=LABELS, weights=WEIGHTS, **kwargs):
    per_example = {"probabilities": sigmoid(LOGITS), "label": labels, "weight": weights}
    return tagging.compute_metrics(summed(labels, weights, **kwargs), per_example, NAMES)


def test_loss_is_the_mean_over_tags_smoothed_and_weighted():
    factors = np.array([1.0, 2.0, 0.5, 4.0])
    targets = 0.8 * LABELS + 0.1
    p = sigmoid(LOGITS)
    each = -(factors * targets * np.log(p) + (1 - targets) * np.log(1 - p)).mean(axis=1)
    arrays = (tf.constant(LOGITS), tf.constant(LABELS), tf.constant(WEIGHTS))
    total, weight = tagging.compute_loss(
        *arrays, label_smoothing=0.2, positive_weights=tuple(factors)
    )
    np.testing.assert_allclose([total, weight], [(each * WEIGHTS).sum(), WEIGHTS.sum()], rtol=1e-6)
    plain = sk.log_loss(LABELS.ravel(), p.ravel(), sample_weight=np.repeat(WEIGHTS, TAGS))
    total, weight = tagging.compute_loss(*arrays)
    np.testing.assert_allclose(total / weight, plain, rtol=1e-6)


def test_loss_stays_finite_far_from_0():
    logits = tf.constant([[-1000.0, 1000.0]])
    total, _ = tagging.compute_loss(logits, tf.constant([[1.0, 0.0]]), tf.constant([1.0]))
    assert float(total) == 1000.0


@pytest.mark.parametrize("factors", [None, (1.0, 3.0)])
@pytest.mark.parametrize("smoothing", [0.0, 1e-3])
def test_large_logits_lose_no_digits(factors, smoothing):
    logits = np.array([[1e4, -1e4], [12345.0, -54321.0], [-1e4, 3.0]], np.float32)
    labels = np.array([[1, 0], [0.75, 1], [0, 1]], np.float32)
    present, absent = (
        (1 - smoothing) * np.float64(share) + smoothing / 2 for share in (labels, 1 - labels)
    )
    present = present * (factors or 1)
    wide = np.float64(logits)
    expected = present * np.logaddexp(0, -wide) + absent * np.logaddexp(0, wide)
    for k in range(3):
        arrays = (tf.constant(a[k : k + 1]) for a in (logits, labels, np.ones(3, np.float32)))
        total, _ = tagging.compute_loss(*arrays, smoothing, factors)
        assert float(total) == pytest.approx(expected[k].mean(), rel=1e-6)


def test_metrics_equal_scikit_learn():
    got, p = measured(), sigmoid(LOGITS)
    predicted = p >= 0.5
    for average in ("macro", "micro"):
        expected = sk.precision_recall_fscore_support(
            LABELS, predicted, average=average, sample_weight=WEIGHTS, zero_division=0
        )[:3]
        names = [f"{average}_{name}" for name in ("precision", "recall", "f1")]
        np.testing.assert_allclose([got[name] for name in names], expected, rtol=1e-6)
    for average, name in (("macro", "mean"), ("micro", "micro")):
        assert got[f"{name}_average_precision"] == pytest.approx(
            sk.average_precision_score(LABELS, p, average=average, sample_weight=WEIGHTS), rel=1e-9
        )
    assert got["exact_match"] == pytest.approx(
        sk.accuracy_score(LABELS, predicted, sample_weight=WEIGHTS)
    )
    each = sk.average_precision_score(LABELS, p, average=None, sample_weight=WEIGHTS)
    columns = sk.precision_recall_fscore_support(LABELS, predicted, sample_weight=WEIGHTS)
    areas = sk.roc_auc_score(LABELS, p, average=None, sample_weight=WEIGHTS)
    assert got["roc_auc"] == pytest.approx(areas.mean(), rel=1e-9)
    for k, name in enumerate(NAMES):
        of_tag = got["per_tag"][name]
        expected = [each[k], areas[k], *(column[k] for column in columns)]
        keys = ("average_precision", "roc_auc", "precision", "recall", "f1", "support")
        np.testing.assert_allclose([of_tag[key] for key in keys], expected, rtol=1e-6)


def test_a_tag_that_never_occurs_is_in_no_mean_of_average_precisions():
    labels = LABELS.copy()
    labels[:, 1] = 0
    got = measured(labels)
    others = [0, 2, 3]
    expected = sk.average_precision_score(
        labels[:, others], sigmoid(LOGITS)[:, others], sample_weight=WEIGHTS
    )
    assert got["mean_average_precision"] == pytest.approx(expected, rel=1e-9)
    defined = {"support": 0.0}
    assert got["per_tag"]["b"] == dict.fromkeys(got["per_tag"]["a"]) | defined


def test_a_tag_that_always_occurs_has_no_roc_auc():
    labels = LABELS.copy()
    labels[:, 1] = 1
    labels[WEIGHTS == 0, 1] = 0  # Of no weight.
    got, others = measured(labels), [0, 2, 3]
    assert [name for name, value in got["per_tag"]["b"].items() if value is None] == ["roc_auc"]
    assert got["per_tag"]["b"]["average_precision"] == pytest.approx(1)
    scores = sigmoid(LOGITS)[:, others]
    expected = sk.roc_auc_score(labels[:, others], scores, sample_weight=WEIGHTS)
    assert got["roc_auc"] == pytest.approx(expected, rel=1e-9)


def test_without_a_tag_only_the_loss_and_exact_matches_are_defined():
    nothing = np.zeros_like(LABELS)
    found = measured(nothing)
    del found["per_tag"]
    assert {k for k, v in found.items() if v is not None} == {"loss", "exact_match"}
    training = tagging.compute_metrics(summed(nothing, training=True), None, NAMES)
    assert {k for k, v in training.items() if v is not None} == {"exact_match"}


def test_counts_add_up_over_any_split_and_the_threshold_moves_them():
    whole, parts = summed(), summed(parts=7)
    assert whole.keys() == parts.keys()
    for name, value in whole.items():
        np.testing.assert_allclose(parts[name], value, rtol=1e-5, err_msg=name)
    expected = ((sigmoid(LOGITS) >= 0.8) * WEIGHTS[:, None]).sum(axis=0)
    np.testing.assert_allclose(summed(threshold=0.8)["predicted"], expected, rtol=1e-6)


def test_training_counts_give_the_same_micro_metrics():
    training = summed(training=True)
    assert all(np.ndim(value) == 0 for value in training.values())
    got = tagging.compute_metrics(training, None, NAMES)
    assert got.keys() == {"micro_precision", "micro_recall", "micro_f1", "exact_match"}
    whole = measured()
    for name, value in got.items():
        assert value == pytest.approx(whole[name], rel=1e-6), name


def test_examples_without_a_weight_cannot_be_measured():
    with pytest.raises(UserError, match="nothing to measure"):
        measured(weights=np.zeros(N, np.float32))


TAG_NAMES = ("ant", "bee", "cät")
DATA = image_data((4, 6, 3), TAG_NAMES, "tags")


def batch_of(n=8):
    rng = np.random.default_rng(0)
    logits = tf.constant(rng.normal(size=(n, 3)), tf.float32)
    label = tf.constant(rng.integers(0, 2, (n, 3)), tf.float32)
    weight = tf.constant(rng.choice([0.0, 0.5, 2.0], n), tf.float32)
    return {"logits": logits}, {"label": label, "weight": weight}


@pytest.mark.field("Tagging.label_smoothing", "Tagging.positive_weights")
def test_the_loss_is_smoothed_and_weighted_and_its_metric_is_not():
    outputs, batch = batch_of()
    arrays = (outputs["logits"], batch["label"], batch["weight"])
    smoothed = Tagging(label_smoothing=0.2).bind(DATA).objective
    weighted = Tagging(positive_weights=(1.0, 2.0, 3.0)).bind(DATA).objective
    expected = tagging.compute_loss(*arrays, label_smoothing=0.2)
    np.testing.assert_allclose(smoothed.loss(outputs, batch), expected)
    expected = tagging.compute_loss(*arrays, positive_weights=(1.0, 2.0, 3.0))
    np.testing.assert_allclose(weighted.loss(outputs, batch), expected)
    plain = tagging.compute_loss(*arrays)[0]
    for objective in (smoothed, weighted):
        np.testing.assert_allclose(objective.metric_sums(outputs, batch)["loss"], plain)
        assert abs(objective.loss(outputs, batch)[0] - plain) > 0.1


@pytest.mark.field("Tagging.threshold")
@pytest.mark.parametrize("threshold", [0.3, 0.7])
def test_the_threshold_decides_in_metrics_and_in_what_is_served(threshold):
    outputs, batch = batch_of()
    task = Tagging(threshold=threshold).bind(DATA)
    served = {name: value.numpy() for name, value in task.serving.to_serving(outputs).items()}
    expected = sigmoid(outputs["logits"].numpy())
    np.testing.assert_allclose(served["scores"], expected, rtol=1e-5)
    assert (served["predicted"] == (expected >= threshold)).all()
    assert [[c.decode() for c in row] for row in served["classes"]] == [list(TAG_NAMES)] * 8
    weighted = (expected >= threshold) * batch["weight"].numpy()[:, None]
    sums = task.objective.metric_sums(outputs, batch)
    np.testing.assert_allclose(sums["predicted"], weighted.sum(axis=0))
    tags = task.serving.to_json({name: value[2] for name, value in served.items()})["tags"]
    assert tags == {
        TAG_NAMES[k]: float(served["scores"][2, k]) for k in range(3) if expected[2, k] >= threshold
    }


def test_outputs_follow_from_what_is_served():
    outputs, _ = batch_of()
    serving = Tagging().bind(DATA).serving
    again = serving.from_serving(serving.to_serving(outputs))["logits"]
    np.testing.assert_allclose(again, outputs["logits"], rtol=1e-5)
    ends = serving.from_serving({"scores": tf.constant([[0.0, 1.0, 0.5]])})["logits"].numpy()
    assert np.isfinite(ends).all() and ends[0, 0] < -80 and ends[0, 1] > 16 and ends[0, 2] == 0


def test_answers_are_sorted_and_top_is_of_all_tags():
    serving = Tagging().bind(DATA).serving
    scores = np.array([0.6, 0.2, 0.9], np.float32)
    answer = serving.to_json({"scores": scores, "predicted": scores >= 0.5}, top=2)
    assert list(answer["tags"]) == ["cät", "ant"]
    assert answer["top"] == [
        {"tag": "cät", "probability": pytest.approx(0.9)},
        {"tag": "ant", "probability": pytest.approx(0.6)},
    ]
    assert serving.to_json({"scores": scores, "predicted": scores > 1}) == {"tags": {}}


def test_evaluation_lowers_to_xla():
    outputs, batch = batch_of()
    objective = Tagging(threshold=0.4).bind(DATA).objective

    def step(outputs, batch):
        sums = objective.metric_sums(outputs, batch)
        return {**sums, **objective.per_example(outputs, batch)}

    compiled = tf.function(step, jit_compile=True, autograph=False)(outputs, batch)
    for name, value in step(outputs, batch).items():
        np.testing.assert_allclose(compiled[name], value, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("label_smoothing", 1.0),
        ("positive_weights", (1.0, 0.0, 1.0)),
        ("positive_weights", ()),
        ("threshold", 0.0),
        ("threshold", 1.0),
    ],
)
def test_impossible_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=f"^{field} must be"):
        Tagging(**{field: value})


def test_weights_must_fit_the_tags():
    with pytest.raises(UserError, match=r"config\.task\.positive_weights .* 3 tags, got 2"):
        Tagging(positive_weights=(1.0, 2.0)).bind(DATA)
