"""Batch sizes of a run on a number of replicas."""

from modelzoo.data.batches import batch_sizes
from modelzoo.data.split import Split
from modelzoo.fields.errors import UserError
from modelzoo.training.config import BATCH_SIZE, EvalConfig, TrainConfig

Sizes = dict[int, int]
"""Examples of a batch by bucket."""


def sizes_of(
    train: TrainConfig, evaluation: EvalConfig, split: Split, replicas: int
) -> tuple[Sizes, Sizes]:
    """Sizes of the training batches and of those of evaluation.

    Args:
        train, evaluation: the settings.
        split: the training split.
        replicas: number of replicas.

    Raises:
        UserError: a size is impossible, or cannot be divided into equal parts for replicas and
            micro-batches.
    """
    size, parts = train.batch_size, replicas * train.accumulate
    if train.tokens_per_batch is None:
        size = size or BATCH_SIZE
    if size and size % parts:
        raise UserError(
            f"config.train.batch_size must be a multiple of {replicas} replica(s) x "
            f"{train.accumulate} micro-batch(es) = {parts}, got {size}"
        )
    sizes = batch_sizes(split, size, train.tokens_per_batch, parts)
    odd = next((n for n in sizes.values() if n // replicas % 2), None)
    if split.bound.pairs_examples and odd is not None:
        raise UserError(
            f"config.train.batch_size must give each of {replicas} replica(s) an even number of "
            f"examples, since mixup and cutmix pair them, got {odd}"
        )
    if evaluation.batch_size is None:
        return sizes, sizes
    if evaluation.batch_size % replicas:
        raise UserError(
            f"config.eval.batch_size must be a multiple of {replicas} replicas, "
            f"got {evaluation.batch_size}"
        )
    return sizes, dict.fromkeys(sizes, evaluation.batch_size)


def size_key(train: TrainConfig) -> str:
    """The field that decides the size of a batch, and its value, for a message."""
    if train.tokens_per_batch is not None:
        return f"config.train.tokens_per_batch (now {train.tokens_per_batch})"
    return f"config.train.batch_size (now {train.batch_size or BATCH_SIZE})"
