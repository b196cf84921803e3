"""Classification: loss and metrics against hand values, NumPy and scikit-learn."""

import keras
import numpy as np
import pytest
import sklearn.metrics
import tensorflow as tf
from bound_data import image_data
from linear import Linear, logits_of, softmax

from modelzoo.fields.errors import UserError
from modelzoo.models import CNN, ResNet
from modelzoo.tasks import Classification, classification

NAMES = ("ant", "bee", "cat")
DATA = image_data((4, 6, 3), NAMES)


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
    arrays = (tf.constant(array) for array in (logits, labels, weights))
    return {
        key: value.numpy() for key, value in classification.compute_metric_sums(*arrays).items()
    }


def _metrics(objective, outputs, batch):
    arrays = [
        {name: value.numpy() for name, value in of(outputs, batch).items()}
        for of in (objective.metric_sums, objective.per_example)
    ]
    return objective.metrics(*arrays), *arrays


def test_loss_of_a_hand_example():
    # Probabilities 1/4 and 3/4: the label's are 1/4 (weight 1) and 3/4 (weight 2).
    logits = tf.math.log(tf.constant([[0.25, 0.75], [0.25, 0.75]]))
    total, weight = classification.compute_loss(
        logits, tf.constant([0, 1]), tf.constant([1.0, 2.0])
    )
    assert total.numpy() == pytest.approx(np.log(4) + 2 * np.log(4 / 3), rel=1e-6)
    assert weight.numpy() == 3.0


@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float32, tf.float64])
def test_loss_equals_one_hot_cross_entropy_with_smoothing_and_class_weights(dtype):
    logits, labels, weights = _example()
    logits = tf.cast(logits, dtype)
    class_weights = (0.0, 0.5, 1.0, 2.0, 1.0, 3.0, 0.25)
    total, weight = classification.compute_loss(
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
    losses = [
        classification.compute_loss(logits, *part, class_weights=(4.0, 1.0)) for part in parts
    ]
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


def test_training_counts_only_what_its_progress_shows():
    logits, labels, weights = (tf.constant(a) for a in _example())
    summed = classification.compute_metric_sums(logits, labels, weights, training=True)
    full = classification.compute_metric_sums(logits, labels, weights)
    assert set(summed) == {"correct", "weight"}
    assert all(summed[key].numpy() == full[key].numpy() for key in summed)


@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_equal_scikit_learn(weighted):
    logits, labels, weights = _example(n=60)
    if not weighted:
        weights = np.ones_like(weights)
    # Class 6 is never predicted, class 5 never occurs as a label, class 4 is neither.
    logits[:, 6] -= 6
    logits[:, 4] -= 6
    labels[np.isin(labels, (4, 5))] = 6
    weights[-4:] = 0.0
    names = tuple("abcdefg")
    result = classification.compute_metrics(_sums(logits, labels, weights), names)
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
        if name != "support":  # Undefined without examples.
            assert got[4] is None and got[5] is None
            got[4:6] = [0.0, 0.0]
        np.testing.assert_allclose(got, expected, rtol=1e-5, err_msg=name)
    assert all(isinstance(c, int) for row in result["confusion"] for c in row) == (not weighted)


def test_top5_needs_more_than_five_classes_and_breaks_ties_by_class():
    logits, labels, weights = _example(classes=5)
    result = classification.compute_metrics(_sums(logits, labels, weights), tuple("abcde"))
    assert "top5_accuracy" not in result
    # Of equal logits the five lower classes of ten count as the best.
    summed = _sums(np.zeros((10, 10), np.float32), np.arange(10), np.ones(10, np.float32))
    assert summed["top5"] == 5
    assert summed["correct"] == 1


def test_examples_without_a_weight_cannot_be_measured():
    logits, labels, weights = _example(n=3)
    with pytest.raises(UserError, match="no example"):
        classification.compute_metrics(_sums(logits, labels, weights * 0), tuple("abcdefg"))


@pytest.mark.field("Classification.label_smoothing", "Classification.class_weights")
def test_the_loss_is_smoothed_and_class_weighted_and_the_metrics_are_not():
    logits = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    labels, weights = np.array([0, 1, 2, 1]), np.array([1.0, 2.0, 0.5, 0.0], np.float32)
    batch = {"label": tf.constant(labels), "weight": tf.constant(weights)}
    outputs = {"logits": tf.constant(logits)}
    config = Classification(label_smoothing=0.3, class_weights=(1.0, 3.0, 0.5))
    objective = config.bind(DATA).objective

    total, weight = objective.loss(outputs, batch)
    factors = weights * np.array(config.class_weights)[labels]
    each = -((0.7 * np.eye(3)[labels] + 0.1) * _log_softmax(logits)).sum(axis=1)
    np.testing.assert_allclose([total, weight], [(each * factors).sum(), factors.sum()], rtol=1e-5)

    found, sums, _ = _metrics(objective, outputs, batch)
    plain = -(_log_softmax(logits)[np.arange(4), labels] * weights).sum()
    np.testing.assert_allclose([sums["loss"], sums["weight"]], [plain, 3.5], rtol=1e-5)
    assert found["per_class"].keys() == set(NAMES)


def test_loss_and_accuracy_of_a_mixed_batch_are_those_of_its_soft_targets():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(4, 3)).astype(np.float32)
    first, second = np.array([0, 1, 2, 1]), np.array([1, 0, 1, 1])
    share, weights = np.array([0.3, 0.9, 1.0, 0.6]), np.array([1.0, 2.0, 0.5, 1.0])
    batch = {
        "label": tf.constant(first),
        "label_2": tf.constant(second),
        "mix": tf.constant(share, tf.float32),
        "weight": tf.constant(weights, tf.float32),
    }
    config = Classification(label_smoothing=0.3, class_weights=(1.0, 3.0, 0.5))
    objective, outputs = config.bind(DATA).objective, {"logits": tf.constant(logits)}
    total, weight = objective.loss(outputs, batch)
    # Each row's target, with its weight and the classes', smoothed.
    factors = np.array(config.class_weights)
    own = (weights * share)[:, None] * np.eye(3)[first] * factors
    other = (weights * (1 - share))[:, None] * np.eye(3)[second] * factors
    targets = own + other
    smoothed = 0.7 * targets + 0.3 * targets.sum(axis=1, keepdims=True) / 3
    expected = -(smoothed * _log_softmax(logits)).sum()
    np.testing.assert_allclose([total, weight], [expected, targets.sum()], rtol=1e-5)

    sums = objective.metric_sums(outputs, batch, training=True)
    best = logits.argmax(axis=1)
    hits = weights * (share * (best == first) + (1 - share) * (best == second))
    np.testing.assert_allclose(sums["correct"], hits.sum(), rtol=1e-5)
    np.testing.assert_allclose(sums["weight"], weights.sum(), rtol=1e-6)


