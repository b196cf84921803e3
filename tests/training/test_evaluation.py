"""Counts and what is collected are the same over any number of replicas, in the examples' order."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from modelzoo.data.source import source_from_arrays
from modelzoo.data.spec import ImageSpec
from modelzoo.tasks.image_classification import ImageClassification
from modelzoo.tasks.image_tagging import ImageTagging

from modelzoo.data.batches import evaluation_batches
from modelzoo.data.pipeline import evaluation_dataset
from modelzoo.training.evaluation import Counts, Evaluator

COUNT, BATCH = 11, 4
SPEC = ImageSpec(2, 2, 1, ("a", "b", "c"), targets="tags")
RNG = np.random.default_rng(0)
ARRAYS = {
    "image": RNG.integers(0, 256, (COUNT, *SPEC.shape), np.uint8),
    "label": RNG.integers(0, 2, (COUNT, 3)).astype(np.float32),
    "weight": RNG.choice([0.0, 0.5, 2.0], COUNT).astype(np.float32),
}


@dataclasses.dataclass(frozen=True)
class Linear:
    def build(self, input_spec, num_outputs):
        inputs = keras.Input(input_spec.shape[1:], name="image")
        x = keras.layers.Flatten(name="flatten")(inputs)
        return keras.Model(inputs, keras.layers.Dense(num_outputs, name="logits")(x))


def expected_scores(kernel, bias):
    pixels = (ARRAYS["image"] / 127.5 - 1).reshape(COUNT, -1)
    return 1 / (1 + np.exp(-(pixels @ kernel + bias)))


@pytest.mark.parametrize("replicas", [1, 4])
def test_examples_are_gathered_once_each_in_their_order(replicas):
    strategy = tf.distribute.OneDeviceStrategy("cpu:0")
    if replicas > 1:
        strategy = tf.distribute.MirroredStrategy(
            [f"cpu:{k}" for k in range(replicas)],
            cross_device_ops=tf.distribute.ReductionToOneDevice(),
        )
    task = ImageTagging().bind(SPEC)
    source = source_from_arrays(SPEC, list(range(COUNT)), ARRAYS)
    with strategy.scope():
        model = task.build_model(Linear())
        doubled = {v.path: keras.Variable(2 * v, name=v.name) for v in model.weights}
    read = []

    def features(raw, training):
        tf.py_function(lambda index: read.extend(index.numpy().tolist()), [raw["index"]], [])
        return task.features(raw, training)

    dataset = strategy.distribute_datasets_from_function(
        lambda context: evaluation_dataset(
            source, features, evaluation_batches(source, {0: BATCH}), replicas=replicas
        )
    )
    kernel, bias = (v.numpy() for v in model.weights)
    evaluator = Evaluator(model, task, strategy)
    own = {v.path: v for v in model.weights}
    for counts, factor in zip(evaluator(dataset, own, doubled), (1, 2), strict=True):
        collected = counts.collected
        assert collected.keys() == {"scores", "label", "weight"}
        expected = expected_scores(factor * kernel, factor * bias)
        np.testing.assert_allclose(collected["scores"], expected, atol=1e-5)
        np.testing.assert_array_equal(collected["label"], ARRAYS["label"])
        np.testing.assert_array_equal(collected["weight"], ARRAYS["weight"])
        np.testing.assert_allclose(counts.sums["weight"], ARRAYS["weight"].sum(), rtol=1e-6)
        support = (ARRAYS["label"] * ARRAYS["weight"][:, None]).sum(axis=0)
        np.testing.assert_allclose(counts.sums["support"], support, rtol=1e-6)
    # One pass over the data for both sets of weights.
    assert sorted(row for row in read if row >= 0) == list(range(COUNT))


def test_a_task_that_collects_nothing_needs_no_index():
    spec = dataclasses.replace(SPEC, targets="class")
    task = ImageClassification().bind(spec)
    model = task.build_model(Linear())
    batch = {"image": tf.zeros([2, 2, 2, 1]), "label": tf.constant([0, 1]), "weight": tf.ones(2)}
    (counts,) = Evaluator(model, task, tf.distribute.get_strategy())([batch])
    assert counts.sums["weight"] == 2 and counts.collected == {}


def test_counts_sort_by_index_and_drop_padding():
    counts = Counts()
    for index in ([5, 3], [-1, 0], [4, -1]):
        values = tf.constant([float(k) for k in index])
        counts.add({"n": tf.constant(1.0)}, {"x": values}, tf.constant(index, tf.int64))
    assert counts.collected["x"].tolist() == [0, 3, 4, 5] and counts.sums["n"] == 3
