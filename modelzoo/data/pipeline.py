"""From a split and a plan of batches to `tf.data`, endless for training, once for evaluation."""

import itertools
import os
from collections.abc import Callable, Generator, Iterable, Sequence

import numpy as np
import tensorflow as tf

from modelzoo.data.batches import Batch, TrainingBatches
from modelzoo.data.columns import Tensors
from modelzoo.data.split import Split
from modelzoo.fields.hashing import mix

PARALLEL = os.cpu_count()
"""Parallel calls of a map. Fixed: TensorFlow's tuning thread delays the end of a run."""


def training_dataset(
    split: Split,
    batches: TrainingBatches,
    *,
    first_step: int,
    first_example: int,
    chunk: Callable[[int], int],
    loop: int,
    replicas: int,
    shard: int = 0,
    num_shards: int = 1,
) -> tf.data.Dataset:
    """The stream of full batches, in chunks of steps, split over replicas.

    For each chunk it yields one element per local replica in turn: batches of
    `BoundData.features` in training, as tensors `[loop, replica_batch, ...]`, with static shapes if
    all batches have the same. Steps beyond those of a chunk repeat its first and must not be
    trained on. Each replica of each shard takes contiguous rows of every batch. The seed of an
    example is that of the plan folded with the epoch, and its number.

    Args:
        split: the opened training split.
        batches: the plan of its batches; those of one chunk are from one bucket.
        first_step, first_example: where the stream begins, as a step and a position in the plan.
        chunk: steps of the chunk that begins at a step, at most `loop`; 0 ends the stream.
        loop: steps that fit in one element.
        replicas: number of replicas of this shard.
        shard, num_shards: number of this worker, and number of workers.
    """
    sizes = {_replica_batch(size, replicas, num_shards) for size in batches.sizes}
    flat = loop * sizes.pop() if len(sizes) == 1 else None

    def advance(step: np.ndarray, position: np.ndarray) -> tuple[np.int64, np.int64, np.int64]:
        """Steps of the chunk at a step, the step after it, and the position there."""
        count = chunk(int(step))
        after = batches.take(int(position), count)[1] if count else int(position)
        return np.int64(count), np.int64(step + count), np.int64(after)

    def plan(position: np.ndarray, count: np.ndarray, replica: np.ndarray) -> tuple:
        """Seeds int64 `[flat, 2]` and bucket of one replica's part of a chunk."""
        taken, _ = batches.take(int(position), int(count))
        taken += taken[:1] * (loop - len(taken))
        parts = []
        for rows, epochs, _ in taken:
            size = len(rows) // (replicas * num_shards)
            first = (shard * replicas + int(replica)) * size
            mine = slice(first, first + size)
            parts.append(np.stack([mix_seed(batches.seed, epochs[mine]), rows[mine]], -1))
        return np.concatenate(parts), np.int64(taken[0].bucket)

    # All functions are declared stateless: with a stateful one, or a generator, op determinism
    # allows neither parallel maps nor prefetching in the pipeline.
    def scan(state: tuple, _) -> tuple:
        step, position = state
        kinds = (tf.int64, tf.int64, tf.int64)
        count, *after = tf.numpy_function(advance, [step, position], kinds, stateful=False)
        for tensor in (count, *after):
            tensor.set_shape([])
        return tuple(after), (position, count)

    def per_replica(position: tf.Tensor, count: tf.Tensor) -> tf.data.Dataset:
        return tf.data.Dataset.range(replicas).map(
            lambda replica: tf.numpy_function(
                plan, [position, count, replica], (tf.int64, tf.int64), stateful=False
            )
        )

    def read(seeds: tf.Tensor, bucket: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        seeds = tf.ensure_shape(seeds, [flat, 2])
        return split.gather(seeds[:, 1], tf.ensure_shape(bucket, [])), seeds

    def make(raw: Tensors, seeds: tf.Tensor) -> Tensors:
        batch = split.bound.features(raw, training=True, seeds=seeds)
        return {name: _cut(value, loop) for name, value in batch.items()}

    start = (tf.constant(first_step, tf.int64), tf.constant(first_example, tf.int64))
    dataset = tf.data.Dataset.counter().scan(start, scan)
    dataset = dataset.take_while(lambda _, count: count > 0).flat_map(per_replica)
    return _finish(_mapped(dataset, read, make, split, flat, training=True), replicas)


def evaluation_dataset(
    split: Split,
    batches: Sequence[Batch],
    *,
    features: Callable[[Tensors], Tensors] | None = None,
    replicas: int,
    shard: int = 0,
    num_shards: int = 1,
) -> tf.data.Dataset:
    """The batches, once: of each one element per local replica in turn.

    Elements are tensors `[replica_batch, ...]`. All workers get the same number of them; rows that
    pad a batch have weight 0 and index -1.

    Args:
        split: the opened split.
        batches: the plan of its batches, see `evaluation_batches`.
        features: maps raw tensors to an element; None is `BoundData.features`.
        replicas, shard, num_shards: as in `training_dataset`.
    """
    features = features or (lambda raw: split.bound.features(raw, training=False))
    sizes = {_replica_batch(len(batch.rows), replicas, num_shards) for batch in batches}
    flat = sizes.pop() if len(sizes) == 1 else None
    parts = [
        np.array_split(batch.rows, replicas * num_shards)[shard * replicas + replica]
        for batch in batches
        for replica in range(replicas)
    ]
    buckets = np.repeat([batch.bucket for batch in batches], replicas)
    rows = tf.RaggedTensor.from_row_lengths(
        np.concatenate(parts), np.array([len(part) for part in parts])
    )
    dataset = tf.data.Dataset.from_tensor_slices((rows, buckets))

    def read(rows: tf.Tensor, bucket: tf.Tensor) -> tuple[Tensors]:
        return (split.gather(tf.ensure_shape(rows, [flat]), bucket),)

    return _finish(_mapped(dataset, read, features, split, flat, training=False), replicas)


def naming_bad_examples(
    batches: Iterable, split: Split, rows_of: Callable[[int], np.ndarray]
) -> Generator:
    """The batches; if one cannot be read or decoded, raises a UserError that names the example.

    `rows_of` maps the number of a batch, from 0, to its examples. Errors that none of them
    explains, and those of the caller, pass through unchanged.
    """
    batches = iter(batches)
    for number in itertools.count():
        try:
            batch = next(batches)
        except StopIteration:
            return
        except tf.errors.ResourceExhaustedError:
            raise
        except tf.errors.OpError:
            split.examine(rows_of(number))
            raise
        yield batch


def mix_seed(seed: int, epochs: np.ndarray) -> np.ndarray:
    """Folds epochs (int64 `[n]`) into a seed: int64 `[n]`."""
    folded = mix(np.array([seed & (1 << 64) - 1], np.uint64)) ^ np.asarray(epochs).astype(np.uint64)
    return mix(folded).view(np.int64)


def _replica_batch(batch_size: int, replicas: int, num_shards: int) -> int:
    if batch_size % (replicas * num_shards):
        raise ValueError(
            f"batch_size must be a multiple of the {replicas * num_shards} replicas, "
            f"got {batch_size}"
        )
    return batch_size // (replicas * num_shards)


def _cut(value: tf.Tensor, loop: int) -> tf.Tensor:
    """Flat rows as those of each step: `[loop * n, ...]` to `[loop, n, ...]`."""
    sizes = zip(value.shape, tf.unstack(tf.shape(value)), strict=True)
    rows, *rest = (static or dynamic for static, dynamic in sizes)
    return tf.reshape(value, [loop, rows // loop, *rest])


def _mapped(
    dataset: tf.data.Dataset,
    read: Callable[..., tuple],
    make: Callable[..., Tensors],
    split: Split,
    count: int | None,
    training: bool,
) -> tf.data.Dataset:
    """What `make` returns for what `read` returns: `count` raw examples, and their seeds.

    If an input prepares single examples, such as encoded images, all cores share one batch.
    """
    bound = split.bound
    rows = dataset.map(read, PARALLEL)
    if not bound.by_example(list(rows.element_spec[0]), training):
        # In one map, so that nothing is read that no feature needs.
        return dataset.map(lambda *planned: make(*read(*planned)), PARALLEL)

    def one(raw: Tensors, *seed: tf.Tensor) -> tuple:
        return bound.example(raw, training, *seed), *seed

    examples = rows.unbatch().map(one, PARALLEL).batch(count, drop_remainder=True)
    return examples.map(make, PARALLEL)


def _finish(dataset: tf.data.Dataset, replicas: int) -> tf.data.Dataset:
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.with_options(options).prefetch(4 * replicas)
