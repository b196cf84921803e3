"""The tasks on texts: what the model sees, what they learn and score, and what they serve."""

import keras
import numpy as np
import pytest
import sklearn.metrics as sk
import tensorflow as tf
from texts import ODD, WORDS, Bag, Sentences, spec_of

from modelzoo.data.spec import ImageSpec
from modelzoo.fields.errors import UserError
from modelzoo.models.cnn import CNN
from modelzoo.models.recurrent_cnn import RecurrentCNN
from modelzoo.models.resnet import ResNet
from modelzoo.optimizers import SGD
from modelzoo.tasks.text import (
    SequenceLabelling,
    TextClassification,
    TextRegression,
    TextTagging,
)
from modelzoo.training.config import TrainConfig
from modelzoo.training.precision import dtype_policy
from modelzoo.training.state import TrainState
from modelzoo.training.step import TrainStep

CONFIGS = {
    "class": TextClassification,
    "tags": TextTagging,
    "values": TextRegression,
    "labels": SequenceLabelling,
}
THREE = ("ant", "bee", "cat")


def test_texts_become_tokens_cut_and_padded_to_the_longest():
    task = TextClassification().bind(spec_of())
    raw = {"text": tf.constant(["bee ant", "", " ".join(WORDS + WORDS)]), "weight": tf.ones(3)}
    batch = task.features(raw, training=False)
    assert batch.keys() == {"tokens", "weight"}
    assert batch["tokens"].dtype == tf.int32
    # Of words that are as frequent, the first in order has the first id after padding and unknown.
    np.testing.assert_array_equal(
        batch["tokens"],
        [[3, 2, 0, 0, 0, 0, 0, 0], [0] * 8, [*range(2, 10)]],
    )


def test_the_end_of_a_long_text_is_kept_where_the_spec_says_so():
    texts = tf.constant([" ".join(WORDS), "ant"])
    start, end = (
        TextClassification().bind(spec_of(lengths=(3,), keep=keep)).features({"text": texts}, False)
        for keep in ("start", "end")
    )
    assert start["tokens"].numpy().tolist() == [[2, 3, 4], [2, 0, 0]]
    assert end["tokens"].numpy().tolist() == [[7, 8, 9], [2, 0, 0]]


@pytest.mark.parametrize("texts", [[], [""], ["", ""]])
def test_texts_without_any_token_have_one_of_padding(texts):
    task = TextClassification().bind(spec_of())
    tokens = task.features({"text": tf.constant(texts, tf.string)}, training=False)["tokens"]
    assert tokens.numpy().tolist() == [[0]] * len(texts)


@pytest.mark.parametrize("keep", ["start", "end"])
def test_tokens_of_a_source_are_those_that_are_served(keep):
    data = Sentences(lengths=(4, 8), keep=keep)
    source = data.open("train")
    task = TextClassification().bind(source.spec)
    raw = source.gather(tf.range(40, dtype=tf.int64))
    trained = task.features(raw, training=True)
    assert "text" not in trained
    served = task.features({"text": raw["text"]}, training=False)
    np.testing.assert_array_equal(trained["tokens"], served["tokens"])


def test_the_data_is_described_in_a_few_words():
    words = TextTagging().bind(spec_of("tags")).describe()
    assert words == "3 tags, texts of up to 8 tokens, 10 words"


def test_a_task_takes_its_own_kind_of_data_and_targets_only():
    with pytest.raises(UserError, match="TextTagging, which learns .*choose TextClassification"):
        TextTagging().bind(spec_of("class"))
    with pytest.raises(UserError, match="learns .*'labels': choose SequenceLabelling"):
        TextTagging().bind(spec_of("labels"))
    with pytest.raises(UserError, match="takes data of kind 'text', .*'image': choose ImageClass"):
        TextTagging().bind(ImageSpec(4, 4, 1, ("a", "b")))


@pytest.mark.parametrize("model", [CNN(), ResNet(8), RecurrentCNN()])
def test_models_of_images_take_no_texts(model):
    name = type(model).__name__
    with pytest.raises(UserError, match=f"config.model is {name}, which takes .*'image', .*'text'"):
        TextClassification().bind(spec_of()).build_model(model)


def test_labels_need_a_model_with_outputs_for_each_token():
    class Whole:
        def build(self, inputs, num_outputs):
            raise AssertionError

    with pytest.raises(UserError, match="config.model is Whole, .*not for each step .*Labelling"):
        SequenceLabelling().bind(spec_of("labels")).build_model(Whole())


