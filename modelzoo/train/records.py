"""What a run reports as it goes: to the person, to `metrics.jsonl` and to TensorBoard."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from modelzoo.tasks.task import Task
from modelzoo.train.progress import Progress, duration, score_words
from modelzoo.train.run_folder import MetricsLog, refused

# What `tf.summary.scalar` writes too, which is there only where TensorBoard is installed.
_SCALAR = tf.compat.v1.SummaryMetadata(
    plugin_data={"plugin_name": "scalars"}, data_class="DATA_CLASS_SCALAR"
)


class Events:
    """TensorBoard's files of a run, in `tensorboard/`; UserError where the disk refuses them."""

    def __init__(self, workdir: Path):
        self.path = workdir / "tensorboard"
        with self._told():
            self._writer = tf.summary.create_file_writer(str(self.path))

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except tf.errors.OpError as error:
            reason = error.message.splitlines()[0].rpartition("; ")[2]
            raise refused(self.path, reason) from None

    def write(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        """Adds one scalar for each value; what is buffered is written now and then."""
        with self._told(), self._writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.write(f"{kind}/{name}", tf.constant(value, tf.float32), metadata=_SCALAR)

    def flush(self) -> None:
        """Writes what is buffered."""
        with self._told():
            self._writer.flush()

    def close(self) -> None:
        """Closes the file, whatever is lost by it."""
        with contextlib.suppress(tf.errors.OpError):
            self._writer.close()


class Records:
    """What a run reports between two log points, to the person, the file and TensorBoard."""

    def __init__(
        self,
        log: MetricsLog,
        events: Events,
        progress: Progress,
        task: Task,
        steps: int,
        batch_size: int,
        examples_per_epoch: int,
    ):
        self.log = log
        self.events = events
        self.progress = progress
        self.task = task
        self.steps = steps
        self.batch_size = batch_size
        self.examples_per_epoch = examples_per_epoch
        self.warm = False
        self._reset()

    def _reset(self) -> None:
        self.reports: list[dict[str, np.ndarray]] = []
        self.waited = self.worked = 0.0
        self.timed_steps = 0

    def add(self, report: dict[str, np.ndarray], waited: float, worked: float) -> None:
        """Adds one call's report; the first call, which traces and compiles, is not timed."""
        self.reports.append(report)
        if self.warm:
            self.waited += waited
            self.worked += worked
            self.timed_steps += len(report["ok"])
        self.warm = True

    def train(self, step: int) -> None:
        """Writes what was added since the last time."""
        sums = {
            name: np.concatenate([report[name] for report in self.reports]).astype(np.float64)
            for name in self.reports[0]
        }
        values = {}
        if sums["loss_weight"].any():
            values["loss"] = sums["loss_sum"].sum() / sums["loss_weight"].sum()
            own = {"loss_sum", "loss_weight", "ok", "grad_norm", "learning_rate"}
            values |= self.task.scores({k: v.sum() for k, v in sums.items() if k not in own})
        values |= {k: sums[k][-1] for k in ("learning_rate", "grad_norm")}
        elapsed = self.waited + self.worked
        if self.timed_steps:
            rate = self.timed_steps * self.batch_size / elapsed
            values |= {"examples_per_sec": rate, "data_wait": self.waited / elapsed}
        values["epoch"] = step * self.batch_size / self.examples_per_epoch
        values = {k: float(f"{v:.6g}") for k, v in values.items()}
        self._write(step, "train", values)
        self.progress.update(self._fields(step, values))
        self._reset()

    def _fields(self, step: int, values: dict[str, float]) -> list[str]:
        """The words of a line of progress, the most wanted first."""
        fields = [f"step {step}/{self.steps}", score_words(values, self.task.headline)]
        if "examples_per_sec" in values:
            rate = values["examples_per_sec"]
            left = duration((self.steps - step) * self.batch_size / rate)
            fields.insert(1, f"left {left}")
            fields += [f"{rate:,.0f} examples/s", f"data wait {values['data_wait']:.1%}"]
        return [*fields, f"lr {values['learning_rate']:.3g}", f"epoch {values['epoch']:.2f}"]

    def eval(self, step: int, scores: dict[str, Any]) -> None:
        """Writes and shows the scores of the validation split."""
        values = {k: v for k, v in scores.items() if isinstance(v, float)}
        raw = scores.get("raw", {})
        values |= {f"raw_{k}": v for k, v in raw.items() if isinstance(v, float)}
        self._write(step, "eval", values)
        self.progress.say(f"step {step}  validation: {score_words(scores, self.task.headline)}")

    def _write(self, step: int, kind: str, values: dict[str, float]) -> None:
        self.log.write(step, kind, **values)
        self.events.write(step, kind, values)
