"""Evaluation of an exported graph."""

from collections.abc import Callable, Mapping

from modelzoo.tasks.task import Task, Tensors

_SERVED = "served/"


class SignatureRunner:
    """Runs the signatures of an exported graph in an `Evaluator`, to measure the served outputs."""

    def __init__(self, task: Task, signatures: Mapping[str, Callable]):
        self.task = task
        self.signatures = signatures

    def features(self, raw: Tensors) -> Tensors:
        """Returns the raw inputs of a batch and its labels."""
        parts = {p for args in self.task.data.serving().values() for p, _ in args.values()}
        given = {name: value for name, value in raw.items() if name in parts}
        return {**given, **self.task.data.labels(raw)}

    def outputs(self, batch: Tensors) -> Tensors:
        """Returns the outputs for the objective, and the served outputs with a prefix."""
        signatures = self.task.data.serving().items()
        name, parts = next(
            (name, [part for part, _ in arguments.values()])
            for name, arguments in signatures
            if all(part in batch for part, _ in arguments.values())
        )
        served = self.signatures[name](*(batch[part] for part in parts))
        outputs = self.task.serving.from_serving(served)
        return {**outputs, **{_SERVED + name: value for name, value in served.items()}}

    def predictions(self, batch: Tensors, outputs: Tensors) -> Tensors:
        """Returns the served outputs."""
        return {k.removeprefix(_SERVED): v for k, v in outputs.items() if k.startswith(_SERVED)}

    def to_serving(self, predictions: Tensors) -> Tensors:
        """Returns the served outputs, unchanged."""
        return predictions