@pytest.mark.parametrize("names", [("no", "yes"), THREE])
def test_scores_are_those_of_scikit_learn(names):
    rng = np.random.default_rng(0)
    count, classes = 60, len(names)
    labels, weights = rng.integers(0, classes, count), rng.choice([0.5, 1.0, 3.0], count)
    logits = rng.normal(size=(count, classes)) + 1.5 * np.eye(classes)[labels]
    batch = {"label": tf.constant(labels), "weight": tf.constant(weights, tf.float32)}
    task = TextClassification().bind(spec_of(names=names))
    outputs = {"logits": tf.constant(logits, tf.float32)}
    arrays = [
        {name: value.numpy() for name, value in of(outputs, batch).items()}
        for of in (task.sums, task.collected)
    ]
    got = task.scores(*arrays)
    given = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    best = given.argmax(axis=1)
    ranked = given[:, 1] if classes == 2 else given
    # It weighs no average over more than two classes.
    one_by_one = [
        sk.roc_auc_score(labels == k, given[:, k], sample_weight=weights) for k in range(classes)
    ]
    expected = {
        "loss": sk.log_loss(labels, given, sample_weight=weights),
        "accuracy": sk.accuracy_score(labels, best, sample_weight=weights),
        "roc_auc": np.mean(one_by_one)
        if classes > 2
        else sk.roc_auc_score(labels, ranked, sample_weight=weights),
    }
    for average in ("macro", "micro"):
        values = sk.precision_recall_fscore_support(
            labels, best, average=average, sample_weight=weights
        )
        for name, value in zip(("precision", "recall", "f1"), values[:3], strict=True):
            expected[f"{average}_{name}"] = value
    for name, value in expected.items():
        assert got[name] == pytest.approx(value, rel=1e-4), name
    values = sk.precision_recall_fscore_support(labels, best, sample_weight=weights)
    each = [got["per_class"][name] for name in names]
    for name, value in zip(("precision", "recall", "f1", "support"), values, strict=True):
        np.testing.assert_allclose([row[name] for row in each], value, rtol=1e-6)
    plain = task.scores(arrays[0], {**arrays[1], "weight": np.ones(count)})["roc_auc"]
    assert plain == pytest.approx(sk.roc_auc_score(labels, ranked, multi_class="ovr"), rel=1e-5)


def test_scores_near_one_are_ranked_by_those_of_the_second_class():
    task = TextClassification().bind(spec_of())
    # All of them are 1 in float32 for the first class.
    scores = np.array([[1, 1e-9], [1, 3e-9], [1, 2e-9], [1, 4e-9]], np.float32)
    collected = {"scores": scores, "label": np.array([0, 1, 0, 1]), "weight": np.ones(4)}
    logits = tf.constant(np.log(scores))
    batch = {"label": tf.constant(collected["label"]), "weight": tf.ones(4)}
    sums = {k: v.numpy() for k, v in task.sums({"logits": logits}, batch).items()}
    assert task.scores(sums, collected)["roc_auc"] == 1


def test_tags_have_roc_curves_too():
    rng = np.random.default_rng(1)
    labels, logits = rng.integers(0, 2, (50, 3)), rng.normal(size=(50, 3))
    batch = {"label": tf.constant(labels, tf.float32), "weight": tf.ones(50)}
    task = TextTagging().bind(spec_of("tags"))
    outputs = {"logits": tf.constant(logits, tf.float32)}
    arrays = [
        {name: value.numpy() for name, value in of(outputs, batch).items()}
        for of in (task.sums, task.collected)
    ]
    got = task.scores(*arrays)
    assert got["roc_auc"] == pytest.approx(sk.roc_auc_score(labels, logits), rel=1e-9)
    each = sk.roc_auc_score(labels, logits, average=None)
    for name, value in zip(task.spec.class_names, each, strict=True):
        assert got["per_tag"][name]["roc_auc"] == pytest.approx(value, rel=1e-9)


