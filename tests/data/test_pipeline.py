"""The pipeline: planned batches, the same for any number of replicas and workers."""

import math
import threading
import types

import numpy as np
import pytest
import tensorflow as tf
from memory_source import Memory

from modelzoo.data.augment import Augment
from modelzoo.data.batches import TrainingBatches, batch_sizes, evaluation_batches
from modelzoo.data.columns import Column
from modelzoo.data.dataset import Dataset
from modelzoo.data.inputs import image_store
from modelzoo.data.inputs.image import Image
from modelzoo.data.inputs.text import Text
from modelzoo.data.order import Order
from modelzoo.data.pipeline import (
    evaluation_dataset,
    mix_seed,
    naming_bad_examples,
    training_dataset,
)
from modelzoo.data.targets.class_label import ClassLabel
from modelzoo.data.targets.text_target import TextTarget
from modelzoo.data.tokenizers import Words
from modelzoo.fields.errors import UserError

COUNT = 21
RNG = np.random.default_rng(1)
PIXELS = RNG.integers(0, 256, (COUNT, 4, 4, 1), np.uint8)
LABELS = np.arange(COUNT) % 3
WEIGHTS = RNG.uniform(1, 2, COUNT).astype(np.float32)
AUGMENT = Augment(crop_padding=1, flip=True)


def open_split(column=None, **fields):
    images = column or Column("x", "array", PIXELS)
    label = Column("label", "class", LABELS, names=("a", "b", "c"))
    return (
        Dataset(
            source=Memory(splits={"train": {"x": images, "label": label}}, weights=WEIGHTS),
            inputs=Image(columns=("x",), **{"augment": AUGMENT, **fields}),
            target=ClassLabel(columns=("label",)),
        )
        .open()
        .split("train")
    )


def open_encoded(**fields):
    """The images as PNG files; some are wider and cropped."""
    wider = [np.pad(image, ((0, 0), (k % 3, k % 3), (0, 0))) for k, image in enumerate(PIXELS)]
    files = [tf.io.encode_png(image).numpy() for image in wider]
    return open_split(Column("x", "bytes", files), size=(4, 4), **fields)


def planned(split, seed=7, batch_size=8):
    return TrainingBatches(split, seed, batch_sizes(split, batch_size))


def evaluate(split, batch_size=8, **arguments):
    batches = evaluation_batches(split, batch_sizes(split, batch_size))
    return evaluation_dataset(split, batches, **arguments)


def chunks_of(sizes, first_step=0):
    """The function of a step that gives chunks of these sizes, then 0."""
    starts = first_step + np.cumsum([0, *sizes])
    table = dict(zip(starts.tolist(), [*sizes, 0], strict=True))
    return table.__getitem__


def train(split=None, **changes):
    split = split or open_split()
    chunk = chunks_of(changes.pop("chunks", [3, 3, 2]))
    start = {"first_step": 0, "first_example": 0}
    arguments = {**start, "chunk": chunk, "loop": 3, "replicas": 1, **changes}
    dataset = training_dataset(split, planned(split), **arguments)
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
    steps = steps_of(train()[1], [3, 3, 2])
    rows, _ = Order(7, COUNT).rows(0, 64)
    np.testing.assert_array_equal(steps["index"].ravel(), rows)
    np.testing.assert_array_equal(steps["label"].ravel(), LABELS[rows])
    np.testing.assert_array_equal(steps["weight"].ravel(), WEIGHTS[rows])
    assert len(np.unique(mix_seed(7, np.arange(1000)))) == 1000


def test_images_are_a_function_of_row_and_epoch():
    split = open_split()
    steps = steps_of(train(split)[1], [3, 3, 2])
    rows, epochs = Order(7, COUNT).rows(0, 64)
    seeds = np.stack([mix_seed(7, epochs), rows], -1)
    raw = {"image": tf.constant(PIXELS[rows])}
    expected = split.bound.features(raw, True, seeds)["image"]
    np.testing.assert_array_equal(steps["image"].reshape(-1, 4, 4, 1), expected)


