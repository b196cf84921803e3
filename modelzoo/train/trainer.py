"""The trainer: from parts to a finished run folder, in named sections."""

import contextlib
import dataclasses
import itertools
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from modelzoo.data.order import Order
from modelzoo.data.pipeline import evaluation_dataset, training_dataset
from modelzoo.distribute.strategy import describe, device_names
from modelzoo.errors import UserError
from modelzoo.measure.flops import forward_flops
from modelzoo.train import checkpoint, run_folder
from modelzoo.train.evaluation import Evaluator
from modelzoo.train.length import Length, to_steps
from modelzoo.train.plan import Plan
from modelzoo.train.precision import dtype_policy, inference_precision
from modelzoo.train.progress import Progress, count
from modelzoo.train.records import Events, Records
from modelzoo.train.settings import Evaluation, Train
from modelzoo.train.signals import Interrupted, on_signals
from modelzoo.train.state import TrainState
from modelzoo.train.step import TrainStep


class Trainer:
    """One run: an experiment's parts on a strategy, in a folder.

    experiment: the parts by name: model, task, data, optimizer, train, eval, seed.
    Raises UserError where parts do not fit each other.
    """

    def __init__(
        self, experiment: Any, workdir: Path, strategy: tf.distribute.Strategy, progress: Progress
    ):
        self.experiment = experiment
        self.settings: Train = experiment.train
        self.evaluation: Evaluation = experiment.eval
        self.workdir = workdir
        self.strategy = strategy
        self.replicas = strategy.num_replicas_in_sync
        self.progress = progress
        self.validated: dict[int, dict[str, Any]] = {}  # Scores by step.
        self.meta = checkpoint.Meta(step=0, examples=0)

    # What the data knows, and what follows from it.

    def open_data(self) -> None:
        """Opens the splits that the run needs, so that what is missing shows at once."""
        data = self.experiment.data
        self.splits = {"train": data.open("train")}
        if self.evaluation.every is not None and data.validation_split is not None:
            self.splits["validation"] = data.open("validation")
        elif self.evaluation.best_metric is not None:
            raise UserError(
                "config.eval.best_metric needs a validation split: set "
                "config.data.validation_split, such as 'train[90%:]'"
            )
        if self.evaluation.test_at_end and data.test_split is not None:
            self.splits["test"] = data.open("test")
        for role, source in self.splits.items():
            if source.skipped:
                name, reason = source.skipped[0]
                self.progress.say(
                    f"skipped {len(source.skipped)} bad image(s) of the {role} split, "
                    f"the first: {name}: {reason}"
                )
        self.spec = self.splits["train"].spec
        self.task = self.experiment.task.bind(self.spec)
        self._plan_lengths()

    def _plan_lengths(self) -> None:
        settings, evaluation = self.settings, self.evaluation
        parts = self.replicas * settings.accumulate
        if settings.batch_size % parts:
            raise UserError(
                f"config.train.batch_size must be a multiple of {self.replicas} replica(s) x "
                f"{settings.accumulate} micro-batch(es) = {parts}, got {settings.batch_size}"
            )
        self.eval_batch_size = evaluation.batch_size or settings.batch_size
        if self.eval_batch_size % self.replicas:
            raise UserError(
                f"config.eval.batch_size must be a multiple of {self.replicas} replicas, "
                f"got {self.eval_batch_size}"
            )
        total = self.steps(settings.steps)
        self.plan = Plan(
            total=total,
            log_every=self.steps(settings.log_every),
            checkpoint_every=self.steps(settings.checkpoint_every),
            eval_every=self.steps(evaluation.every) if "validation" in self.splits else None,
            loop=settings.steps_per_loop,
        )
        optimizer = self.experiment.optimizer
        try:
            factor = optimizer.schedule.bind(total, self.steps)
        except ValueError as error:
            raise UserError(f"config.optimizer.schedule.{error}") from None
        self.learning_rate = lambda step: optimizer.learning_rate * factor(step)

    def steps(self, length: Length) -> int:
        """A length in steps of this run's batches."""
        return to_steps(length, self.settings.batch_size, self.splits["train"].num_examples)

    # Model, optimizer, step.

    def build(self) -> None:
        """Builds everything that has variables, in the strategy's scope."""
        settings, seed = self.settings, self.experiment.seed
        keras.utils.set_random_seed(seed)
        if settings.deterministic:
            tf.config.experimental.enable_op_determinism()
        with self.strategy.scope():
            with dtype_policy(settings.precision):
                self.model = self._build_model()
                self.state = TrainState(
                    self.model, self.experiment.optimizer, ema=settings.ema_decay is not None
                )
            precision = inference_precision(settings.precision)
            if precision == settings.precision:
                inference_model = self.model
            else:
                with dtype_policy(precision):
                    inference_model = self._build_model()
        self.train_step = TrainStep(
            self.task, self.state, settings, self.learning_rate, self.strategy, seed
        )
        self.evaluator = Evaluator(inference_model, self.task, self.strategy)
        self._check_metric()

    def _check_metric(self) -> None:
        """Raises UserError where `best_metric` is no score of the task: not hours later."""
        name = self.evaluation.best_metric
        if name is None:
            return
        sums = self._sums("validation", self.evaluation.weights, batches=1)
        scores = self.task.scores({key: np.ones_like(value) for key, value in sums.items()})
        if not isinstance(scores.get(name), float):
            there = ", ".join(k for k, v in scores.items() if isinstance(v, float))
            raise UserError(f"config.eval.best_metric must be one of {there}; got {name!r}")

    def _build_model(self) -> keras.Model:
        """The model; a field that does not fit the data is told by its key."""
        config = self.experiment.model
        try:
            return self.task.build_model(config)
        except ValueError as error:
            # The models name the field first; anything else is no mistake of the config.
            if str(error).split(" ")[0] not in vars(config):
                raise
            raise UserError(f"config.model.{error}") from None

    # Restoring: a checkpoint of this run, else init_from, else from scratch.

    def restore(self) -> None:
        """Sets the state from the last checkpoint, from `init_from`, or leaves the fresh one."""
        self.started = "from scratch"
        if checkpoint.steps(self.workdir):
            path = checkpoint.find(self.workdir, "last")
            self.meta = checkpoint.read_meta(path)
            with self.strategy.scope():
                self.state.restore(checkpoint.read(path), self.meta.step)
            self.started = f"resumed at step {self.meta.step}"
        elif self.settings.init_from is not None:
            path = checkpoint.resolve(self.settings.init_from)
            with self.strategy.scope():
                self.state.start_from(checkpoint.read(path), self.evaluation.weights)
            self.started = f"weights from {path}"

    # What a person sees first.

    def summarize(self) -> None:
        """Prints devices, batches, sizes and lengths."""
        settings, source = self.settings, self.splits["train"]
        self.parameters = sum(int(np.prod(v.shape)) for v in self.state.trainable)
        decayed = sum(self.experiment.optimizer.decays(v.path) for v in self.state.trainable)
        flops = forward_flops(self.model)
        per_replica = settings.batch_size // self.replicas
        batch = f"{settings.batch_size} = {self.replicas} replica(s) x {per_replica}"
        if settings.accumulate > 1:
            batch += f", in {settings.accumulate} micro-batches"
        epochs = self.plan.total * settings.batch_size / source.num_examples
        splits = ", ".join(f"{name} {s.num_examples:,}" for name, s in self.splits.items())
        model = type(self.experiment.model).__name__
        optimizer = type(self.experiment.optimizer).__name__
        self.progress.table(
            {
                "devices": describe(self.strategy),
                "data": f"{splits} examples; {self.spec.num_classes} classes, "
                f"images {'x'.join(map(str, self.spec.shape))}",
                "model": f"{model}, {self.parameters:,} parameters, {count(flops)}FLOP forward "
                f"an example, {settings.precision}{', XLA' if settings.xla else ''}",
                "batch": batch,
                "optimizer": f"{optimizer}, weight decay on {decayed} of "
                f"{len(self.state.trainable)} variables",
                "steps": f"{self.plan.total:,} ({epochs:.4g} epochs), {self.started}",
                "folder": str(self.workdir),
            }
        )

    # The loop.

    def distribute(self, make: Callable[[], tf.data.Dataset]) -> Iterable:
        """A data set whose elements are one batch for each replica of the strategy."""
        return self.strategy.distribute_datasets_from_function(lambda context: make())

    def batches(self) -> Iterator:
        """Training batches from the restored position on."""
        return iter(
            self.distribute(
                lambda: training_dataset(
                    self.splits["train"],
                    self.task.features,
                    seed=self.experiment.seed,
                    first_example=self.meta.examples,
                    batch_size=self.settings.batch_size,
                    chunks=self.plan.chunks(self.meta.step),
                    loop=self.plan.loop,
                    replicas=self.replicas,
                )
            )
        )

    def train(self) -> None:
        """Trains from the restored step to the last, or to an early stop.

        Raises Interrupted after SIGINT or SIGTERM, once the state is saved, and UserError where a
        loss or gradient is not finite.
        """
        log = run_folder.MetricsLog(self.workdir, self.meta.step)
        events = Events(self.workdir)
        self.stop_signal: int | None = None
        try:
            with on_signals(self._on_signal):
                self._train(
                    Records(
                        log,
                        events,
                        self.progress,
                        self.task,
                        steps=self.plan.total,
                        batch_size=self.settings.batch_size,
                        examples_per_epoch=self.splits["train"].num_examples,
                    )
                )
            events.flush()
        finally:
            log.close()
            events.close()

    def _on_signal(self, number: int, frame: Any) -> None:
        if self.stop_signal is not None:
            raise KeyboardInterrupt
        self.stop_signal = number
        self.progress.say("stopping after this step; once more to stop at once without saving")

    def _train(self, records: Records) -> None:
        step, plan = self.meta.step, self.plan
        if step >= plan.total or self._stale():
            return
        before, began = self.meta.seconds, time.perf_counter()
        iterator = self.batches()
        for chunk in plan.chunks(step):
            waited = time.perf_counter()
            with self._told("train", self._next_rows):
                batch = next(iterator)
                called = time.perf_counter()
                report = self.train_step(batch, chunk)
            if not report["ok"].all():
                bad = step + int(np.argmin(report["ok"])) + 1
                raise UserError(
                    f"the loss or gradient of step {bad} is not finite: lower "
                    "config.optimizer.learning_rate, lengthen its warmup or clip with "
                    f"config.train.clip_global_norm; {self._kept()}"
                )
            step += chunk
            records.add(report, called - waited, time.perf_counter() - called)
            self.meta = dataclasses.replace(
                self.meta,
                step=step,
                examples=self.meta.examples + chunk * self.settings.batch_size,
                seconds=before + time.perf_counter() - began,
            )
            save = step % plan.checkpoint_every == 0 or step == plan.total
            if step % plan.log_every == 0 or step == plan.total:
                records.train(step)
            if plan.eval_every and (step % plan.eval_every == 0 or step == plan.total):
                scores = self.evaluate("validation")
                self.validated[step] = scores
                records.eval(step, scores)
                save |= self._judge(step, scores)
            if save or self.stop_signal is not None or self._stale():
                self.save()
            if self.stop_signal is not None and step < plan.total:
                raise Interrupted(self.stop_signal, step)
            if self._stale():
                self.progress.say(
                    f"stopping early: no better {self.evaluation.best_metric} in "
                    f"{self.meta.stale} evaluations"
                )
                return

    @contextlib.contextmanager
    def _told(self, split: str, rows: Callable[[], np.ndarray]) -> Iterator[None]:
        """Tells what fails over batches of a split in one line: the bad image among its `rows`."""
        try:
            yield
        except (MemoryError, tf.errors.ResourceExhaustedError):
            raise UserError(
                f"out of memory after step {self.meta.step}: lower config.train.batch_size (now "
                f"{self.settings.batch_size}) or config.eval.batch_size (now "
                f"{self.eval_batch_size}), or raise config.train.accumulate; {self._kept()}"
            ) from None
        except tf.errors.OpError as error:
            self.splits[split].check(rows())
            raise UserError(f"a batch of the {split} split failed: {error.message}") from error

    def _next_rows(self) -> np.ndarray:
        order = Order(self.experiment.seed, self.splits["train"].num_examples)
        return order.rows(self.meta.examples, self.settings.batch_size * self.plan.loop)[0]

    def _kept(self) -> str:
        there = checkpoint.steps(self.workdir)
        return f"the checkpoint of step {there[-1]} is kept" if there else "no checkpoint was due"

    # Scores, and what follows from them.

    def evaluate(self, split: str) -> dict[str, Any]:
        """Scores of a split; with a moving average, those of the raw weights stand in `raw`."""
        evaluation = self.evaluation
        scores = self._scores(split, evaluation.weights)
        if self.state.average and evaluation.weights == "ema":
            scores["raw"] = self._scores(split, "raw")
        return scores

    def _scores(self, split: str, weights: str) -> dict[str, Any]:
        return self.task.scores(self._sums(split, weights))

    def _sums(self, split: str, weights: str, batches: int | None = None) -> dict[str, np.ndarray]:
        """The counts over a split, or over its first batches."""
        source = self.splits[split]
        dataset = self.distribute(
            lambda: evaluation_dataset(
                source,
                self.task.features,
                batch_size=self.eval_batch_size,
                replicas=self.replicas,
            )
        )
        with self._told(split, lambda: np.arange(source.num_examples)):
            return self.evaluator(itertools.islice(dataset, batches), self.state.served(weights))

    def _judge(self, step: int, scores: dict[str, Any]) -> bool:
        """Remembers the best score; True where this one is it."""
        name = self.evaluation.best_metric
        if name is None:
            return False
        score, best = scores[name], self.meta.best_score
        better = best is None or (score < best if name == "loss" else score > best)
        if better:
            self.meta = dataclasses.replace(self.meta, best_step=step, best_score=score, stale=0)
        else:
            self.meta = dataclasses.replace(self.meta, stale=self.meta.stale + 1)
        return better

    def _stale(self) -> bool:
        patience = self.evaluation.patience
        return patience is not None and self.meta.stale >= patience

    def save(self) -> None:
        """Writes a checkpoint of the step now and deletes those that are not kept."""
        if self.meta.step not in checkpoint.steps(self.workdir):
            checkpoint.write(self.workdir, self.state.arrays(), self.meta)
            checkpoint.prune(self.workdir, self.settings.keep_checkpoints, self.meta.best_step)

    # The end.

    def finish(self) -> dict[str, Any]:
        """Scores the test split with the weights that would be served; writes `result.json`."""
        chosen = self.meta.step
        if self.evaluation.best_metric is not None and self.meta.best_step is not None:
            chosen = self.meta.best_step
            if chosen != self.meta.step:
                arrays = checkpoint.read(checkpoint.find(self.workdir, chosen))
                with self.strategy.scope():
                    self.state.restore(arrays, chosen)
        scores = {}
        if "validation" in self.splits:
            known = self.validated.get(chosen)
            scores["validation"] = self.evaluate("validation") if known is None else known
        if "test" in self.splits:
            scores["test"] = self.evaluate("test")
        result = {
            "eval": scores,
            "steps": self.meta.step,
            "evaluated_step": chosen,
            "seconds": round(self.meta.seconds, 2),
            "parameters": self.parameters,
            "devices": device_names(self.strategy),
            "versions": {
                "python": platform.python_version(),
                "tensorflow": tf.__version__,
                "keras": keras.__version__,
                "numpy": np.__version__,
            },
        }
        run_folder.write_json(self.workdir / "result.json", result)
        return result
