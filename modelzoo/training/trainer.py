"""The trainer, which turns an experiment into a finished run folder."""

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
from modelzoo.data.bound import BoundData
from modelzoo.data.columns import Bad
from modelzoo.data.label_checks import check_labels
from modelzoo.data.pipeline import naming_bad_examples, training_dataset
from modelzoo.distribution.strategy import device_names, distribute_batches
from modelzoo.fields.duration import Duration, to_steps
from modelzoo.fields.errors import UserError
from modelzoo.training import averaging, checkpoint, run_folder
from modelzoo.training.batching import compute_batch_sizes, describe_batch_size
from modelzoo.training.config import EvalConfig, TrainConfig
from modelzoo.training.evaluation import Evaluator, ModelRunner
from modelzoo.training.loss_scale import LossScale
from modelzoo.training.plan import Plan
from modelzoo.training.precision import dtype_policy, inference_precision, set_determinism
from modelzoo.training.progress import Progress
from modelzoo.training.recipe import Recipe
from modelzoo.training.records import Events, Records
from modelzoo.training.restore import restore
from modelzoo.training.signals import Interrupted, on_signals
from modelzoo.training.split_evaluator import SplitEvaluator
from modelzoo.training.state import TrainState
from modelzoo.training.step import TrainStep
from modelzoo.training.summary import summarize
from modelzoo.transfer.freeze import freeze


