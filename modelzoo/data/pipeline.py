"""From a source and a plan of rows to `tf.data`, for training without end and for evaluation."""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from modelzoo.data.augment.hashing import mix
from modelzoo.data.batches import Batch, TrainingBatches
from modelzoo.data.images import ImageDecoder, decode
from modelzoo.data.source import Source

Features = Callable[..., dict[str, tf.Tensor]]
Crop = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

PARALLEL = os.cpu_count()
"""Calls of a map at a time; the thread with which TensorFlow tunes it holds up a run's end."""


def training_dataset(
    source: Source,
    features: Features,
    batches: TrainingBatches,
    *,
    first_example: int,
    chunks: Iterable[int],
    loop: int,
    replicas: int,
    shard: int = 0,
    num_shards: int = 1,
    crop: Crop | None = None,
) -> tf.data.Dataset:
    """The endless stream of full batches, in chunks of steps, split over replicas.

    For each number of steps `k <= loop` in `chunks` it yields one element per local replica in
    turn: what `features(raw, training=True, seeds=...)` makes, as tensors
    `[loop, replica_batch, ...]`, with static shapes where all batches have one. Steps beyond `k`
    repeat the chunk's first and are not to be trained on. Each replica of each shard takes
    contiguous rows of every batch.

    Args:
        source: the opened training split.
        features: raw rows to a batch, on flat rows whose images are decoded; `seeds` is int64
            `[n, 2]`, the seed folded with the epoch and the row's index.
        batches: the plan of the source's batches; those of one chunk are of one length.
        first_example: position in the endless stream.
        chunks: steps of each chunk, read as far as is needed.
        loop: steps that fit in one element.
        replicas: of this shard.
        shard: number of this worker.
        num_shards: workers.
        crop: makes of one image as the source has it (uint8 `[any, any, any]`) and its seed
            (int64 `[2]`) one of the spec's shape; None fits it as evaluation does.
    """
    sizes = {_replica_batch(size, replicas, num_shards) for size in batches.sizes}
    flat = loop * sizes.pop() if len(sizes) == 1 else None
    starts, rest = [first_example], iter(chunks)
    steps: list[int] = []

    def plan(number: int) -> tuple[bool, np.ndarray, np.int64]:
        """Of the element of that number: whether there is one, its seeds and its length."""
        number, replica = divmod(int(number), replicas)
        while len(steps) <= number:
            steps.append(next(rest, 0))
            starts.append(batches.take(starts[-1], steps[-1])[1])
        if not steps[number]:
            return False, np.zeros([flat or 0, 2], np.int64), np.int64(0)
        taken, _ = batches.take(starts[number], steps[number])
        taken += taken[:1] * (loop - len(taken))
        parts = []
        for rows, epochs, _ in taken:
            size = len(rows) // (replicas * num_shards)
            mine = slice(
                (shard * replicas + replica) * size, (shard * replicas + replica + 1) * size
            )
            parts.append(np.stack([mix_seed(batches.seed, epochs[mine]), rows[mine]], -1))
        return True, np.concatenate(parts), np.int64(taken[0].length)

    def read(_, seeds: tf.Tensor, length: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        seeds = tf.ensure_shape(seeds, [flat, 2])
        return source.gather(seeds[:, 1], length), seeds

    def make(raw: dict[str, tf.Tensor], seeds: tf.Tensor) -> dict[str, tf.Tensor]:
        batch = features(raw, training=True, seeds=seeds)
        return {name: _cut(value, loop) for name, value in batch.items()}

    # A generator would be stateful: with any such op in it, op determinism lets nothing of a
    # pipeline run in parallel or ahead of who asks for the next element.
    kinds = (tf.bool, tf.int64, tf.int64)
    dataset = tf.data.Dataset.counter().map(
        lambda number: tf.numpy_function(plan, [number], kinds, stateful=False)
    )
    dataset = dataset.take_while(lambda there, *_: there)
    return _finish(_made(dataset, read, make, source, flat, crop), replicas)


def evaluation_dataset(
    source: Source,
    features: Features,
    batches: Sequence[Batch],
    *,
    replicas: int,
    shard: int = 0,
    num_shards: int = 1,
) -> tf.data.Dataset:
    """The batches, then an end: of each one element per local replica in turn.

    Elements are what `features(raw, training=False)` makes, as tensors `[replica_batch, ...]`. All
    workers get the same number of them; rows that pad a batch have weight 0 and index -1.
    Arguments as in `training_dataset`.
    """
    sizes = {_replica_batch(len(batch.rows), replicas, num_shards) for batch in batches}
    flat = sizes.pop() if len(sizes) == 1 else None
    parts = [
        np.array_split(batch.rows, replicas * num_shards)[shard * replicas + replica]
        for batch in batches
        for replica in range(replicas)
    ]
    lengths = np.repeat([batch.length for batch in batches], replicas)
    rows = tf.RaggedTensor.from_row_lengths(
        np.concatenate(parts), np.array([len(part) for part in parts])
    )
    dataset = tf.data.Dataset.from_tensor_slices((rows, lengths))

    def read(rows: tf.Tensor, length: tf.Tensor) -> tuple[dict[str, tf.Tensor]]:
        return (source.gather(tf.ensure_shape(rows, [flat]), length),)

    def make(raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return features(raw, training=False)

    return _finish(_made(dataset, read, make, source, flat), replicas)


def naming_bad_images(
    batches: Iterable, source: Source, rows_of: Callable[[int], np.ndarray]
) -> Iterator:
    """The batches; where one cannot be read or decoded, a UserError that names its bad image.

    `rows_of` gives the rows of the batch of a number, counted from 0. An error that none of these
    rows explains, and one of what is done with a batch, comes through as it is.
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
            source.check(rows_of(number))
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


def _made(
    dataset: tf.data.Dataset,
    read: Callable[..., tuple],
    make: Callable[..., dict[str, tf.Tensor]],
    source: Source,
    count: int | None,
    crop: Crop | None = None,
) -> tf.data.Dataset:
    """What `make` makes of what `read` reads, `count` raw rows and others, decoded in between.

    Where rows are `encoded`, or there is a `crop`, which takes an image and what goes with it, that
    is done image by image, so that all cores share one batch and nothing but uint8 waits.
    """
    rows = dataset.map(read, PARALLEL)
    if "encoded" not in rows.element_spec[0] and crop is None:
        # In one, so that nothing is read that no feature is made of.
        return dataset.map(lambda *planned: make(*read(*planned)), PARALLEL)
    fit = crop or ImageDecoder(source.spec).fit

    def one(raw: dict[str, tf.Tensor], *others: tf.Tensor) -> tuple:
        rest = {name: value for name, value in raw.items() if name not in ("image", "encoded")}
        image = decode(raw["encoded"]) if "encoded" in raw else raw["image"]
        return {"image": fit(image, *others) if crop else fit(image), **rest}, *others

    images = rows.unbatch().map(one, PARALLEL).batch(count, drop_remainder=True)
    return images.map(make, PARALLEL)


def _finish(dataset: tf.data.Dataset, replicas: int) -> tf.data.Dataset:
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.with_options(options).prefetch(4 * replicas)
