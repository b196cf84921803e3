import threading

import numpy as np
import pytest
import tensorflow as tf

from modelzoo.data.augment import Augment
from modelzoo.data.batches import TrainingBatches, batch_sizes, evaluation_batches
from modelzoo.data.order import Order
from modelzoo.data.pipeline import (
    evaluation_dataset,
    mix_seed,
    naming_bad_images,
    training_dataset,
)
from modelzoo.data.source import Source, source_from_arrays
from modelzoo.data.spec import ImageSpec
from modelzoo.fields.errors import UserError


def make_source(count=21):
    rng = np.random.default_rng(1)
    arrays = {
        "image": rng.integers(0, 256, (count, 4, 4, 1), np.uint8),
        "label": np.arange(count) % 3,
        "weight": rng.uniform(1, 2, count).astype(np.float32),
    }
    spec = ImageSpec(4, 4, 1, ("a", "b", "c"))
    return source_from_arrays(spec, [f"train/{i}" for i in range(count)], arrays), arrays


def make_encoded_source(count=21):
    """The images of `make_source` as PNG files of which some are wider, to be cut."""
    _, arrays = make_source(count)
    wider = [
        np.pad(image, ((0, 0), (k % 3, k % 3), (0, 0))) for k, image in enumerate(arrays["image"])
    ]
    columns = {**arrays, "encoded": tf.stack([tf.io.encode_png(image) for image in wider])}
    del columns["image"]
    spec = ImageSpec(4, 4, 1, ("a", "b", "c"))
    ids = [f"train/{i}" for i in range(count)]
    return Source(spec, ids, lambda rows: {k: tf.gather(v, rows) for k, v in columns.items()})


def features(raw, training, seeds=None):
    if training:
        raw = {**raw, "image": Augment(1, True)(raw["image"], seeds), "seeds": seeds}
    return raw


def planned(source, seed=7, batch_size=8):
    return TrainingBatches(source, seed, batch_sizes(source, batch_size))


def evaluate(source, features=features, batch_size=8, **arguments):
    batches = evaluation_batches(source, batch_sizes(source, batch_size))
    return evaluation_dataset(source, features, batches, **arguments)


def train(source=None, **changes):
    source = source or make_source()[0]
    arguments = {
        "seed": 7,
        "first_example": 0,
        "batch_size": 8,
        "chunks": [3, 3, 2],
        "loop": 3,
        "replicas": 1,
        "features": features,
        **changes,
    }
    batches = planned(source, arguments.pop("seed"), arguments.pop("batch_size"))
    dataset = training_dataset(source, arguments.pop("features"), batches, **arguments)
    return dataset, list(dataset.as_numpy_iterator())


def steps_of(elements, chunks, replicas=1):
    """Joins the replicas and drops the padding: per name `[steps, batch, ...]`."""
    result = {}
    for name in elements[0]:
        parts = []
        for number, steps in enumerate(chunks):
            group = elements[number * replicas : (number + 1) * replicas]
            parts.append(np.concatenate([part[name] for part in group], 1)[:steps])
        result[name] = np.concatenate(parts)
    return result


def test_batches_follow_the_planned_order_and_carry_their_rows():
    _, elements = train()
    _, arrays = make_source()
    steps = steps_of(elements, [3, 3, 2])
    rows, epochs = Order(7, 21).rows(0, 64)
    np.testing.assert_array_equal(steps["index"].ravel(), rows)
    np.testing.assert_array_equal(steps["label"].ravel(), arrays["label"][rows])
    np.testing.assert_array_equal(steps["weight"].ravel(), arrays["weight"][rows])
    np.testing.assert_array_equal(steps["seeds"].reshape(-1, 2)[:, 1], rows)
    np.testing.assert_array_equal(steps["seeds"].reshape(-1, 2)[:, 0], mix_seed(7, epochs))
    assert len(np.unique(mix_seed(7, np.arange(1000)))) == 1000


def test_images_are_a_function_of_row_and_epoch():
    steps = steps_of(train()[1], [3, 3, 2])
    _, arrays = make_source()
    expected = Augment(1, True)(
        tf.constant(arrays["image"][steps["index"].ravel()]), steps["seeds"].reshape(-1, 2)
    )
    np.testing.assert_array_equal(steps["image"].reshape(-1, 4, 4, 1), expected)


