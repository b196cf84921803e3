"""Which batch sizes a config asks for on a number of replicas, and what it cannot ask for."""

from modelzoo.data.batches import batch_sizes
from modelzoo.data.source import Source
from modelzoo.fields.errors import UserError
from modelzoo.training.config import BATCH_SIZE
from modelzoo.training.parts import ExperimentParts

Sizes = dict[int, int]
"""Rows of a batch by length."""


def sizes_of(experiment: ExperimentParts, source: Source, replicas: int) -> tuple[Sizes, Sizes]:
    """Sizes of the training batches and of those of evaluation.

    source: the training split. Raises UserError where they cannot be, or cannot be cut into equal
    parts for replicas and micro-batches.
    """
    settings, evaluation = experiment.train, experiment.eval
    size, parts = settings.batch_size, replicas * settings.accumulate
    tokens = getattr(experiment.data, "tokens_per_batch", None)
    if tokens is None:
        size = size or BATCH_SIZE
    elif size is not None:
        raise UserError(
            "config.train.batch_size must be none where config.data.tokens_per_batch decides, "
            f"got {size}"
        )
    if size and size % parts:
        raise UserError(
            f"config.train.batch_size must be a multiple of {replicas} replica(s) x "
            f"{settings.accumulate} micro-batch(es) = {parts}, got {size}"
        )
    if getattr(experiment.task, "pairs_examples", False) and size // replicas % 2:
        raise UserError(
            f"config.train.batch_size must give each of {replicas} replica(s) an even number of "
            f"examples, for mixup and cutmix pair them, got {size}"
        )
    sizes = batch_sizes(source, size, tokens, parts)
    if evaluation.batch_size is None:
        return sizes, sizes
    if evaluation.batch_size % replicas:
        raise UserError(
            f"config.eval.batch_size must be a multiple of {replicas} replicas, "
            f"got {evaluation.batch_size}"
        )
    return sizes, dict.fromkeys(sizes, evaluation.batch_size)


def size_key(experiment: ExperimentParts) -> str:
    """The field that decides how large a batch is, and its value, for a message."""
    tokens = getattr(experiment.data, "tokens_per_batch", None)
    if tokens is not None:
        return f"config.data.tokens_per_batch (now {tokens})"
    return f"config.train.batch_size (now {experiment.train.batch_size or BATCH_SIZE})"
