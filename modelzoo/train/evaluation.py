"""Evaluation over a strategy: every example once, whatever the number of replicas."""

from collections.abc import Iterable, Mapping

import keras
import numpy as np
import tensorflow as tf

from modelzoo.tasks.task import Task, Tensors


class Evaluator:
    """Sums a task's counts over a data set with any set of weights of the same architecture.

    Build it once, inside or outside of `strategy.scope()`; the traced function is reused.
    """

    def __init__(self, model: keras.Model, task: Task, strategy: tf.distribute.Strategy):
        self.model = model
        self.task = task
        self.strategy = strategy
        self._functions = {}

    def __call__(
        self,
        batches: Iterable[Tensors],
        weights: Mapping[str, keras.Variable] | None = None,
    ) -> dict[str, np.ndarray]:
        """The sums over `batches`, elements of a data set that the strategy distributed.

        `weights` (variables by path of the model's weights) stand in for the model's own.
        """
        weights = weights or {v.path: v for v in self.model.weights}
        key = tuple(id(weights[v.path]) for v in self.model.weights)
        if key not in self._functions:
            self._functions[key] = tf.function(self._step_with(weights), autograph=False)
        totals: dict[str, np.ndarray] = {}
        for batch in batches:
            for name, value in self._functions[key](batch).items():
                # Adding in float64 keeps counts exact and the order of batches immaterial.
                totals[name] = totals.get(name, 0.0) + value.numpy().astype(np.float64)
        return totals

    def _step_with(self, weights: Mapping[str, keras.Variable]):
        def replica(batch: Tensors) -> Tensors:
            mapping = [(v, tf.convert_to_tensor(weights[v.path])) for v in self.model.weights]
            with keras.StatelessScope([(v, tf.cast(x, v.dtype)) for v, x in mapping]):
                outputs = self.task.outputs(self.model, batch, training=False)
                sums = self.task.sums(outputs, batch)
            context = tf.distribute.get_replica_context()
            return context.all_reduce(tf.distribute.ReduceOp.SUM, sums)

        def step(batch: Tensors) -> Tensors:
            sums = self.strategy.run(replica, args=(batch,))
            return {k: self.strategy.experimental_local_results(v)[0] for k, v in sums.items()}

        return step
