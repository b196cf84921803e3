"""Records of a run's progress: as printed lines, in `metrics.jsonl` and in TensorBoard."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from modelzoo.data.batches import Batch
from modelzoo.data.split import Split
from modelzoo.tasks.task import Task, scalar_metrics
from modelzoo.training.progress import Progress, format_metrics, format_seconds, format_signatures
from modelzoo.training.run_folder import MetricsLog, write_error

# As in `tf.summary.scalar`, which requires an installed TensorBoard.
_SCALAR = tf.compat.v1.SummaryMetadata(
    plugin_data={"plugin_name": "scalars"}, data_class="DATA_CLASS_SCALAR"
)


# A record has the last value of these, and the sums of the other values except `_FLAGS`.
_LAST = ("learning_rate", "grad_norm")
_FLAGS = ("ok", "alive", "loss_scale")


class Events:
    """TensorBoard's files of a run from `step` on, in `tensorboard/`.

    Raises:
        UserError: the files cannot be written.
    """

    def __init__(self, workdir: Path, step: int = 0):
        self.path = workdir / "tensorboard"
        # Makes TensorBoard discard later steps of an earlier process; it ignores the first one.
        start = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
        event = tf.compat.v1.Event(step=step + 1, wall_time=time.time(), session_log=start)
        with self._converted_errors():
            self._writer = tf.summary.create_file_writer(str(self.path))
            resource = self._writer._resource
            tf.raw_ops.ImportEvent(writer=resource, event=event.SerializeToString())

    @contextlib.contextmanager
    def _converted_errors(self) -> Iterator[None]:
        try:
            yield
        except tf.errors.OpError as error:
            reason = error.message.splitlines()[0].rpartition("; ")[2]
            raise write_error(self.path, reason) from None

    def write(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        """Adds one scalar per value to the buffer."""
        with self._converted_errors(), self._writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.write(f"{kind}/{name}", tf.constant(value, tf.float32), metadata=_SCALAR)

    def flush(self) -> None:
        """Writes the buffer."""
        with self._converted_errors():
            self._writer.flush()

    def close(self) -> None:
        """Closes the file, even if the buffer is lost."""
        with contextlib.suppress(tf.errors.OpError):
            self._writer.close()


class Records:
    """Collects the reports of steps, and writes the records.

    `totals` holds the sums for the next record, without times. A checkpoint saves them, and
    `pending` restores them.
    """

    def __init__(
        self,
        log: MetricsLog,
        events: Events,
        progress: Progress,
        task: Task,
        steps: int,
        split: Split,
        pending: Mapping[str, float],
    ):
        self.log = log
        self.events = events
        self.progress = progress
        self.task = task
        self.steps = steps
        self.split = split
        self.traced: set[int] = set()
        self._signatures_printed = False
        self._reset()
        self.totals: dict[str, float] = dict(pending)

    def _reset(self) -> None:
        self.totals = {}
        self.waited = self.worked = 0.0
        self.timed = dict.fromkeys(("steps", "examples", "tokens"), 0)

    def add(
        self, report: dict[str, np.ndarray], waited: float, worked: float, batches: Sequence[Batch]
    ) -> None:
        """Adds the report of one call; a call that traces and compiles is not timed.

        Steps whose update was discarded only count as discarded.
        """
        applied = report["ok"] > 0
        totals = self.totals
        for name, values in report.items():
            if name in _LAST:
                finite = values[np.isfinite(values)]
                totals.update((name, float(value)) for value in finite[-1:])
            elif name not in _FLAGS:
                added = values[applied].astype(np.float64).sum()
                totals[name] = totals.get(name, 0.0) + float(added)
        if "loss_scale" in report:
            discarded = totals.get("discarded_steps", 0) + int((~applied).sum())
            totals |= {"discarded_steps": discarded, "loss_scale": int(report["loss_scale"][-1])}
        # The first call with a shape traces.
        if batches[0].bucket in self.traced:
            self.waited += waited
            self.worked += worked
            self.timed["steps"] += len(batches)
            self.timed["examples"] += sum(len(batch.rows) for batch in batches)
            tokens = self.split.tokens
            if tokens is not None:
                self.timed["tokens"] += int(sum(tokens[batch.rows].sum() for batch in batches))
        self.traced.add(batches[0].bucket)

    def train(self, step: int, examples: int) -> None:
        """Writes a record of the reports since the last one; `examples` is the total so far."""
        totals = dict(self.totals)
        shown = (*_LAST, "discarded_steps", "loss_scale")
        last = {name: totals.pop(name) for name in shown if name in totals}
        values = {}
        loss_sum, loss_weight = totals.pop("loss_sum"), totals.pop("loss_weight")
        if loss_weight:
            sums = {name: np.asarray(value) for name, value in totals.items()}
            values = {"loss": loss_sum / loss_weight, **self.task.objective.metrics(sums)}
        values |= last
        elapsed = self.waited + self.worked
        if self.timed["steps"]:
            values["examples_per_sec"] = self.timed["examples"] / elapsed
            if self.timed["tokens"]:
                values["tokens_per_sec"] = self.timed["tokens"] / elapsed
            values["data_wait"] = self.waited / elapsed
        values["epoch"] = examples / self.split.num_examples
        values = {k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in values.items()}
        self._write(step, "train", values)
        self.progress.update(self._fields(step, values))
        self._reset()

    def _fields(self, step: int, values: dict[str, float]) -> list[str]:
        """Returns the fields of a progress line, the most important first."""
        fields = [f"step {step}/{self.steps}", format_metrics(values, self.task.objective.headline)]
        if "examples_per_sec" in values:
            left = (self.steps - step) * (self.waited + self.worked) / self.timed["steps"]
            fields.insert(1, f"left {format_seconds(left)}")
            unit = "tokens" if "tokens_per_sec" in values else "examples"
            fields += [
                f"{values[f'{unit}_per_sec']:,.0f} {unit}/s",
                f"data wait {values['data_wait']:.1%}",
            ]
        return [*fields, f"lr {values['learning_rate']:.3g}", f"epoch {values['epoch']:.2f}"]

    def eval(self, step: int, metrics: dict[str, Any], samples: Sequence[str] = ()) -> None:
        """Writes and prints the metrics of the validation split, and prints the sample lines.

        The first call also prints the signatures of the metrics.
        """
        values = scalar_metrics(metrics)
        raw = scalar_metrics(metrics.get("raw", {}))
        values |= {f"raw_{name}": value for name, value in raw.items()}
        self._write(step, "eval", values)
        words = format_metrics(metrics, self.task.objective.headline)
        self.progress.say(f"step {step}  validation: {words}")
        if not self._signatures_printed:
            samples = [*(f"  {line}" for line in format_signatures(metrics)), *samples]
            self._signatures_printed = True
        for line in samples:
            self.progress.say(line)

    def _write(self, step: int, kind: str, values: Mapping[str, float | None]) -> None:
        self.log.write(step, kind, **values)
        self.events.write(step, kind, {k: v for k, v in values.items() if v is not None})
