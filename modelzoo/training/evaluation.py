"""Evaluation on a distribution strategy: each example once, on any number of replicas."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from modelzoo.data.split import Split
from modelzoo.tasks.task import Task, Tensors

SUM = tf.distribute.ReduceOp.SUM

OnBatch = Callable[[np.ndarray, dict[str, np.ndarray]], None]
"""A callback for the indices of a batch's examples, int64 `[n]`, and their served outputs."""


class MetricAccumulator:
    """Metric sums and per-example tensors over the batches of a split.

    metric_sums: additive counts by name, float64.
    """

    def __init__(self):
        self.metric_sums: dict[str, np.ndarray] = {}
        self._parts: list[dict[str, np.ndarray]] = []

    def add(
        self, metric_sums: Tensors, per_example: Tensors, index: tf.Tensor | None = None
    ) -> None:
        """Adds a batch; `index` holds the indices of its examples, int64 `[n]`, -1 for padding."""
        for name, value in metric_sums.items():
            # float64 makes the sums independent of the order of batches.
            self.metric_sums[name] = self.metric_sums.get(name, 0.0) + _numpy(value, np.float64)
        if per_example:
            assert index is not None
            parts = {name: value.numpy() for name, value in per_example.items()}
            self._parts.append({**parts, "index": index.numpy()})

    @property
    def per_example(self) -> dict[str, np.ndarray]:
        """Arrays `[examples, ...]` by name, in the order of the examples, without padding."""
        if not self._parts:
            return {}
        arrays = {name: np.concatenate([p[name] for p in self._parts]) for name in self._parts[0]}
        index = arrays.pop("index")
        order = np.argsort(index, kind="stable")[np.count_nonzero(index < 0) :]
        return {name: array[order] for name, array in arrays.items()}

    @property
    def examples(self) -> np.ndarray:
        """The indices of the examples with per-example tensors, int64, ascending."""
        index = np.concatenate([np.zeros(0, np.int64), *(part["index"] for part in self._parts)])
        return np.sort(index[index >= 0])

    def with_references(self, split: Split) -> dict[str, Any]:
        """Returns the per-example arrays, and the `reference` texts if the split has them."""
        per_example = self.per_example
        if not per_example or split.references is None:
            return per_example
        return {**per_example, "reference": [split.references[row] for row in self.examples]}


class Runner(Protocol):
    """Runs a Keras model or an exported graph on batches."""

    def features(self, raw: Tensors) -> Tensors:
        """Converts raw examples to a batch."""

    def outputs(self, batch: Tensors) -> Tensors:
        """Returns the outputs for the objective; runs in a graph."""

    def predictions(self, batch: Tensors, outputs: Tensors) -> Tensors:
        """Returns tensors `[n, ...]` for `to_serving`; runs in a graph."""

    def to_serving(self, predictions: Tensors) -> Tensors:
        """Returns the served outputs; runs eagerly."""


class ModelRunner:
    """Runs a Keras model."""

    def __init__(self, task: Task, model: keras.Model):
        self.task = task
        self.model = model

    def features(self, raw: Tensors) -> Tensors:
        return self.task.data.features(raw, training=False)

    def outputs(self, batch: Tensors) -> Tensors:
        return self.task.objective.outputs(self.model, batch, training=False)

    def predictions(self, batch: Tensors, outputs: Tensors) -> Tensors:
        return self.task.objective.predictions(outputs)

    def to_serving(self, predictions: Tensors) -> Tensors:
        return self.task.serving.to_serving(predictions)


class Evaluator:
    """Computes a task's metrics over batches, with any set of weights of the same architecture.

    Build it once, inside or outside of `strategy.scope()`; it reuses traced functions.
    """

    def __init__(self, task: Task, runner: Runner, strategy: tf.distribute.Strategy):
        self.task = task
        self.runner = runner
        self.strategy = strategy
        model = getattr(runner, "model", None)
        self._weights = [] if model is None else list(model.weights)
        self._functions: dict[tuple, Callable] = {}

    def __call__(
        self,
        batches: Iterable[Tensors],
        *weight_sets: Mapping[str, keras.Variable],
        on_batch: OnBatch | None = None,
    ) -> list[MetricAccumulator]:
        """Accumulates metrics over batches.

        Args:
            batches: batches from `Runner.features`, distributed by the strategy.
            weight_sets: variables by path that replace the model's weights; each batch is evaluated
                with each set. Without sets, the model's own weights are evaluated.
            on_batch: receives the served outputs of each batch for the first set.

        Returns:
            One accumulator per set of weights.
        """
        own = {v.path: v for v in self._weights}
        sets = weight_sets or (own,)
        predicts = [on_batch is not None and k == 0 for k in range(len(sets))]
        functions = [self._function(s, w) for s, w in zip(sets, predicts, strict=True)]
        accumulators = [MetricAccumulator() for _ in functions]
        for batch in batches:
            for function, accumulator in zip(functions, accumulators, strict=True):
                metric_sums, per_example, predictions, index = function(batch)
                accumulator.add(metric_sums, per_example, index)
                if predictions and on_batch is not None:
                    served = self.runner.to_serving(predictions)
                    rows = np.flatnonzero(index.numpy() >= 0)  # Without padding.
                    each = {name: value.numpy()[rows] for name, value in served.items()}
                    on_batch(index.numpy()[rows], each)
        return accumulators

    def _function(self, weights: Mapping[str, keras.Variable], predict: bool) -> Callable:
        key = (predict, *(id(weights[v.path]) for v in self._weights))
        if key not in self._functions:
            step = self._step_with([weights[v.path] for v in self._weights], predict)
            self._functions[key] = tf.function(step, autograph=False)
        return self._functions[key]

    def _step_with(self, weights: Sequence[keras.Variable], predict: bool) -> Callable:
        objective, runner = self.task.objective, self.runner

        def replica(batch: Tensors) -> tuple[Tensors, Tensors, Tensors, tf.Tensor | None]:
            pairs = zip(self._weights, weights, strict=True)
            mapping = [(own, tf.cast(tf.convert_to_tensor(v), own.dtype)) for own, v in pairs]
            with keras.StatelessScope(mapping):
                outputs = runner.outputs(batch)
                metric_sums = objective.metric_sums(outputs, batch)
                per_example = objective.per_example(outputs, batch)
                predictions = runner.predictions(batch, outputs) if predict else {}
            context = tf.distribute.get_replica_context()
            if metric_sums:  # An exported graph may determine none.
                metric_sums = context.all_reduce(SUM, metric_sums)
            if not per_example and not predictions:
                return metric_sums, {}, {}, None
            rows = (per_example, predictions, batch["index"])
            if self.strategy.num_replicas_in_sync > 1:
                rows = context.all_gather(rows, axis=0)
            return metric_sums, *rows

        def step(batch: Tensors) -> tuple[Tensors, Tensors, Tensors, tf.Tensor | None]:
            # After reducing and gathering, all replicas have the same values.
            return tf.nest.map_structure(
                lambda value: self.strategy.experimental_local_results(value)[0],
                self.strategy.run(replica, args=(batch,)),
            )

        return step


def _numpy(value: Any, dtype: Any) -> np.ndarray:
    return np.asarray(value).astype(dtype)