@pytest.mark.parametrize("replicas, num_shards", [(1, 1), (2, 1), (4, 1), (2, 2), (1, 4)])
def test_any_split_of_a_batch_sees_the_same_global_batches(replicas, num_shards):
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
def test_encoded_images_are_decoded_into_the_same_batches(replicas, monkeypatch):
    for make in (
        lambda split: train(split, replicas=replicas)[0],
        lambda split: evaluate(split, replicas=replicas),
    ):
        expected = make(open_split())
        monkeypatch.setattr(image_store, "MEMORY_LIMIT", 0)
        encoded = open_encoded()
        monkeypatch.undo()
        assert "encoded" in encoded.gather(np.arange(1))
        got = make(encoded)
        assert got.element_spec == expected.element_spec
        for ours, theirs in zip(got, expected, strict=True):
            for name, value in theirs.items():
                np.testing.assert_array_equal(ours[name], value, err_msg=name)


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("open_images", [open_split, open_encoded])
def test_a_crop_reads_each_image_as_stored_and_its_seed(open_images, replicas, monkeypatch):
    def crop(self, image, seed, shape):
        """Returns pixels that hold its arguments: height, width and the seed."""
        height, width = tf.unstack(tf.shape(image)[:2])
        given = tf.stack([height, width, *tf.unstack(tf.cast(seed % 251, tf.int32))])
        return tf.tile(tf.cast(tf.reshape(given, [4, 1, 1]), tf.uint8), [1, 4, 1])

    monkeypatch.setattr(Augment, "crop", crop)
    chunks = [3, 3, 2]
    split = open_images(augment=Augment(crop_area=(0.5, 1.0)), mean=(0.0,), std=(1 / 255,))
    steps = steps_of(train(split, replicas=replicas)[1], chunks, replicas)
    rows, epochs = Order(7, COUNT).rows(0, 64)
    np.testing.assert_array_equal(steps["index"].ravel(), rows)
    wider = 2 * (rows % 3) if open_images is open_encoded else 0 * rows
    given = [0 * rows + 4, 4 + wider, mix_seed(7, epochs) % 251, rows % 251]
    found = steps["image"].reshape(64, 4, 4, 1)[..., 0, 0]
    np.testing.assert_allclose(found, np.stack(given, -1), atol=1e-3)


def test_resuming_in_an_epoch_continues_the_stream():
    whole = steps_of(train()[1], [3, 3, 2])
    rest = steps_of(train(first_example=5 * 8, chunks=[1, 2], loop=2)[1], [1, 2])
    for name, value in whole.items():
        np.testing.assert_array_equal(rest[name], value[5:])


def test_short_chunks_repeat_their_first_step():
    _, elements = train(chunks=[1], loop=3)
    for value in elements[0].values():
        np.testing.assert_array_equal(value[1], value[0])
        np.testing.assert_array_equal(value[2], value[0])


def test_elements_are_made_ahead_even_under_op_determinism():
    tf.config.experimental.enable_op_determinism()
    whole, reads, ahead = open_split(), [], threading.Event()

    def seen(rows):
        reads.append(rows)
        if len(reads) == 5:
            ahead.set()
        return rows

    def gather(rows, bucket):
        seen_rows = tf.numpy_function(seen, [rows], tf.int64, stateful=False)
        return whole.gather(tf.ensure_shape(seen_rows, rows.shape), bucket)

    split = types.SimpleNamespace(bound=whole.bound, gather=gather)
    dataset = training_dataset(
        split,
        planned(whole),
        first_step=0,
        first_example=0,
        chunk=chunks_of([1] * 9),
        loop=1,
        replicas=1,
    )
    iterator = iter(dataset)
    next(iterator)
    assert ahead.wait(60)