@pytest.mark.parametrize("names", [("no", "yes"), NAMES])
def test_roc_auc_equals_scikit_learn(names):
    rng = np.random.default_rng(0)
    count, classes = 60, len(names)
    labels, weights = rng.integers(0, classes, count), rng.choice([0.5, 1.0, 3.0], count)
    logits = rng.normal(size=(count, classes)) + 1.5 * np.eye(classes)[labels]
    batch = {"label": tf.constant(labels), "weight": tf.constant(weights, tf.float32)}
    objective = Classification().bind(image_data((1, 1, 1), names)).objective
    outputs = {"logits": tf.constant(logits, tf.float32)}
    got, sums, per_example = _metrics(objective, outputs, batch)
    given = softmax(logits)
    ranked = given[:, 1] if classes == 2 else given
    # scikit-learn does not weigh an average over more than two classes.
    one_by_one = [
        sklearn.metrics.roc_auc_score(labels == k, given[:, k], sample_weight=weights)
        for k in range(classes)
    ]
    expected = one_by_one[1] if classes == 2 else np.mean(one_by_one)
    assert got["roc_auc"] == pytest.approx(expected, rel=1e-4)
    plain = objective.metrics(sums, {**per_example, "weight": np.ones(count)})["roc_auc"]
    expected = sklearn.metrics.roc_auc_score(labels, ranked, multi_class="ovr")
    assert plain == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("names", [("no", "yes"), NAMES])
@pytest.mark.parametrize("label", [0, 1])
def test_roc_auc_of_one_class_is_undefined(names, label):
    labels = np.full(8, label)
    labels[0] = 1 - label
    batch = {"label": tf.constant(labels), "weight": tf.constant([0.0] + 7 * [0.3])}
    objective = Classification().bind(image_data((1, 1, 1), names)).objective
    outputs = {"logits": tf.random.stateless_normal([8, len(names)], (1, 2))}
    found = _metrics(objective, outputs, batch)[0]
    assert found["roc_auc"] is None and 0 <= found["accuracy"] <= 1
    undefined = {name for name, row in found["per_class"].items() if row["recall"] is None}
    assert undefined == {*names} - {names[label]}


def test_probabilities_near_one_are_ranked_by_those_of_the_second_class():
    objective = Classification().bind(image_data((1, 1, 1), ("no", "yes"))).objective
    # All of them are 1 in float32 for the first class.
    probabilities = np.array([[1, 1e-9], [1, 3e-9], [1, 2e-9], [1, 4e-9]], np.float32)
    labels = np.array([0, 1, 0, 1])
    per_example = {"probabilities": probabilities, "label": labels, "weight": np.ones(4)}
    sums = _sums(np.log(probabilities), labels, np.ones(4, np.float32))
    assert objective.metrics(sums, per_example)["roc_auc"] == 1


def test_no_probabilities_are_kept_of_many_classes():
    batch = {"label": tf.constant([0]), "weight": tf.ones(1)}
    for count, names in ((100, {"probabilities", "label", "weight"}), (101, set())):
        data = image_data((1, 1, 1), map(str, range(count)))
        found = (
            Classification()
            .bind(data)
            .objective.per_example({"logits": tf.zeros([1, count])}, batch)
        )
        assert set(found) == names