class Trainer:
    """One run: an experiment with a distribution strategy and a folder."""

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
        # Step and metrics of the last validation.
        self.validated: tuple[int, dict[str, Any]] = (-1, {})

    # Data and durations.

    def open_data(self, trained: BoundData | None = None) -> None:
        """Opens all splits of the run, so that errors in the data appear before training.

        `trained` is the data of the initial weights, or of the checkpoint that the run resumes.
        """
        self.progress.note("reading the data")
        data = self.experiment.data.open(trained=trained)
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
        said: set[Bad] = set()
        for role, split in self.splits.items():
            # A line that is no row counts in each part of its file.
            if skipped := [bad for bad in split.skipped if bad not in said]:
                said.update(skipped)
                bad = skipped[0]
                self.progress.say(
                    f"skipped {len(skipped)} bad example(s) of the {role} split, "
                    f"the first: {bad.place}: {bad.reason}"
                )
            for remark in split.remarks:
                self.progress.say(f"{role} split: {remark}")
        for remark in check_labels(self.splits):
            self.progress.say(remark)
        self.bound = data.bound
        if not checkpoint.steps(self.workdir):
            for remark in data.inherited:
                self.progress.say(remark)
        self.task = self.experiment.task.bind(self.bound)
        self._plan_durations()

    def _plan_durations(self) -> None:
        split = self.splits["train"]
        sizes, self.eval_sizes = compute_batch_sizes(
            self.settings, self.evaluation, split, self.replicas
        )
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

    def steps(self, duration: Duration) -> int:
        """Converts a duration to steps of this run's batches."""
        return to_steps(duration, self.batches.count, self.batches.num_examples)

    # Model, optimizer and train step.

    def build(self) -> None:
        """Builds the model, the state, the train step and the evaluator."""
        settings, seed = self.settings, self.experiment.seed
        self.progress.note("building the model")
        keras.utils.set_random_seed(seed)
        if not set_determinism(settings.deterministic):
            self.progress.say("Determinism was enabled by an earlier run in this process")
        with self.strategy.scope():
            with dtype_policy(settings.precision):
                self.model = self.task.build_model(self.experiment.model)
                self.parameters = _count_scalars(self.model.trainable_variables)
                self.state = TrainState(
                    self.model,
                    self.experiment.optimizer,
                    ema=settings.ema_decay is not None,
                    frozen=freeze(self.model, settings.freeze),
                    loss_scale=LossScale.from_config(settings),
                )
            precision = inference_precision(settings.precision)
            if precision == settings.precision:
                inference_model = self.model
            else:
                with dtype_policy(precision):
                    inference_model = self.task.build_model(self.experiment.model)
        self.trainable_parameters = _count_scalars(self.state.trainable)
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
        """Restores the state and the position in the data; see `modelzoo.training.restore`."""
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
        """Prints the summary of the run."""
        self.progress.table(summarize(self))

    # Training loop.

    def stream(self) -> Generator:
        """Yields training batches from the restored position on, distributed over the replicas."""
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
        """Trains from the restored step to the last step or an early stop.

        Raises:
            Interrupted: SIGINT or SIGTERM stopped the training; the state is saved.
            BrokenPipeError: the reader of the output closed the pipe; the state is saved.
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
            # An open stream could delay the exit of Python, whose threads it uses.
            with on_signals(self._on_signal), contextlib.closing(self.stream()) as stream:
                self._train(stream)
            events.flush()
        finally:
            log.close()
            events.close()

    def _on_signal(self, number: int, frame: Any) -> None:
        # Printing in the handler could interrupt a print, or fail if the reader stopped as well.
        if self.stop_signal is not None:
            raise KeyboardInterrupt
        self.stop_signal = number

    def _train(self, stream: Iterator) -> None:
        step, plan = self.meta.step, self.plan
        if step >= plan.total or self._is_stale():
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
                scale = " at the minimum loss scale" if self.state.loss_scale else ""
                raise UserError(
                    f"the loss, gradient or weights of step {bad} are not finite{scale}: lower "
                    "config.optimizer.learning_rate, lengthen its warmup or clip with "
                    f"config.train.clip_global_norm; {self._last_checkpoint()}"
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
            self._run_due()
            if self._is_stale():
                self.progress.say(
                    f"stopping early: {self.evaluation.best_metric} did not improve in "
                    f"{self.meta.stale} evaluations"
                )
                return

    def _call(self, batch: Any, count: int) -> dict[str, np.ndarray]:
        """Runs the steps; converts an error of XLA to advice."""
        try:
            return self.train_step(batch, count)
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            if not self.settings.xla:
                raise
            raise UserError(
                f"XLA cannot compile this step: {error.message.splitlines()[0]}; set "
                "config.train.xla=false, or config.train.deterministic=false for an operation "
                "without a deterministic form"
            ) from error

    def _run_due(self) -> None:
        """Runs what is due at this step: records, evaluation, checkpoint or stop."""
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
                self.meta = self.meta.with_evaluation(
                    metric, metrics, self.task.objective.lower_is_better
                )
                save |= self.meta.best_step == step
        save |= self._is_stale()
        if save or self.stop_signal is not None or self.progress.broken:
            self._save(interim=not save)
        if self.stop_signal is not None:
            self.progress.clear()
            raise Interrupted(self.stop_signal, step)
        if self.progress.broken:
            raise BrokenPipeError

    def _is_stale(self) -> bool:
        patience = self.evaluation.patience
        return patience is not None and self.meta.stale >= patience

    @contextlib.contextmanager
    def _explain_memory(self) -> Iterator[None]:
        """Converts an error for lack of memory inside the block to advice."""
        try:
            yield
        except (MemoryError, tf.errors.ResourceExhaustedError):
            raise UserError(
                f"out of memory after step {self.meta.step}: lower "
                f"{describe_batch_size(self.experiment.train)} or config.eval.batch_size (now "
                f"{max(self.eval_sizes.values())}), or raise "
                f"config.train.accumulate; {self._last_checkpoint()}"
            ) from None

    def _last_checkpoint(self) -> str:
        """Describes the newest checkpoint, for messages."""
        steps = checkpoint.steps(self.workdir)
        return f"the checkpoint of step {steps[-1]} is kept" if steps else "no checkpoint was due"

    def _save(self, interim: bool) -> None:
        """Writes a checkpoint of this step and deletes old ones."""
        if self.meta.step not in checkpoint.steps(self.workdir):
            meta = dataclasses.replace(self.meta, interim=interim, pending=self.records.totals)
            checkpoint.write(self.workdir, self.state.arrays(), meta)
            checkpoint.prune(self.workdir, self.settings.keep_checkpoints, self.meta.best_step)

    # Final evaluation.

    def finish(self) -> dict[str, Any]:
        """Evaluates the test split with the final weights; writes and returns `result.json`."""
        paths = averaging.find_final(self.workdir, self.evaluation)
        chosen = averaging.steps(paths)
        if chosen != [self.meta.step]:
            arrays = averaging.read(paths)
            with self.strategy.scope():
                self.state.restore(arrays, chosen[-1])
        metrics = {}
        if "validation" in self.splits:
            step, validated = self.validated
            metrics["validation"] = validated if [step] == chosen else self.evaluate("validation")
            last, mean = validated.get("loss", math.inf), metrics["validation"]["loss"]
            if len(chosen) > 1 and mean > last:
                self.progress.say(
                    f"the mean of {len(chosen)} checkpoints is worse than the last one: validation "
                    f"loss {mean:.4f}, not {last:.4f}; set config.eval.average_checkpoints=1"
                )
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


def _count_scalars(variables: Iterable[keras.Variable]) -> int:
    """Returns the number of scalars in the variables."""
    return sum(math.prod(v.shape) for v in variables)