@pytest.mark.field("ClassTargets.loss")
def test_binary_classification_has_one_output_whose_sigmoid_is_the_second_class():
    task = TextClassification(loss="binary", label_smoothing=0.2, class_weights=(1.0, 3.0)).bind(
        spec_of()
    )
    model = task.build_model(Bag())
    assert model.output_shape == (None, 1)
    texts = tf.constant(["ant", "bee fox", "gnu hen hen", "dog"])
    tokens = task.features({"text": texts}, training=False)["tokens"]
    logit = model(tokens).numpy()[:, 0].astype(np.float64)
    yes = 1 / (1 + np.exp(-logit))
    served = task.signatures(model)["serving_default"](texts)
    np.testing.assert_allclose(served["scores"], np.stack([1 - yes, yes], axis=1), atol=1e-6)
    names = [task.spec.class_names[k] for k in (yes > 0.5).astype(int)]
    assert [name.decode() for name in served["classes"].numpy()] == names
    labels, weights = np.array([0, 1, 1, 0]), np.array([1.0, 2.0, 0.5, 1.0])
    batch = {
        "tokens": tokens,
        "label": tf.constant(labels),
        "weight": tf.constant(weights, tf.float32),
    }
    outputs = task.outputs(model, batch)
    smoothed, factors = 0.8 * labels + 0.1, weights * np.array([1.0, 3.0])[labels]
    each = -smoothed * np.log(yes) - (1 - smoothed) * np.log(1 - yes)
    np.testing.assert_allclose(
        task.loss(outputs, batch), [(each * factors).sum(), factors.sum()], rtol=1e-5
    )
    plain = sk.log_loss(labels, yes, sample_weight=weights)
    sums = task.sums(outputs, batch)
    np.testing.assert_allclose(sums["loss"] / sums["weight"], plain, rtol=1e-5)
    with pytest.raises(
        UserError, match="config.task.loss=binary is of two classes, the data has 3"
    ):
        TextClassification(loss="binary").bind(spec_of(names=THREE))


@pytest.mark.parametrize("targets", CONFIGS)
@pytest.mark.parametrize("texts", [[], ODD[:1], ODD], ids=["none", "empty", "odd"])
def test_signatures_take_any_text_and_padding_changes_nothing(targets, texts):
    task = CONFIGS[targets]().bind(spec_of(targets))
    model = task.build_model(Bag())
    serve = task.signatures(model)["serving_default"]
    together = {k: v.numpy() for k, v in serve(tf.constant(texts, tf.string)).items()}
    for name, value in together.items():
        assert len(value) == len(texts), name
        assert (value.dtype == object) or np.isfinite(value).all(), name
    for k, text in enumerate(texts):
        for name, alone in serve(tf.constant([text])).items():
            alone, value = np.asarray(alone.numpy()[0]), np.asarray(together[name][k])
            if targets == "labels":
                assert not value[len(alone) :].any(), name
                value = value[: len(alone)]
            if value.dtype.kind in "OS":
                assert np.array_equal(alone, value), name
            else:
                np.testing.assert_allclose(alone, value, atol=1e-6, err_msg=name)


def trained(targets, replicas=1, **settings):
    """All arrays after some steps in float64, and the last report."""
    strategy = tf.distribute.OneDeviceStrategy("cpu:0")
    if replicas > 1:
        strategy = tf.distribute.MirroredStrategy(
            [f"cpu:{k}" for k in range(replicas)],
            cross_device_ops=tf.distribute.ReductionToOneDevice(),
        )
    data = Sentences(targets=targets, lengths=(16,))
    source = data.open("train")
    task = CONFIGS[targets]().bind(source.spec)
    settings = TrainConfig(batch_size=16, precision="float64", **settings)
    keras.utils.set_random_seed(7)
    with strategy.scope(), dtype_policy("float64"):
        state = TrainState(task.build_model(Bag()), SGD(0.1, momentum=0.9), ema=False)
    step = TrainStep(task, state, settings, lambda number: tf.constant(0.1), strategy, 5)
    rows = 16 // replicas
    for k in range(2):

        def part(context, k=k):
            first = 16 * k + context.replica_id_in_sync_group * rows
            raw = source.gather(tf.range(first, first + rows, dtype=tf.int64))
            batch = task.features(raw, training=True)
            return {name: value[None] for name, value in batch.items()}

        report = step(strategy.experimental_distribute_values_from_function(part), 1)
    return state.arrays(), report


@pytest.mark.parametrize("targets", ["class", "labels"])
def test_same_update_over_replicas_and_micro_batches_of_other_numbers_of_tokens(targets):
    arrays, report = trained(targets)
    others, same = trained(targets, replicas=2, accumulate=2)
    assert arrays.keys() == others.keys()
    for name in arrays:
        np.testing.assert_allclose(others[name], arrays[name], rtol=1e-9, atol=1e-9)
    for name in report:
        np.testing.assert_allclose(same[name], report[name], rtol=1e-5, err_msg=name)
