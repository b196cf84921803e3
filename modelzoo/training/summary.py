"""The summary of a run before it starts."""

import collections
from collections.abc import Iterable
from typing import TYPE_CHECKING

from modelzoo.distribution.strategy import describe
from modelzoo.measure.flops import count_forward_flops
from modelzoo.optimizers.pure_optimizer import PureOptimizer
from modelzoo.training.progress import count

if TYPE_CHECKING:
    from modelzoo.training.trainer import Trainer


def summary(trainer: "Trainer") -> dict[str, str]:
    """Devices, data, sizes and durations of a built and restored run, by name."""
    settings, experiment = trainer.settings, trainer.experiment
    variables, splits = trainer.state.trainable, trainer.splits
    replicas, batches = trainer.replicas, trainer.batches
    buckets = trainer.bound.buckets
    if not buckets.widths:
        words = f"{batches.sizes[0]} = {replicas} replica(s) x {batches.sizes[0] // replicas}"
    else:
        sizes = zip(batches.sizes, batches.buckets, strict=True)
        words = ", ".join(f"{size} x {buckets.label(bucket)}" for size, bucket in sizes)
        words += f" tokens, on {replicas} replica(s)"
    if settings.accumulate > 1:
        words += f", in {settings.accumulate} micro-batches"
    sizes = ", ".join(f"{name} {split.num_examples:,}" for name, split in splits.items())
    if "validation" not in splits:
        sizes += ", no validation"
    frozen = trainer.parameters - trainer.trainable_parameters
    frozen = f"{frozen:,} of them frozen, " if frozen else ""
    epochs = trainer.plan.total * trainer.batches.mean_size / trainer.batches.num_examples
    optimizer = experiment.optimizer
    schedule = optimizer.schedule.describe(trainer.plan.total, trainer.steps)
    return {
        "devices": describe(trainer.strategy),
        "data": f"{sizes}; {trainer.task.describe()}",
        "model": f"{type(experiment.model).__name__}, {trainer.parameters:,} parameters, {frozen}"
        f"{count(count_forward_flops(trainer.model))}FLOP forward an example, {settings.precision}"
        f"{', XLA' if settings.xla else ''}",
        "batch": words,
        "optimizer": f"{optimizer.describe(variables)}, rate {optimizer.learning_rate:.3g}, "
        f"{schedule}, {', '.join(_by_variable(trainer.state.optimizer))}",
        "steps": f"{trainer.plan.total:,} ({epochs:.4g} epochs), {trainer.started}",
        "folder": str(trainer.workdir),
    }


def _by_variable(optimizer: PureOptimizer) -> list[str]:
    """Learning rate factors and weight decays, with the number of variables of each."""
    number = len(optimizer.targets)
    rates = _counts("x ", (rate for rate in optimizer.rates if rate != 1))
    decays = _counts("", (decay for decay in optimizer.decays if decay))
    return [
        *([f"{rates} of {number} variables"] if rates else []),
        f"weight decay {decays} of {number} variables" if decays else "no weight decay",
    ]


def _counts(sign: str, values: Iterable[float]) -> str:
    """Such as `x 0.1 on 3, x 0.5 on 12`."""
    counts = sorted(collections.Counter(values).items())
    return ", ".join(f"{sign}{value:.3g} on {times}" for value, times in counts)