@pytest.mark.field("Classification.loss")
def test_binary_classification_has_one_output_whose_sigmoid_is_the_second_class():
    data = image_data((2, 2, 1), ("no", "yes"))
    config = Classification(loss="binary", label_smoothing=0.2, class_weights=(1.0, 3.0))
    task = config.bind(data)
    model = task.build_model(Linear())
    assert model.output_shape == (None, 1)
    images = np.random.default_rng(0).integers(0, 256, (4, 2, 2, 1), np.uint8)
    yes = 1 / (1 + np.exp(-logits_of(model, images / 127.5 - 1)[:, 0]))
    served = task.signatures(model)["serving_default"](tf.constant(images))
    np.testing.assert_allclose(served["scores"], np.stack([1 - yes, yes], axis=1), atol=1e-6)
    names = [("no", "yes")[k] for k in (yes > 0.5).astype(int)]
    assert [name.decode() for name in served["classes"].numpy()] == names
    labels, weights = np.array([0, 1, 1, 0]), np.array([1.0, 2.0, 0.5, 1.0])
    raw = {
        "image": tf.constant(images),
        "target/label": tf.constant(labels),
        "weight": tf.constant(weights, tf.float32),
    }
    batch = data.features(raw, training=False)
    outputs = task.objective.outputs(model, batch)
    smoothed, factors = 0.8 * labels + 0.1, weights * np.array([1.0, 3.0])[labels]
    each = -smoothed * np.log(yes) - (1 - smoothed) * np.log(1 - yes)
    found = task.objective.loss(outputs, batch)
    np.testing.assert_allclose(found, [(each * factors).sum(), factors.sum()], rtol=1e-5)
    plain = sklearn.metrics.log_loss(labels, yes, sample_weight=weights)
    sums = task.objective.metric_sums(outputs, batch)
    np.testing.assert_allclose(sums["loss"] / sums["weight"], plain, rtol=1e-5)
    with pytest.raises(
        UserError, match="config.task.loss=binary needs two classes, the data has 3"
    ):
        Classification(loss="binary").bind(DATA)


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("mixed_bfloat16", "float32"), ("float32", "float32"), ("float64", "float64")],
)
def test_logits_are_at_least_float32(precision, expected):
    keras.config.set_dtype_policy(precision)
    task = Classification().bind(DATA)
    batch = DATA.features({"image": tf.zeros([1, 4, 6, 3], tf.uint8)}, training=False)
    assert task.objective.outputs(task.build_model(Linear()), batch)["logits"].dtype == expected


@pytest.mark.parametrize(
    "model", [CNN(filters=(4,), padding="same", dense=(8,), dropout=0.5), ResNet(8, width=4)]
)
def test_evaluation_lowers_to_xla(model):
    # Seven classes, so that the five best are counted too.
    task = Classification().bind(image_data((8, 8, 1), "abcdefg"))
    model = task.build_model(model)
    rng = np.random.default_rng(0)
    batch = {
        "image": tf.constant(rng.normal(size=[6, 8, 8, 1]), tf.float32),
        "label": tf.constant(rng.integers(0, 7, 6)),
        "weight": tf.constant([1.0, 2.0, 0.0, 1.0, 1.0, 0.5]),
    }

    def step(batch):
        return task.objective.metric_sums(task.objective.outputs(model, batch), batch)

    compiled = tf.function(step, jit_compile=True, autograph=False)
    expected = step(batch)
    got = compiled(batch)
    assert got.keys() == expected.keys() == {"correct", "weight", "loss", "top5", "confusion"}
    for name in expected:
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-5, err_msg=name)


def test_outputs_follow_from_what_is_served():
    serving = Classification().bind(DATA).serving
    logits = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    served = serving.to_serving({"logits": tf.constant(logits)})
    again = serving.from_serving(served)["logits"].numpy()
    np.testing.assert_allclose(softmax(again), softmax(logits), rtol=1e-5)
    ends = serving.from_serving({"scores": tf.constant([[0.0, 1.0, 0.0]])})["logits"].numpy()
    assert np.isfinite(ends).all() and ends[0, 1] == 0 and ends[0, 0] < -80


def test_answers_name_the_best_classes():
    serving = Classification().bind(DATA).serving
    row = {"classes": np.str_("bee"), "scores": np.array([0.125, 0.625, 0.25], np.float32)}
    assert serving.to_json(row) == {"class": "bee", "probability": 0.625}
    assert serving.to_json(row, top=2)["top"] == [
        {"class": "bee", "probability": 0.625},
        {"class": "cat", "probability": 0.25},
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("label_smoothing", -0.1),
        ("label_smoothing", 1.0),
        ("class_weights", (1.0, -1.0, 1.0)),
        ("class_weights", (0.0, 0.0, 0.0)),
        ("class_weights", ()),
    ],
)
def test_impossible_values_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=f"^{field} must be"):
        Classification(**{field: value})


def test_class_weights_must_fit_the_classes():
    with pytest.raises(UserError, match=r"config\.task\.class_weights .* 3 classes, got 2"):
        Classification(class_weights=(1.0, 2.0)).bind(DATA)
