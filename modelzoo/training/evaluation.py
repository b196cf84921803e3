"""Evaluation over a strategy: every example once, whatever the number of replicas."""

from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from modelzoo.data.source import Source
from modelzoo.tasks.task import Task, Tensors

SUM = tf.distribute.ReduceOp.SUM


class Counts:
    """What a task counts and collects over the batches of a split.

    sums: additive counts by name, float64. collected: arrays `[examples, ...]` by name, in the
    order of the examples' indices and without padding; empty where the task collects nothing.
    """

    def __init__(self):
        self.sums: dict[str, np.ndarray] = {}
        self._parts: list[dict[str, np.ndarray]] = []

    def add(self, sums: Tensors, collected: Tensors, index: tf.Tensor | None = None) -> None:
        """Adds a batch; `index` (int64 `[n]`, -1 for padding) is that of what is collected."""
        for name, value in sums.items():
            # Adding in float64 keeps counts exact and the order of batches immaterial.
            self.sums[name] = self.sums.get(name, 0.0) + value.numpy().astype(np.float64)
        if collected:
            parts = {name: value.numpy() for name, value in collected.items()}
            self._parts.append({**parts, "index": index.numpy()})

    @property
    def collected(self) -> dict[str, np.ndarray]:
        if not self._parts:
            return {}
        arrays = {name: np.concatenate([p[name] for p in self._parts]) for name in self._parts[0]}
        index = arrays.pop("index")
        order = np.argsort(index, kind="stable")[np.count_nonzero(index < 0) :]
        return {name: array[order] for name, array in arrays.items()}

    @property
    def rows(self) -> np.ndarray:
        """The indices, int64, of the examples that something was collected of."""
        index = np.concatenate([np.zeros(0, np.int64), *(part["index"] for part in self._parts)])
        return np.sort(index[index >= 0])

    def compared_with(self, source: Source) -> dict[str, Any]:
        """What was collected, and where the source has them the examples' `reference` texts."""
        collected = self.collected
        if not collected or source.references is None:
            return collected
        return {**collected, "reference": [source.references[row] for row in self.rows]}


class Evaluator:
    """Counts a task's sums over a data set with any set of weights of the same architecture.

    Build it once, inside or outside of `strategy.scope()`; the traced functions are reused.
    """

    def __init__(self, model: keras.Model, task: Task, strategy: tf.distribute.Strategy):
        self.model = model
        self.task = task
        self.strategy = strategy
        self._functions = {}

    def __call__(
        self, batches: Iterable[Tensors], *weight_sets: Mapping[str, keras.Variable]
    ) -> list[Counts]:
        """The counts over `batches`, elements of a data set that the strategy distributed.

        Those of each set of weights (variables by path of the model's weights) that stands in for
        the model's own, in one pass; of the model's own where none is given.
        """
        own = {v.path: v for v in self.model.weights}
        functions = [self._function(weights) for weights in weight_sets or (own,)]
        counts = [Counts() for _ in functions]
        for batch in batches:
            for function, counted in zip(functions, counts, strict=True):
                counted.add(*function(batch))
        return counts

    def _function(self, weights: Mapping[str, keras.Variable]):
        key = tuple(id(weights[v.path]) for v in self.model.weights)
        if key not in self._functions:
            self._functions[key] = tf.function(self._step_with(weights), autograph=False)
        return self._functions[key]

    def _step_with(self, weights: Mapping[str, keras.Variable]):
        def replica(batch: Tensors) -> tuple[Tensors, Tensors, tf.Tensor | None]:
            mapping = [(v, tf.convert_to_tensor(weights[v.path])) for v in self.model.weights]
            with keras.StatelessScope([(v, tf.cast(x, v.dtype)) for v, x in mapping]):
                outputs = self.task.outputs(self.model, batch, training=False)
                sums = self.task.sums(outputs, batch)
                collected = self.task.collected(outputs, batch)
            context = tf.distribute.get_replica_context()
            sums = context.all_reduce(SUM, sums)
            if not collected:
                return sums, {}, None
            rows = {**collected, "index": batch["index"]}
            if self.strategy.num_replicas_in_sync > 1:
                rows = context.all_gather(rows, axis=0)
            return sums, rows, rows.pop("index")

        def step(batch: Tensors) -> tuple[Tensors, Tensors, tf.Tensor | None]:
            # After the reduction and the gathering all replicas have the same.
            return tf.nest.map_structure(
                lambda value: self.strategy.experimental_local_results(value)[0],
                self.strategy.run(replica, args=(batch,)),
            )

        return step
