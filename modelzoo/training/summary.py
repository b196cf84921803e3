"""Summary of a run before it starts."""

import collections
from collections.abc import Iterable
from typing import TYPE_CHECKING

from modelzoo.data.label_checks import describe_names
from modelzoo.distribution.strategy import describe
from modelzoo.measure.flops import count_forward_flops
from modelzoo.optimizers.pure_optimizer import PureOptimizer
from modelzoo.training.progress import format_count

if TYPE_CHECKING:
    from modelzoo.training.trainer import Trainer


def summarize(trainer: "Trainer") -> dict[str, str]:
    """Returns devices, data, sizes and durations of a built and restored run, by name."""
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
    examples = ", ".join(f"{name} {split.num_examples:,}" for name, split in splits.items())
    if "validation" not in splits:
        examples += ", no validation"
    number = trainer.parameters - trainer.trainable_parameters
    frozen = f"{number:,} of them frozen, " if number else ""
    epochs = trainer.plan.total / batches.count(batches.num_examples)
    optimizer = experiment.optimizer
    schedule = optimizer.schedule.describe(trainer.plan.total, trainer.steps)
    target = trainer.bound.get_target()
    names = {target.noun: describe_names(splits["train"])} if target.names else {}
    flops = format_count(count_forward_flops(trainer.model))
    return {
        "devices": describe(trainer.strategy),
        "data": f"{examples}; {trainer.task.describe()}",
        **names,
        "model": f"{type(experiment.model).__name__}, {trainer.parameters:,} parameters, {frozen}"
        f"{flops}FLOP forward per example, {settings.precision}{', XLA' if settings.xla else ''}",
        "batch": words,
        "optimizer": f"{optimizer.describe(variables)}, rate {optimizer.learning_rate:.3g}, "
        f"{schedule}, {', '.join(_describe_multipliers(trainer.state.optimizer))}",
        "steps": f"{trainer.plan.total:,} ({epochs:.4g} epochs), {trainer.started}",
        "folder": str(trainer.workdir),
    }


def _describe_multipliers(optimizer: PureOptimizer) -> list[str]:
    """Describes the learning rate factors and weight decays, with their numbers of variables."""
    number = len(optimizer.targets)
    rates = _describe_values("x ", (rate for rate in optimizer.rates if rate != 1))
    decays = _describe_values("", (decay for decay in optimizer.decays if decay))
    return [
        *([f"{rates} of {number} variables"] if rates else []),
        f"weight decay {decays} of {number} variables" if decays else "no weight decay",
    ]


def _describe_values(sign: str, values: Iterable[float]) -> str:
    """Describes values and their frequencies: `x 0.1 on 3, x 0.5 on 12`."""
    counts = sorted(collections.Counter(values).items())
    return ", ".join(f"{sign}{value:.3g} on {times}" for value, times in counts)
