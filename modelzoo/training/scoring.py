"""Scores of a run's splits, during training and at its end."""

import contextlib
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from modelzoo.data.batches import evaluation_batches
from modelzoo.data.pipeline import evaluation_dataset, naming_bad_images
from modelzoo.distribution.strategy import distribute_batches
from modelzoo.fields.errors import UserError
from modelzoo.tasks.task import Task
from modelzoo.training.config import EvalConfig
from modelzoo.training.evaluation import Counts, Evaluator
from modelzoo.training.progress import Progress, text_line
from modelzoo.training.state import TrainState

_SAMPLES = 3


class Scoring:
    """Scores splits with the weights of a training state.

    splits: opened sources by name. sizes: rows of a batch by length. memory_told: makes the
    context that tells a lack of memory. Attribute `counts`: what was last counted of each split.
    """

    def __init__(
        self,
        task: Task,
        evaluator: Evaluator,
        state: TrainState,
        splits: dict[str, Any],
        settings: EvalConfig,
        sizes: dict[int, int],
        progress: Progress,
        memory_told: Callable[[], contextlib.AbstractContextManager],
    ):
        self.task = task
        self.evaluator = evaluator
        self.state = state
        self.splits = splits
        self.settings = settings
        self.sizes = sizes
        self.progress = progress
        self.memory_told = memory_told
        self.counts: dict[str, Counts] = {}

    def __call__(self, split: str) -> dict[str, Any]:
        """Scores of a split; with a moving average, those of the raw weights stand in `raw`.

        Raises UserError where a score that a line shows is not finite.
        """
        self.progress.note(f"scoring the {split} split")
        both = self.state.average and self.settings.weights == "ema"
        sets = ("ema", "raw") if both else (self.settings.weights,)
        counted = self._counts(split, sets)
        self.counts[split] = counted[0]
        scores, *raw = (self._scores(split, counts) for counts in counted)
        return {**scores, "raw": raw[0]} if raw else scores

    def samples(self, split: str) -> list[str]:
        """What was last made of a few examples of a split, always the same, as lines to be read.

        Nothing where the task makes no texts.
        """
        source, counts = self.splits[split], self.counts[split]
        known, rows = counts.compared_with(source), counts.rows
        if "reference" not in known:
            return []
        chosen = np.unique(np.linspace(0, len(rows) - 1, _SAMPLES).astype(int))
        made = self.task.texts(
            {name: [values[k] for k in chosen] for name, values in known.items()}
        )
        given = source.gather(rows[chosen])["text"].numpy()
        lines = []
        for k, text, own in zip(chosen, made, given, strict=True):
            lines += [
                f"  source     {text_line(own.decode(errors='replace'))}",
                f"  reference  {text_line(known['reference'][k][0])}",
                f"  output     {text_line(text)}",
            ]
        return lines

    def check_metric(self) -> None:
        """Raises UserError where `best_metric` is no score of the task: not hours later.

        Also where a score cannot be counted here.
        """
        self.task.check_metrics()
        name = self.settings.best_metric
        if name is None:
            return
        (counts,) = self._counts("validation", (self.settings.weights,), batches=1)
        sums, collected = (
            {k: np.ones_like(v) for k, v in of.items()} for of in (counts.sums, counts.collected)
        )
        known = counts.compared_with(self.splits["validation"])
        scores = self.task.scores(sums, {**known, **collected})
        if not isinstance(scores.get(name), float):
            there = ", ".join(k for k, v in scores.items() if isinstance(v, float))
            raise UserError(f"config.eval.best_metric must be one of {there}; got {name!r}")

    def _scores(self, split: str, counts: Counts) -> dict[str, Any]:
        scores = self.task.scores(counts.sums, counts.compared_with(self.splits[split]))
        for name, value in scores.items():
            if isinstance(value, float) and not np.isfinite(value):
                raise UserError(
                    f"the {name} on the {split} split after step {int(self.state.step.numpy())} is "
                    "not finite: lower config.optimizer.learning_rate or lengthen its warmup"
                )
        return scores

    def _counts(self, split: str, sets: Sequence[str], batches: int | None = None) -> list[Counts]:
        """The counts over a split, or over its first batches, with each set of weights."""
        source, strategy = self.splits[split], self.evaluator.strategy
        planned = evaluation_batches(source, self.sizes)
        dataset = evaluation_dataset(
            source, self.task.features, planned, replicas=strategy.num_replicas_in_sync
        )
        named = naming_bad_images(
            distribute_batches(strategy, dataset), source, lambda k: planned[k].rows
        )
        with self.memory_told(), contextlib.closing(named):
            served = [self.state.served(weights) for weights in sets]
            return self.evaluator(itertools.islice(named, batches), *served)
