"""The trainer: from an experiment to a finished run folder, in named sections."""

import contextlib
import dataclasses
import math
import platform
import time
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import modelzoo
from modelzoo.data.batches import TrainingBatches
from modelzoo.data.pipeline import naming_bad_examples, training_dataset
from modelzoo.distribution.strategy import device_names, distribute_batches
from modelzoo.fields.duration import Duration, to_steps
from modelzoo.fields.errors import UserError
from modelzoo.training import averaging, checkpoint, run_folder
from modelzoo.training.batching import size_key, sizes_of
from modelzoo.training.config import EvalConfig, TrainConfig
from modelzoo.training.evaluation import Evaluator, ModelRunner
from modelzoo.training.loss_scale import LossScale
from modelzoo.training.plan import Plan
from modelzoo.training.precision import deterministic, dtype_policy, inference_precision
from modelzoo.training.progress import Progress
from modelzoo.training.recipe import Recipe
from modelzoo.training.records import Events, Records
from modelzoo.training.restore import restore
from modelzoo.training.signals import Interrupted, on_signals
from modelzoo.training.split_evaluator import SplitEvaluator
from modelzoo.training.state import TrainState
from modelzoo.training.step import TrainStep
from modelzoo.training.summary import summary
from modelzoo.transfer.freeze import freeze


