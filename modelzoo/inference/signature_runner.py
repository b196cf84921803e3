"""Runs an exported graph in an evaluator."""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from modelzoo.tasks.task import Task, Tensors

_SERVED = "served/"


def signature_for(
    task: Task, given: Mapping[str, Any]
) -> tuple[str, dict[str, tuple[str, tf.TensorSpec]]]:
    """Name and arguments of the first signature whose raw tensors are all given."""
    for name, arguments in task.data.serving().items():
        if all(part in given for part, _ in arguments.values()):
            return name, arguments
    raise ValueError(f"no signature takes {', '.join(given)}")


class SignatureRunner:
    """Runs the signatures of an exported graph, so that metrics are those of what is served."""

    def __init__(self, task: Task, signatures: Mapping[str, Callable]):
        self.task, self.signatures = task, signatures

    def features(self, raw: Tensors) -> Tensors:
        """The labels of a batch beside its raw inputs."""
        parts = {p for args in self.task.data.serving().values() for p, _ in args.values()}
        given = {name: value for name, value in raw.items() if name in parts}
        return {**given, **self.task.data.labels(raw)}

    def outputs(self, batch: Tensors) -> Tensors:
        """What the objective computes metrics from, and the served tensors."""
        name, arguments = signature_for(self.task, batch)
        served = self.signatures[name](*(batch[part] for part, _ in arguments.values()))
        outputs = self.task.serving.from_serving(served)
        return {**outputs, **{_SERVED + name: value for name, value in served.items()}}

    def predictions(self, batch: Tensors, outputs: Tensors) -> Tensors:
        """The served tensors."""
        return {k.removeprefix(_SERVED): v for k, v in outputs.items() if k.startswith(_SERVED)}

    def to_serving(self, predictions: Tensors) -> Tensors:
        """The served tensors, unchanged."""
        return predictions