def test_shapes_are_static():
    dataset, _ = train(replicas=2)
    assert dataset.element_spec["image"].shape == (3, 4, 4, 4, 1)
    assert dataset.element_spec["weight"].shape == (3, 4)
    evaluation = evaluate(open_split(), replicas=2)
    assert evaluation.element_spec["image"].shape == (4, 4, 4, 1)


def test_an_endless_plan_is_read_only_as_far_as_needed():
    split = open_split()
    dataset = training_dataset(
        split,
        planned(split, 0, 4),
        first_step=0,
        first_example=0,
        chunk=lambda step: 2,
        loop=2,
        replicas=1,
    )
    assert len(list(dataset.take(5))) == 5


@pytest.mark.parametrize("replicas, num_shards", [(1, 1), (2, 1), (2, 2)])
def test_evaluation_sees_every_row_once_in_order(replicas, num_shards):
    split = open_split()
    shards = [
        list(
            evaluate(
                split,
                features=lambda raw: raw,
                replicas=replicas,
                shard=shard,
                num_shards=num_shards,
            ).as_numpy_iterator()
        )
        for shard in range(num_shards)
    ]
    assert {len(shard) for shard in shards} == {3 * replicas}
    batches = [
        np.concatenate([part["index"] for shard in shards for part in shard[first:][:replicas]])
        for first in range(0, 3 * replicas, replicas)
    ]
    assert np.concatenate(batches).tolist() == [*range(COUNT), -1, -1, -1]
    for part in [part for shard in shards for part in shard]:
        present, rows = part["index"] >= 0, part["index"]
        np.testing.assert_array_equal(part["image"][present], PIXELS[rows[present]])
        np.testing.assert_array_equal(part["target/label"][present], LABELS[rows[present]])
        np.testing.assert_array_equal(part["weight"], np.where(present, WEIGHTS[rows], 0))


def test_evaluation_makes_the_features_of_inference():
    split = open_split()
    [*batches] = evaluate(split, batch_size=7, replicas=1)
    found = np.concatenate([batch["image"] for batch in batches])
    np.testing.assert_allclose(found, PIXELS / 127.5 - 1, atol=1e-6)
    assert set(batches[0]) == {"image", "label", "weight", "index", "number"}


def test_a_batch_that_the_replicas_cannot_share_is_refused():
    with pytest.raises(ValueError, match="batch_size must be a multiple of the 3 replicas, got 8"):
        train(replicas=3)


def watched(files):
    """A split that decodes when a batch is read, and the rows that it was asked to examine."""
    count = len(files)
    weights = np.ones(count, np.float32)
    images = Column("x", "bytes", files)
    data = Dataset(
        source=Memory(splits={"train": {"x": images}}, weights=weights),
        inputs=Image(columns=("x",), size=(4, 4), channels=1),
    )
    split, asked = data.open().split("train"), []
    examine = split.examine

    def recorded(indices):
        asked.extend(indices)
        examine(indices)

    split.examine = recorded
    return split, asked


@pytest.fixture
def no_memory(monkeypatch):
    monkeypatch.setattr(image_store, "MEMORY_LIMIT", 0)


