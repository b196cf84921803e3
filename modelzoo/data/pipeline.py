"""From a source and a plan of rows to `tf.data`, for training without end and for evaluation."""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import tensorflow as tf

from modelzoo.data.augment.hashing import mix
from modelzoo.data.images import ImageDecoder, decode
from modelzoo.data.order import Order
from modelzoo.data.source import Source

Features = Callable[..., dict[str, tf.Tensor]]
Crop = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

PARALLEL = os.cpu_count()
"""Calls of a map at a time; the thread with which TensorFlow tunes it holds up a run's end."""


def training_dataset(
    source: Source,
    features: Features,
    *,
    seed: int,
    first_example: int,
    batch_size: int,
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
    `[loop, replica_batch, ...]` with static shapes. Steps beyond `k` repeat the chunk's first and
    are not to be trained on. Global batches are contiguous rows of the planned order from position
    `first_example` on; each replica of each shard takes contiguous rows of every batch.

    Args:
        source: the opened training split.
        features: raw rows to a batch, on flat rows whose images are decoded; `seeds` is int64
            `[n, 2]`, the seed folded with the epoch and the row's index.
        seed: of order and augmentation.
        first_example: position in the endless stream.
        batch_size: global, a multiple of `num_shards * replicas`.
        chunks: steps of each chunk, read as far as is needed.
        loop: steps that fit in one element.
        replicas: of this shard.
        shard: number of this worker.
        num_shards: workers.
        crop: makes of one image as the source has it (uint8 `[any, any, any]`) and its seed
            (int64 `[2]`) one of the spec's shape; None fits it as evaluation does.
    """
    replica_batch = _replica_batch(batch_size, replicas, num_shards)
    order = Order(seed, source.num_examples)

    def plan() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        position = first_example
        for steps in chunks:
            rows, epochs = order.rows(position, steps * batch_size)
            position += steps * batch_size
            seeds = np.stack([mix_seed(seed, epochs), rows], -1)
            steps_taken = np.concatenate([np.arange(steps), np.zeros(loop - steps, np.int64)])
            rows = rows.reshape(steps, batch_size)[steps_taken]
            seeds = seeds.reshape(steps, batch_size, 2)[steps_taken]
            for replica in range(replicas):
                start = (shard * replicas + replica) * replica_batch
                mine = slice(start, start + replica_batch)
                yield rows[:, mine].reshape(-1), seeds[:, mine].reshape(-1, 2)

    def make(raw: dict[str, tf.Tensor], seeds: tf.Tensor) -> dict[str, tf.Tensor]:
        batch = features(raw, training=True, seeds=seeds)
        return {
            name: tf.reshape(value, [loop, replica_batch, *value.shape[1:]])
            for name, value in batch.items()
        }

    flat = loop * replica_batch
    dataset = tf.data.Dataset.from_generator(
        plan,
        output_signature=(
            tf.TensorSpec([flat], tf.int64),
            tf.TensorSpec([flat, 2], tf.int64),
        ),
    )
    dataset = dataset.map(lambda rows, seeds: (source.gather(rows), seeds), PARALLEL)
    dataset = _decode(dataset, source, flat, crop).map(make, PARALLEL)
    return _finish(dataset, replicas)


def evaluation_dataset(
    source: Source,
    features: Features,
    *,
    batch_size: int,
    replicas: int,
    shard: int = 0,
    num_shards: int = 1,
) -> tf.data.Dataset:
    """Every row once, in order, then an end: per batch one element per local replica in turn.

    Elements are what `features(raw, training=False)` makes, as tensors `[replica_batch, ...]`. All
    workers get the same number of them; rows that pad the last batch have weight 0 and index -1.
    Arguments as in `training_dataset`.
    """
    replica_batch = _replica_batch(batch_size, replicas, num_shards)
    batches = -(-source.num_examples // batch_size)
    rows = np.arange(batches * batch_size, dtype=np.int64)
    rows[source.num_examples :] = -1
    rows = rows.reshape(batches, num_shards, replicas, replica_batch)[:, shard]
    dataset = tf.data.Dataset.from_tensor_slices(rows.reshape(-1, replica_batch))
    dataset = dataset.map(lambda rows: (source.gather(rows),), PARALLEL)
    dataset = _decode(dataset, source, replica_batch)
    dataset = dataset.map(lambda raw: features(raw, training=False), PARALLEL)
    return _finish(dataset, replicas)


def evaluation_rows(number: int, num_examples: int, batch_size: int) -> np.ndarray:
    """Rows of the batch of that number in `evaluation_dataset`, without padding: int64 `[n]`."""
    first = number * batch_size
    return np.arange(first, min(first + batch_size, num_examples), dtype=np.int64)


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


def _decode(
    dataset: tf.data.Dataset, source: Source, count: int, crop: Crop | None = None
) -> tf.data.Dataset:
    """Makes `image` of the `encoded` of elements (raw rows `[count]`, ...), where they have it.

    With `crop` that is of the image and the element's other part, its seed, and whether the
    images are encoded or not. Image by image, so that all cores share one batch and nothing but
    uint8 waits. Apart from the reading: what reads with Python runs one call at a time under op
    determinism.
    """
    if "encoded" not in dataset.element_spec[0] and crop is None:
        return dataset
    fit = crop or ImageDecoder(source.spec).fit

    def one(raw: dict[str, tf.Tensor], *others: tf.Tensor) -> tuple:
        rest = {name: value for name, value in raw.items() if name not in ("image", "encoded")}
        image = decode(raw["encoded"]) if "encoded" in raw else raw["image"]
        return {"image": fit(image, *others) if crop else fit(image), **rest}, *others

    return dataset.unbatch().map(one, PARALLEL).batch(count, drop_remainder=True)


def _finish(dataset: tf.data.Dataset, replicas: int) -> tf.data.Dataset:
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.with_options(options).prefetch(4 * replicas)