class Trainer:
    """One run: an experiment on a strategy, in a folder."""

    def __init__(
        self,
        experiment: Recipe,
        workdir: Path,
        strategy: tf.distribute.Strategy,
        progress: Progress,
    ):
        self.experiment = experiment
        self.settings: TrainConfig = experiment.train
        self.evaluation: EvalConfig = experiment.eval
        self.workdir = workdir
        self.strategy = strategy
        self.replicas = strategy.num_replicas_in_sync
        self.progress = progress
        self.meta = checkpoint.Meta(step=0, examples=0)
        self.stop_signal: int | None = None
        self.validated: tuple[int, dict[str, Any]] = (
            -1,
            {},
        )  # Step and metrics of the last evaluation.

    # Data, and what follows from it.

    def open_data(self) -> None:
        """Opens the splits that the run needs, so that whatever is missing shows at once."""
        self.progress.note("reading the data")
        data = self.experiment.data.open()
        self.splits = {"train": data.split("train")}
        if self.evaluation.every is not None and data.has("validation"):
            self.splits["validation"] = data.split("validation")
        elif self.evaluation.best_metric is not None:
            raise UserError(
                "config.eval.best_metric needs a validation split: set "
                "config.data.validation_split, such as 'train[90%:]'"
            )
        if self.evaluation.test_at_end and data.has("test"):
            self.splits["test"] = data.split("test")
        for role, split in self.splits.items():
            if split.skipped:
                bad = split.skipped[0]
                self.progress.say(
                    f"skipped {len(split.skipped)} bad example(s) of the {role} split, "
                    f"the first: {bad.place}: {bad.reason}"
                )
            for remark in split.remarks:
                self.progress.say(f"{role} split: {remark}")
        self.bound = data.bound
        self.task = self.experiment.task.bind(self.bound)
        self._plan_durations()

    def _plan_durations(self) -> None:
        split = self.splits["train"]
        sizes, self.eval_sizes = sizes_of(self.settings, self.evaluation, split, self.replicas)
        self.batches = TrainingBatches(split, self.experiment.seed, sizes)
        # The largest of several batch sizes is the nominal weight of a batch.
        largest = max(sizes.values())
        self.settings = dataclasses.replace(
            self.settings, batch_size=largest, tokens_per_batch=None
        )
        settings, evaluation = self.settings, self.evaluation
        if settings.steps_per_loop > 1 and len(self.batches.sizes) > 1:
            raise UserError(
                "config.train.steps_per_loop must be 1 with batches of several lengths, "
                f"got {settings.steps_per_loop}: set it, or use a single length"
            )
        every = evaluation.every if "validation" in self.splits else None
        self.plan = Plan(
            total=self.steps(settings.steps),
            log_every=self.steps(settings.log_every),
            checkpoint_every=self.steps(settings.checkpoint_every),
            eval_every=None if every is None else self.steps(every),
            steps_per_loop=settings.steps_per_loop,
        )
        averaging.check(self.workdir, evaluation, settings.keep_checkpoints, self.plan)
        optimizer = self.experiment.optimizer
        factor = optimizer.schedule.bind(self.plan.total, self.steps)
        self.learning_rate = lambda step: optimizer.learning_rate * factor(step)

    def steps(self, length: Duration) -> int:
        """A duration in steps of this run's batches."""
        return to_steps(length, self.batches.mean_size, self.batches.num_examples)

    # Model, optimizer, step.

    def build(self) -> None:
        """Builds everything that has variables, in the strategy's scope."""
        settings, seed = self.settings, self.experiment.seed
        self.progress.note("building the model")
        keras.utils.set_random_seed(seed)
        if not deterministic(settings.deterministic):
            self.progress.say("Determinism was enabled by an earlier run in this process")
        with self.strategy.scope():
            with dtype_policy(settings.precision):
                self.model = self.task.build_model(self.experiment.model)
                self.parameters = _count(self.model.trainable_variables)
                self.state = TrainState(
                    self.model,
                    self.experiment.optimizer,
                    ema=settings.ema_decay is not None,
                    frozen=freeze(self.model, settings.freeze),
                    loss_scale=LossScale.of(settings),
                )
            precision = inference_precision(settings.precision)
            if precision == settings.precision:
                inference_model = self.model
            else:
                with dtype_policy(precision):
                    inference_model = self.task.build_model(self.experiment.model)
        self.trainable_parameters = _count(self.state.trainable)
        self.train_step = TrainStep(
            self.task.objective, self.state, settings, self.learning_rate, self.strategy, seed
        )
        self.evaluate = SplitEvaluator(
            self.task,
            Evaluator(self.task, ModelRunner(self.task, inference_model), self.strategy),
            self.state,
            self.splits,
            self.evaluation,
            self.eval_sizes,
            self.progress,
            self._explain_memory,
        )
        self.evaluate.check_metric()

    def restore(self, other_data: bool = False) -> None:
        """Sets the state and the position in the data; see `modelzoo.training.restore`."""
        fingerprint = self.splits["train"].fingerprint
        with self.strategy.scope():
            self.meta, self.started = restore(
                self.state,
                self.experiment,
                self.workdir,
                fingerprint,
                other_data,
                self.bound.words or (),
            )

    def summarize(self) -> None:
        """Prints what is trained, and on which devices."""
        self.progress.table(summary(self))

    # The loop.

    def stream(self) -> Generator:
        """Training batches from the restored position on, one per replica at a time."""
        split, batches = self.splits["train"], self.batches
        dataset = training_dataset(
            split,
            batches,
            first_step=self.meta.step,
            first_example=self.meta.examples,
            chunk=self.plan.chunk,
            loop=self.plan.loop,
            replicas=self.replicas,
        )

        def rows(number: int) -> np.ndarray:
            taken, _ = batches.take(self.meta.examples, self.plan.loop)
            return np.concatenate([batch.rows for batch in taken])

        yield from naming_bad_examples(distribute_batches(self.strategy, dataset), split, rows)

    def train(self) -> None:
        """Trains from the restored step to the last, or to an early stop.

        Raises:
            Interrupted: after SIGINT or SIGTERM, once the state is saved.
            BrokenPipeError: the reader of the output has gone; the state is saved.
            UserError: a loss, gradient or weight is not finite.
        """
        log = run_folder.MetricsLog(self.workdir, self.meta.step)
        events = Events(self.workdir, self.meta.step)
        self.records = Records(
            log,
            events,
            self.progress,
            self.task,
            steps=self.plan.total,
            split=self.splits["train"],
            pending=self.meta.pending,
        )
        try:
            # A thread that still reads with Python could delay the end of the interpreter.
            with on_signals(self._on_signal), contextlib.closing(self.stream()) as stream:
                self._train(stream)
            events.flush()
        finally:
            log.close()
            events.close()

    def _on_signal(self, number: int, frame: Any) -> None:
        # Printing here could interrupt a print, and fail if the reader was stopped too.
        if self.stop_signal is not None:
            raise KeyboardInterrupt
        self.stop_signal = number

    def _train(self, stream: Iterator) -> None:
        step, plan = self.meta.step, self.plan
        if step >= plan.total or self._stale():
            return
        before, began = self.meta.seconds, time.perf_counter()
        self.progress.note("compiling the first step")
        for chunk in plan.chunks(step):
            waited = time.perf_counter()
            with self._explain_memory():
                batch = next(stream)
                called = time.perf_counter()
                report = self._call(batch, chunk)
            if not report["alive"].all():
                bad = step + int(np.argmin(report["alive"])) + 1
                scale = " at the least loss scale" if self.state.loss_scale else ""
                raise UserError(
                    f"the loss, gradient or weights of step {bad} are not finite{scale}: lower "
                    "config.optimizer.learning_rate, lengthen its warmup or clip with "
                    f"config.train.clip_global_norm; {self._kept()}"
                )
            step += chunk
            taken, examples = self.batches.take(self.meta.examples, chunk)
            self.records.add(report, called - waited, time.perf_counter() - called, taken)
            self.meta = dataclasses.replace(
                self.meta,
                step=step,
                examples=examples,
                seconds=before + time.perf_counter() - began,
                skipped=self.meta.skipped + int(np.sum(report["ok"] == 0)),
            )
            self._after()
            if self._stale():
                self.progress.say(
                    f"stopping early: no better {self.evaluation.best_metric} in "
                    f"{self.meta.stale} evaluations"
                )
                return

    def _call(self, batch: Any, count: int) -> dict[str, np.ndarray]:
        """Runs the steps; an error of XLA says what to change."""
        try:
            return self.train_step(batch, count)
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            if not self.settings.xla:
                raise
            raise UserError(
                f"XLA refuses this step: {error.message.splitlines()[0]}; set "
                "config.train.xla=false, or config.train.deterministic=false where an operation "
                "has no deterministic form"
            ) from error

    def _after(self) -> None:
        """Does what is due at this step: records, evaluation, a checkpoint, a stop."""
        step, plan = self.meta.step, self.plan
        end = step == plan.total
        save = end or step % plan.checkpoint_every == 0
        if end or step % plan.log_every == 0:
            self.records.train(step, self.meta.examples)
        if plan.eval_every and (end or step % plan.eval_every == 0):
            metrics = self.evaluate("validation")
            self.validated = (step, metrics)
            self.records.eval(step, metrics, self.evaluate.samples("validation"))
            metric = self.evaluation.best_metric
            if metric is not None:
                self.meta = self.meta.judged(metric, metrics, self.task.objective.lower_is_better)
                save |= self.meta.best_step == step
        save |= self._stale()
        if save or self.stop_signal is not None or self.progress.broken:
            self._save(interim=not save)
        if self.stop_signal is not None:
            self.progress.clear()
            raise Interrupted(self.stop_signal, step)
        if self.progress.broken:
            raise BrokenPipeError

    def _stale(self) -> bool:
        patience = self.evaluation.patience
        return patience is not None and self.meta.stale >= patience

    @contextlib.contextmanager
    def _explain_memory(self) -> Iterator[None]:
        """Turns a lack of memory inside the block into advice."""
        try:
            yield
        except (MemoryError, tf.errors.ResourceExhaustedError):
            raise UserError(
                f"out of memory after step {self.meta.step}: lower "
                f"{size_key(self.experiment.train)} or config.eval.batch_size (now "
                f"{max(self.eval_sizes.values())}), or raise "
                f"config.train.accumulate; {self._kept()}"
            ) from None

    def _kept(self) -> str:
        there = checkpoint.steps(self.workdir)
        return f"the checkpoint of step {there[-1]} is kept" if there else "no checkpoint was due"

    def _save(self, interim: bool) -> None:
        """Writes a checkpoint of this step and deletes those that are not kept."""
        if self.meta.step not in checkpoint.steps(self.workdir):
            meta = dataclasses.replace(self.meta, interim=interim, pending=self.records.totals)
            checkpoint.write(self.workdir, self.state.arrays(), meta)
            checkpoint.prune(self.workdir, self.settings.keep_checkpoints, self.meta.best_step)

    # The end.

    def finish(self) -> dict[str, Any]:
        """Evaluates the test split with the weights to be served; writes `result.json`."""
        paths = averaging.served(self.workdir, self.evaluation)
        chosen = averaging.steps(paths)
        if chosen != [self.meta.step]:
            arrays = averaging.read(paths)
            with self.strategy.scope():
                self.state.restore(arrays, chosen[-1])
        metrics = {}
        if "validation" in self.splits:
            step, known = self.validated
            metrics["validation"] = known if [step] == chosen else self.evaluate("validation")
        if "test" in self.splits:
            metrics["test"] = self.evaluate("test")
        result = {
            "eval": metrics,
            "steps": self.meta.step,
            "evaluated_step": chosen[-1],
            **({"averaged_steps": chosen} if len(chosen) > 1 else {}),
            "best_metric": self.meta.best_metric,
            "seconds": round(self.meta.seconds, 2),
            "parameters": self.parameters,
            **({"discarded_steps": self.meta.skipped} if self.state.loss_scale else {}),
            "skipped": {name: len(split.skipped) for name, split in self.splits.items()},
            "devices": device_names(self.strategy),
            "versions": {
                "modelzoo": modelzoo.__version__,
                "python": platform.python_version(),
                "tensorflow": tf.__version__,
                "keras": keras.__version__,
                "numpy": np.__version__,
            },
        }
        run_folder.write_json(self.workdir / "result.json", result)
        return result


def _count(variables: Iterable[keras.Variable]) -> int:
    """Number of scalars in the variables."""
    return sum(math.prod(v.shape) for v in variables)
