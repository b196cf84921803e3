"""Evaluation of a run's splits, during training and at its end."""

import contextlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from modelzoo.data.batches import evaluation_batches
from modelzoo.data.pipeline import evaluation_dataset, naming_bad_examples
from modelzoo.data.split import Split
from modelzoo.distribution.strategy import distribute_batches
from modelzoo.fields.errors import UserError
from modelzoo.tasks.task import Task, check_finite, scalar_metrics
from modelzoo.training.config import EvalConfig
from modelzoo.training.evaluation import Evaluator, MetricAccumulator
from modelzoo.training.progress import Progress, format_text
from modelzoo.training.state import TrainState

_SAMPLES = 3


class SplitEvaluator:
    """Evaluates splits with the weights of a training state.

    accumulators: the accumulator of the last evaluation of each split.
    """

    def __init__(
        self,
        task: Task,
        evaluator: Evaluator,
        state: TrainState,
        splits: Mapping[str, Split],
        settings: EvalConfig,
        sizes: dict[int, int],
        progress: Progress,
        explain_memory: Callable[[], contextlib.AbstractContextManager],
    ):
        """Creates the evaluator.

        Args:
            task: the task on the data.
            evaluator: runs the model.
            state: the training state with the weights.
            splits: the splits by name.
            settings: settings of evaluation.
            sizes: number of examples per batch, by bucket.
            progress: prints the progress.
            explain_memory: context that converts an error for lack of memory to advice.
        """
        self.task = task
        self.evaluator = evaluator
        self.state = state
        self.splits = splits
        self.settings = settings
        self.sizes = sizes
        self.progress = progress
        self.explain_memory = explain_memory
        self.accumulators: dict[str, MetricAccumulator] = {}

    def __call__(self, split: str) -> dict[str, Any]:
        """Computes the metrics of a split; with a moving average, `raw` holds those of raw weights.

        Raises:
            UserError: a metric is not finite.
        """
        self.progress.note(f"evaluating the {split} split")
        compare = self.state.ema and self.settings.weights == "ema"
        sets = ("ema", "raw") if compare else (self.settings.weights,)
        accumulators = self._accumulate(split, sets)
        self.accumulators[split] = accumulators[0]
        metrics, *raw = (self._metrics(split, accumulator) for accumulator in accumulators)
        return {**metrics, "raw": raw[0]} if raw else metrics

    def samples(self, split: str) -> list[str]:
        """Returns lines with a few texts of the last evaluation, always of the same examples.

        The list is empty if the task generates no texts.
        """
        opened, accumulator = self.splits[split], self.accumulators[split]
        per_example, examples = accumulator.with_references(opened), accumulator.examples
        if "reference" not in per_example:
            return []
        chosen = np.unique(np.linspace(0, len(examples) - 1, _SAMPLES).astype(int))
        generated = self.task.serving.texts(
            {name: [values[k] for k in chosen] for name, values in per_example.items()}
        )
        sources = source_texts(opened, examples[chosen])
        lines = []
        for k, text, source in zip(chosen, generated, sources, strict=True):
            lines += [
                f"  source     {format_text(source)}",
                f"  reference  {format_text(per_example['reference'][k][0])}",
                f"  output     {format_text(text)}",
            ]
        return lines

    def check_metric(self) -> None:
        """Checks the metrics and `best_metric` by the labels of a split; prints remarks.

        Raises:
            UserError: it is not a metric of the task or not defined by the labels, or the package
                of a metric is missing.
        """
        objective = self.task.objective
        *_, last = self.splits.values()
        for remark in objective.check_metrics(last.references):
            self.progress.say(remark)
        name = self.settings.best_metric
        if name is None:
            return
        split, accumulator = self.splits["validation"], MetricAccumulator()
        # Labels that are read with the inputs take too long, and references define all metrics.
        whole = split.labels_in_memory and split.references is None
        for batch in itertools.islice(split.label_batches(), None if whole else 1):
            if not whole:
                batch["weight"] = tf.ones_like(batch["weight"])
            outputs = objective.blank_outputs(batch)
            sums, per_example = (
                of(outputs, batch) for of in (objective.metric_sums, objective.per_example)
            )
            accumulator.add(sums, per_example, batch["index"])
        metrics = objective.metrics(accumulator.metric_sums, accumulator.with_references(split))
        metrics = scalar_metrics(metrics)
        if name not in metrics:
            raise UserError(
                f"config.eval.best_metric must be one of {', '.join(metrics)}; got {name!r}"
            )
        if whole and metrics[name] is None:
            defined = ", ".join(k for k, v in metrics.items() if v is not None)
            raise UserError(
                f"config.eval.best_metric={name} is undefined on the validation split, for want "
                f"of other labels: use one of {defined}, or another config.data.validation_split"
            )

    def _metrics(self, split: str, accumulator: MetricAccumulator) -> dict[str, Any]:
        per_example = accumulator.with_references(self.splits[split])
        metrics = self.task.objective.metrics(accumulator.metric_sums, per_example)
        check_finite(
            metrics,
            f"{split} split after step {int(self.state.step.numpy())}",
            "lower config.optimizer.learning_rate or lengthen its warmup",
        )
        return metrics

    def _accumulate(self, split: str, sets: Sequence[str]) -> list[MetricAccumulator]:
        """Evaluates a split with each set of weights."""
        opened, strategy = self.splits[split], self.evaluator.strategy
        planned = evaluation_batches(opened, self.sizes)
        dataset = evaluation_dataset(opened, planned, replicas=strategy.num_replicas_in_sync)
        named = naming_bad_examples(
            distribute_batches(strategy, dataset), opened, lambda k: planned[k].rows
        )
        with self.explain_memory(), contextlib.closing(named):
            variables = [self.state.select_weights(weights) for weights in sets]
            return self.evaluator(named, *variables)


def source_texts(split: Split, examples: np.ndarray) -> list[str]:
    """Returns the untruncated input texts of examples (int64 `[n]`); several inputs are joined."""
    raw = split.gather(examples)
    parts = [value.numpy() for name, value in raw.items() if name.split("/")[-1] == "text"]
    return [
        " | ".join(text.decode(errors="replace") for text in texts)
        for texts in zip(*parts, strict=True)
    ]
