"""What a person sees before a run starts."""

from typing import TYPE_CHECKING

from modelzoo.distribute.strategy import describe
from modelzoo.measure.flops import forward_flops
from modelzoo.train.progress import count

if TYPE_CHECKING:
    from modelzoo.train.trainer import Trainer


def summary(trainer: "Trainer") -> dict[str, str]:
    """Devices, data, sizes and lengths of a run that is built and restored, by name."""
    settings, experiment = trainer.settings, trainer.experiment
    variables, splits = trainer.state.trainable, trainer.splits
    batch = settings.batch_size
    words = f"{batch} = {trainer.replicas} replica(s) x {batch // trainer.replicas}"
    if settings.accumulate > 1:
        words += f", in {settings.accumulate} micro-batches"
    sizes = ", ".join(f"{name} {source.num_examples:,}" for name, source in splits.items())
    if "validation" not in splits:
        sizes += ", no validation"
    epochs = trainer.plan.total * batch / splits["train"].num_examples
    optimizer = experiment.optimizer
    decayed = sum(optimizer.decays(v.path) for v in variables)
    warmup = trainer.steps(optimizer.schedule.warmup)
    rate = f"rate {optimizer.learning_rate:.3g}, {type(optimizer.schedule).__name__}"
    if warmup:
        never = ", which the run never ends" if warmup > trainer.plan.total else ""
        rate += f" after {warmup} steps of warmup{never}"
    return {
        "devices": describe(trainer.strategy),
        "data": f"{sizes}; {trainer.task.describe()}",
        "model": f"{type(experiment.model).__name__}, {trainer.parameters:,} parameters, "
        f"{count(forward_flops(trainer.model))}FLOP forward an example, {settings.precision}"
        f"{', XLA' if settings.xla else ''}",
        "batch": words,
        "optimizer": f"{type(optimizer).__name__}, {rate}, weight decay on {decayed} of "
        f"{len(variables)} variables",
        "steps": f"{trainer.plan.total:,} ({epochs:.4g} epochs), {trainer.started}",
        "folder": str(trainer.workdir),
    }
