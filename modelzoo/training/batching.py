"""Batch sizes of a run on several replicas."""

from modelzoo.data.batches import batch_sizes
from modelzoo.data.split import Split
from modelzoo.fields.errors import UserError
from modelzoo.training.config import BATCH_SIZE, EvalConfig, TrainConfig

Sizes = dict[int, int]
"""Number of examples per batch, by bucket."""


def compute_batch_sizes(
    train: TrainConfig, evaluation: EvalConfig, split: Split, replicas: int
) -> tuple[Sizes, Sizes]:
    """Returns the sizes of the batches of training and of evaluation.

    Args:
        train: settings of training.
        evaluation: settings of evaluation.
        split: the training split.
        replicas: number of replicas.

    Raises:
        UserError: a size is impossible, or does not divide into equal parts for replicas and
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
            f"config.train.batch_size must be an even number per replica for mixup and cutmix, got "
            f"{odd} on {replicas} replica(s)"
        )
    if evaluation.batch_size is None:
        return sizes, sizes
    if evaluation.batch_size % replicas:
        raise UserError(
            f"config.eval.batch_size must be a multiple of {replicas} replicas, "
            f"got {evaluation.batch_size}"
        )
    return sizes, dict.fromkeys(sizes, evaluation.batch_size)


def describe_batch_size(train: TrainConfig) -> str:
    """Returns the field that sets the batch size, and its value, for a message."""
    if train.tokens_per_batch is not None:
        return f"config.train.tokens_per_batch (now {train.tokens_per_batch})"
    return f"config.train.batch_size (now {train.batch_size or BATCH_SIZE})"
