"""Evaluation of an exported graph."""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from modelzoo.tasks.task import Task, Tensors

_SERVED = "served/"


def signature_for(
    task: Task, raw: Mapping[str, Any]
) -> tuple[str, dict[str, tuple[str, tf.TensorSpec]]]:
    """Returns the name and arguments of the first signature whose raw tensors are all given."""
    for name, arguments in task.serving_arguments().items():
        if all(part in raw for part, _ in arguments.values()):
            return name, arguments
    raise ValueError(f"no signature has the inputs {', '.join(raw)}")


class SignatureRunner:
    """Runs the signatures of an exported graph in an `Evaluator`, to measure the served outputs."""

    def __init__(self, task: Task, signatures: Mapping[str, Callable]):
        self.task = task
        self.signatures = signatures

    def features(self, raw: Tensors) -> Tensors:
        """Returns the raw inputs of a batch and its labels."""
        parts = {p for args in self.task.serving_arguments().values() for p, _ in args.values()}
        given = {name: value for name, value in raw.items() if name in parts}
        return {**given, **self.task.data.labels(raw)}

    def outputs(self, batch: Tensors) -> Tensors:
        """Returns the outputs for the objective, and the served outputs with a prefix."""
        name, arguments = signature_for(self.task, batch)
        served = self.signatures[name](*(batch[part] for part, _ in arguments.values()))
        outputs = self.task.serving.from_serving(served)
        return {**outputs, **{_SERVED + name: value for name, value in served.items()}}

    def predictions(self, batch: Tensors, outputs: Tensors) -> Tensors:
        """Returns the served outputs."""
        return {k.removeprefix(_SERVED): v for k, v in outputs.items() if k.startswith(_SERVED)}

    def to_serving(self, predictions: Tensors) -> Tensors:
        """Returns the served outputs, unchanged."""
        return predictions