@pytest.mark.parametrize("replicas, num_shards", [(1, 1), (2, 1), (4, 1), (2, 2), (1, 4)])
def test_any_split_sees_the_same_global_batches(replicas, num_shards):
    chunks = [3, 3, 2]
    whole = steps_of(train(chunks=chunks)[1], chunks)
    shards = [
        steps_of(
            train(chunks=chunks, replicas=replicas, shard=shard, num_shards=num_shards)[1],
            chunks,
            replicas,
        )
        for shard in range(num_shards)
    ]
    for name, value in whole.items():
        np.testing.assert_array_equal(np.concatenate([s[name] for s in shards], 1), value)


@pytest.mark.parametrize("replicas", [1, 2])
def test_encoded_images_are_decoded_into_the_same_batches(replicas):
    for make in (
        lambda source: train(source, replicas=replicas)[0],
        lambda source: evaluate(source, replicas=replicas),
    ):
        expected, got = make(make_source()[0]), make(make_encoded_source())
        assert got.element_spec == expected.element_spec
        for ours, theirs in zip(got, expected, strict=True):
            for name, value in theirs.items():
                np.testing.assert_array_equal(ours[name], value, err_msg=name)


def crop(image, seed):
    """Pixels that tell what was given: height, width and the seed."""
    height, width = tf.unstack(tf.shape(image)[:2])
    told = tf.stack([height, width, *tf.unstack(tf.cast(seed % 251, tf.int32))])
    return tf.tile(tf.cast(tf.reshape(told, [4, 1, 1]), tf.uint8), [1, 4, 1])


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("encoded", [False, True])
def test_a_crop_is_given_each_image_as_the_source_has_it_and_its_seed(encoded, replicas):
    chunks = [3, 3, 2]
    source = make_encoded_source() if encoded else make_source()[0]
    elements = train(
        source,
        crop=crop,
        replicas=replicas,
        features=lambda raw, training, seeds: {**raw, "seeds": seeds},
    )[1]
    steps = steps_of(elements, chunks, replicas)
    rows, seeds = steps["index"], steps["seeds"] % 251
    wider = 2 * (rows % 3) if encoded else 0 * rows
    told = [np.full_like(rows, 4), 4 + wider, seeds[..., 0], seeds[..., 1]]
    np.testing.assert_array_equal(steps["image"][..., 0, 0], np.stack(told, -1))
    np.testing.assert_array_equal(rows.ravel(), Order(7, 21).rows(0, 64)[0])


def test_resuming_in_an_epoch_goes_on_as_if_never_stopped():
    whole = steps_of(train()[1], [3, 3, 2])
    rest = steps_of(train(first_example=5 * 8, chunks=[1, 2], loop=2)[1], [1, 2])
    for name, value in whole.items():
        np.testing.assert_array_equal(rest[name], value[5:])


def test_short_chunks_repeat_their_first_step():
    _, elements = train(chunks=[1], loop=3)
    for value in elements[0].values():
        np.testing.assert_array_equal(value[1], value[0])
        np.testing.assert_array_equal(value[2], value[0])


def test_elements_are_made_ahead_of_who_asks_under_op_determinism_too():
    tf.config.experimental.enable_op_determinism()
    whole, reads, ahead = make_source()[0], [], threading.Event()

    def seen(rows):
        reads.append(rows)
        if len(reads) == 5:
            ahead.set()
        return rows

    def read(rows):
        seen_rows = tf.numpy_function(seen, [rows], tf.int64, stateful=False)
        return whole.gather(tf.ensure_shape(seen_rows, rows.shape))

    source = Source(whole.spec, whole.ids, read)
    dataset = training_dataset(
        source, features, planned(source), first_example=0, chunks=[1] * 9, loop=1, replicas=1
    )
    iterator = iter(dataset)
    next(iterator)
    assert ahead.wait(60)


def test_shapes_are_static():
    dataset, _ = train(replicas=2)
    assert dataset.element_spec["image"].shape == (3, 4, 4, 4, 1)
    assert dataset.element_spec["weight"].shape == (3, 4)
    source, _ = make_source()
    evaluation = evaluate(source, replicas=2)
    assert evaluation.element_spec["image"].shape == (4, 4, 4, 1)