@pytest.mark.parametrize("bad, before", [(1, []), (5, [0, 1, 2, 3]), (6, [0, 1, 2, 3, 4, 5])])
@pytest.mark.parametrize("replicas", [1, 2])
def test_only_the_examples_of_the_batch_that_failed_are_examined(no_memory, replicas, bad, before):
    png = tf.io.encode_png(np.zeros((4, 4, 1), np.uint8)).numpy()
    split, asked = watched([b"" if row == bad else png for row in range(7)])
    strategy = tf.distribute.MirroredStrategy([f"CPU:{k}" for k in range(replicas)])
    batches = strategy.distribute_datasets_from_function(
        lambda context: evaluate(split, batch_size=2, replicas=replicas)
    )
    rows = [batch.rows for batch in evaluation_batches(split, {0: 2})]
    seen = []
    with pytest.raises(UserError, match=f"memory, train/{bad}: is empty; repair or remove it"):
        for batch in naming_bad_examples(batches, split, lambda number: rows[number]):
            for part in strategy.experimental_local_results(batch["index"]):
                seen += part.numpy().tolist()
    assert seen == before and asked == rows[len(before) // 2].tolist()


@pytest.mark.parametrize(
    "error, examined",
    [
        (tf.errors.ResourceExhaustedError, []),
        (tf.errors.InternalError, [0, 1]),
    ],
)
def test_an_error_that_no_example_explains_is_not_changed(no_memory, error, examined):
    def failing():
        yield 1
        raise error(None, None, "other")

    png = tf.io.encode_png(np.zeros((4, 4, 1), np.uint8)).numpy()
    split, asked = watched([png, png])
    with pytest.raises(error, match="other"):
        list(naming_bad_examples(failing(), split, lambda number: [[], [0, 1]][number]))
    assert asked == examined


def test_an_error_in_the_work_on_a_batch_examines_nothing(no_memory):
    split, asked = watched([b"", b""])
    with pytest.raises(tf.errors.InvalidArgumentError):
        for _ in naming_bad_examples([1, 2], split, lambda number: [0, 1]):
            raise tf.errors.InvalidArgumentError(None, None, "of the model")
    assert not asked


def texts_of(lengths, prefix):
    return Column(prefix, "text", [" ".join([f"{prefix}{k}"] * n) for k, n in enumerate(lengths)])


def open_columns(names, rows=COUNT, **fields):
    """A split of columns with some rare lengths; `fields` of `Dataset`."""
    columns = {
        "image": Column("image", "array", PIXELS[:rows]),
        "text": texts_of([2] * (rows - 2) + [9, 15], "a"),
        "target": texts_of([3] * 4 + [2] * (rows - 4), "b"),
        "label": Column("label", "class", LABELS[:rows], names=("a", "b", "c")),
    }
    inputs = {
        "image": Image(columns=("image",), augment=Augment(mixup=0.2)),
        "text": Text(columns=("text",), tokenizer=Words(), lengths=(4, 8, 16)),
    }
    inputs = {name: inputs[name] for name in names}
    label = ClassLabel(columns=("label",))
    return Dataset(
        source=Memory(splits={"train": columns}),
        inputs=inputs if len(names) > 1 else inputs[names[0]],
        **{"target": label, "test_split": None, **fields},
    )


SAMPLED = {
    "images": open_columns(["image"]),
    "texts": open_columns(["text"]),
    "images and texts": open_columns(["image", "text"]),
    "pairs": open_columns(
        ["text"], target=TextTarget(columns=("target",), tokenizer=Words(), lengths=(4, 4, 16))
    ),
    "fold": open_columns(["text"], train_split="train", test_split="train", fold=(1, 3, 0)),
    "few": open_columns(["text"], rows=5),
}


@pytest.mark.parametrize(
    "kind, budget", [*((kind, None) for kind in SAMPLED), ("texts", 128), ("pairs", 128)]
)
def test_training_reads_every_example_once_an_epoch(kind, budget):
    split = SAMPLED[kind].open().split("train")
    batches = TrainingBatches(split, 3, batch_sizes(split, 8, budget))
    steps = math.ceil(batches.count(2 * split.num_examples) - 1e-9)
    dataset = training_dataset(
        split,
        batches,
        first_step=0,
        first_example=0,
        chunk=chunks_of([1] * steps),
        loop=1,
        replicas=2,
    )
    times = np.bincount(np.concatenate([part["index"].numpy().ravel() for part in dataset]))
    assert len(times) == split.num_examples and times.min() >= 2
    assert times.sum() < 2 * split.num_examples + max(batches.sizes)
    assert times.max() <= 3 or split.num_examples < max(batches.sizes)
