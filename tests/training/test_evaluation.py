"""Metric sums and per-example values are the same over any number of replicas, in order."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from bound_data import image_data
from linear import Linear, logits_of
from memory_source import Memory
from stepping import strategy_of

from modelzoo.data import Dataset, Image, Tags
from modelzoo.data.batches import evaluation_batches
from modelzoo.data.columns import Column
from modelzoo.data.pipeline import evaluation_dataset
from modelzoo.tasks import Tagging
from modelzoo.tasks.task import Objective
from modelzoo.training.evaluation import Evaluator, MetricAccumulator, ModelRunner

COUNT, BATCH, NAMES = 11, 4, ("a", "b", "c")
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (COUNT, 2, 2, 1), np.uint8)
LABELS = RNG.integers(0, 2, (COUNT, 3)).astype(np.float32)
WEIGHTS = RNG.choice([0.0, 0.5, 2.0], COUNT).astype(np.float32)


def opened():
    columns = {
        "image": Column("image", "array", IMAGES),
        "tags": Column("tags", "array", LABELS, NAMES),
    }
    source = Memory(splits={"train": columns}, weights=WEIGHTS)
    inputs, target = Image(columns=("image",)), Tags(columns=("tags",))
    return Dataset(source=source, inputs=inputs, target=target).open().split("train")


@pytest.mark.parametrize("replicas", [1, 4])
def test_examples_are_gathered_once_each_in_their_order(replicas):
    strategy, split = strategy_of(replicas), opened()
    task = Tagging().bind(split.bound)
    with strategy.scope():
        model = task.build_model(Linear())
        doubled = {v.path: keras.Variable(2 * v, name=v.name) for v in model.weights}
    read = []

    def features(raw):
        tf.py_function(lambda index: read.extend(index.numpy().tolist()), [raw["index"]], [])
        return split.bound.features(raw, training=False)

    batches = evaluation_batches(split, {0: BATCH})
    dataset = strategy.distribute_datasets_from_function(
        lambda context: evaluation_dataset(split, batches, features=features, replicas=replicas)
    )
    logits = logits_of(model, IMAGES / 127.5 - 1)
    evaluator = Evaluator(task, ModelRunner(task, model), strategy)
    own = {v.path: v for v in model.weights}
    served = {}

    def keep(index, outputs):
        served.update(zip(index.tolist(), outputs["scores"], strict=True))

    found = evaluator(dataset, own, doubled, on_batch=keep)
    for accumulator, factor in zip(found, (1, 2), strict=True):
        per_example = accumulator.per_example
        assert per_example.keys() == {"probabilities", "label", "weight"}
        expected = 1 / (1 + np.exp(-factor * logits))
        np.testing.assert_allclose(per_example["probabilities"], expected, atol=1e-5)
        np.testing.assert_array_equal(per_example["label"], LABELS)
        np.testing.assert_array_equal(per_example["weight"], WEIGHTS)
        np.testing.assert_array_equal(accumulator.examples, np.arange(COUNT))
        sums = accumulator.metric_sums
        np.testing.assert_allclose(sums["weight"], WEIGHTS.sum(), rtol=1e-6)
        support = (LABELS * WEIGHTS[:, None]).sum(axis=0)
        np.testing.assert_allclose(sums["support"], support, rtol=1e-6)
    # What is served is of the first set of weights, once per example.
    assert sorted(served) == list(range(COUNT))
    scores = np.stack([served[k] for k in range(COUNT)])
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-logits)), atol=1e-5)
    # One pass over the data for both sets of weights.
    assert sorted(row for row in read if row >= 0) == list(range(COUNT))


def test_a_task_without_per_example_values_needs_no_index(monkeypatch):
    task = Tagging().bind(image_data((2, 2, 1), NAMES, "tags"))
    monkeypatch.setattr(type(task.objective), "per_example", Objective.per_example)
    model = task.build_model(Linear())
    batch = {"image": tf.zeros([2, 2, 2, 1]), "label": tf.ones([2, 3]), "weight": tf.ones(2)}
    evaluator = Evaluator(task, ModelRunner(task, model), tf.distribute.get_strategy())
    (found,) = evaluator([batch])
    assert found.metric_sums["weight"] == 2 and found.per_example == {}


def test_per_example_values_are_sorted_by_index_without_padding():
    found = MetricAccumulator()
    for index in ([5, 3], [-1, 0], [4, -1]):
        values = tf.constant([float(k) for k in index])
        found.add({"n": tf.constant(1.0)}, {"x": values}, tf.constant(index, tf.int64))
    assert found.per_example["x"].tolist() == [0, 3, 4, 5] and found.metric_sums["n"] == 3