def test_an_endless_plan_is_read_only_as_far_as_needed():
    def endless():
        while True:
            yield 2

    source, _ = make_source()
    dataset = training_dataset(
        source,
        features,
        planned(source, 0, 4),
        first_example=0,
        chunks=endless(),
        loop=2,
        replicas=1,
    )
    assert len(list(dataset.take(5))) == 5


@pytest.mark.parametrize("replicas, num_shards", [(1, 1), (2, 1), (2, 2)])
def test_evaluation_sees_every_row_once_in_order(replicas, num_shards):
    source, arrays = make_source()
    shards = [
        list(
            evaluate(
                source, replicas=replicas, shard=shard, num_shards=num_shards
            ).as_numpy_iterator()
        )
        for shard in range(num_shards)
    ]
    assert {len(shard) for shard in shards} == {3 * replicas}
    batches = [
        np.concatenate([part["index"] for shard in shards for part in shard[first:][:replicas]])
        for first in range(0, 3 * replicas, replicas)
    ]
    assert np.concatenate(batches).tolist() == [*range(21), -1, -1, -1]
    for part in [part for shard in shards for part in shard]:
        real = part["index"] >= 0
        np.testing.assert_array_equal(part["image"][real], arrays["image"][part["index"][real]])
        np.testing.assert_array_equal(part["label"][real], arrays["label"][part["index"][real]])
        expected = np.where(real, arrays["weight"][part["index"]], 0)
        np.testing.assert_array_equal(part["weight"], expected)


def test_a_batch_that_the_replicas_cannot_share_is_refused():
    with pytest.raises(ValueError, match="batch_size must be a multiple of the 3 replicas, got 8"):
        train(replicas=3)


def lazy_source(files):
    """A source that decodes when asked, and the rows that it was asked to check."""
    files, asked = tf.constant(files), []

    def read(rows):
        return {"encoded": tf.gather(files, rows), "label": tf.zeros_like(rows)}

    def examine(row):
        asked.append(row)
        if not files[row].numpy():
            raise UserError(f"row {row} is bad")

    ids = [str(row) for row in range(len(files))]
    return Source(ImageSpec(4, 4, 1, ("a",)), ids, read, examine=examine), asked


@pytest.mark.parametrize("bad, before", [(1, []), (5, [0, 1, 2, 3]), (6, [0, 1, 2, 3, 4, 5])])
@pytest.mark.parametrize("replicas", [1, 2])
def test_only_the_rows_of_the_batch_that_failed_are_checked(replicas, bad, before):
    png = tf.io.encode_png(np.zeros((4, 4, 1), np.uint8)).numpy()
    source, asked = lazy_source([b"" if row == bad else png for row in range(7)])
    strategy = tf.distribute.MirroredStrategy([f"CPU:{k}" for k in range(replicas)])
    batches = strategy.distribute_datasets_from_function(
        lambda context: evaluate(source, batch_size=2, replicas=replicas)
    )
    rows = [batch.rows for batch in evaluation_batches(source, {0: 2})]
    seen = []
    with pytest.raises(UserError, match=f"row {bad} is bad"):
        for batch in naming_bad_images(batches, source, lambda number: rows[number]):
            for part in strategy.experimental_local_results(batch["index"]):
                seen += part.numpy().tolist()
    assert seen == before and asked == [len(before), len(before) + 1][: 7 - len(before)]


@pytest.mark.parametrize(
    "error, checked",
    [
        (tf.errors.ResourceExhaustedError, []),
        (tf.errors.InternalError, [0, 1]),
    ],
)
def test_an_error_that_no_image_explains_is_not_changed(error, checked):
    def failing():
        yield 1
        raise error(None, None, "other")

    source, asked = lazy_source([b"x", b"x"])
    with pytest.raises(error, match="other"):
        list(naming_bad_images(failing(), source, lambda number: [[], [0, 1]][number]))
    assert asked == checked


def test_an_error_in_the_work_on_a_batch_checks_nothing():
    source, asked = lazy_source([b"", b""])
    with pytest.raises(tf.errors.InvalidArgumentError):
        for _ in naming_bad_images([1, 2], source, lambda number: [0, 1]):
            raise tf.errors.InvalidArgumentError(None, None, "of the model")
    assert not asked
