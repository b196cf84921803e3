"""What the tasks on images share: fitting to the data, and one update over any split of a batch."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from modelzoo.data.augment import Augment
from modelzoo.data.spec import ImageSpec
from modelzoo.fields.errors import UserError
from modelzoo.optimizers import SGD
from modelzoo.tasks.image_classification import ImageClassification
from modelzoo.tasks.image_regression import ImageRegression
from modelzoo.tasks.image_tagging import ImageTagging
from modelzoo.training.config import TrainConfig
from modelzoo.training.precision import dtype_policy
from modelzoo.training.state import TrainState
from modelzoo.training.step import TrainStep

BATCH, STEPS = 16, 4
CONFIGS = {"class": ImageClassification, "tags": ImageTagging, "values": ImageRegression}


def spec_of(targets, names=("a", "b", "c")):
    return ImageSpec(4, 4, 2, names, targets=targets)


@pytest.mark.parametrize("targets", CONFIGS)
@pytest.mark.parametrize("learned", CONFIGS)
def test_a_task_takes_its_own_targets_only(targets, learned):
    config = CONFIGS[learned]()
    if targets == learned:
        things = {"class": "classes"}.get(targets, targets)
        assert config.bind(spec_of(targets)).describe() == f"3 {things}, images 4x4x2"
        return
    with pytest.raises(UserError, match=f"learns targets '{learned}'.*{CONFIGS[targets].__name__}"):
        config.bind(spec_of(targets))


def test_labels_are_aligned_by_name():
    given = spec_of("class", ("c", "a"))
    labels = (
        ImageClassification().bind(spec_of("class")).align(given)({"label": tf.constant([0, 1])})
    )
    assert labels["label"].numpy().tolist() == [2, 0]
    raw = {"label": tf.constant([[1.0, 2.0], [3.0, 4.0]]), "weight": tf.ones(2)}
    aligned = ImageTagging().bind(spec_of("tags")).align(spec_of("tags", ("c", "a")))(raw)
    assert aligned["label"].numpy().tolist() == [[2, 0, 1], [4, 0, 3]]
    assert aligned["weight"] is raw["weight"]
    values = ImageRegression().bind(spec_of("values", ("a", "c")))
    aligned = values.align(spec_of("values", ("c", "a")))(raw)
    assert aligned["label"].numpy().tolist() == [[2, 1], [4, 3]]


@pytest.mark.parametrize(
    "targets, given, message",
    [
        ("tags", spec_of("class"), "learned targets 'tags', but those of the data are 'class'"),
        ("tags", spec_of("tags", ("a", "x")), "1 of its tags .* the first 'x': it knows a, b, c"),
        ("values", spec_of("values", ("a", "b")), "no values 'c'"),
        ("class", spec_of("class", ("x", "y")), "2 of its classes .* the first 'x'"),
    ],
)
def test_labels_that_cannot_be_aligned_are_refused(targets, given, message):
    with pytest.raises(UserError, match=message):
        CONFIGS[targets]().bind(spec_of(targets)).align(given)


@pytest.mark.parametrize("targets", ["tags", "values"])
def test_mixed_images_have_their_targets_in_the_same_shares(targets):
    task = CONFIGS[targets](augment=Augment(mixup=1.0)).bind(spec_of(targets))
    rng = np.random.default_rng(0)
    raw = {
        "image": tf.constant(rng.integers(0, 256, (8, 4, 4, 2), np.uint8)),
        "label": tf.constant(rng.integers(0, 2, (8, 3)), tf.float32),
        "weight": tf.ones(8),
    }
    seeds = tf.constant(rng.integers(0, 2**60, (8, 2)))
    plain = task.features(raw, training=False)["image"].numpy()
    batch = task.features(raw, training=True, seeds=seeds)
    own, other = np.arange(8), np.arange(8) ^ 1
    share = batch["mix"].numpy()
    assert np.ptp(share) > 0.1
    for got, whole in ((batch["image"], plain), (batch["label"], raw["label"].numpy())):
        part = share.reshape(8, *[1] * (whole.ndim - 1))
        np.testing.assert_allclose(got, part * whole[own] + (1 - part) * whole[other], atol=1e-5)


@dataclasses.dataclass(frozen=True)
class Dense:
    def build(self, input_spec, num_outputs):
        inputs = keras.Input(input_spec.shape[1:], name="image")
        x = keras.layers.Flatten(name="flat")(inputs)
        x = keras.layers.Dense(5, activation="relu", name="hidden")(x)
        return keras.Model(inputs, keras.layers.Dense(num_outputs, name="logits")(x))


def batches_of(targets):
    rng = np.random.default_rng(3)
    shape = (STEPS, BATCH, 3)
    return {
        "image": rng.normal(size=[STEPS, BATCH, 4, 4, 2]),
        "label": {
            "class": rng.integers(0, 3, shape[:2]),
            "tags": (rng.random(shape) < 0.4).astype(np.float32),
            "values": rng.normal(5, 2, shape).astype(np.float32),
        }[targets],
        "weight": rng.choice([0.0, 0.5, 1.0, 3.0], shape[:2]).astype(np.float32),
    }


def trained(task, targets, replicas=1, **settings):
    """All arrays after some steps in float64, and the last report."""
    strategy = tf.distribute.OneDeviceStrategy("cpu:0")
    if replicas > 1:
        strategy = tf.distribute.MirroredStrategy(
            [f"cpu:{k}" for k in range(replicas)],
            cross_device_ops=tf.distribute.ReductionToOneDevice(),
        )
    settings = TrainConfig(batch_size=BATCH, precision="float64", clip_global_norm=0.5, **settings)
    task = task.bind(spec_of(targets))
    keras.utils.set_random_seed(7)
    with strategy.scope(), dtype_policy("float64"):
        state = TrainState(task.build_model(Dense()), SGD(0.1, momentum=0.9), ema=False)
    step = TrainStep(task, state, settings, lambda number: tf.constant(0.1), strategy, 5)
    batches, rows = batches_of(targets), BATCH // replicas
    for k in range(STEPS):

        def part(context, k=k):
            first = context.replica_id_in_sync_group * rows
            cut = slice(first, first + rows)
            return {n: tf.constant(v[k : k + 1, cut]) for n, v in batches.items()}

        values = strategy.experimental_distribute_values_from_function(part)
        report = step(values, 1)
    return state.arrays(), report


TAGGING = ImageTagging(label_smoothing=0.1, positive_weights=(1.0, 3.0, 0.5))
HUBER = ImageRegression(loss="huber", delta=0.3, target_mean=(5, 4, 6), target_std=(2, 1, 3))


@pytest.mark.parametrize(
    "task, targets",
    [(TAGGING, "tags"), (HUBER, "values")],
    ids=["tagging", "huber"],
)
def test_same_update_over_replicas_and_micro_batches(task, targets):
    arrays, report = trained(task, targets)
    for split in ({"accumulate": 4}, {"replicas": 2, "accumulate": 2}):
        others, same = trained(task, targets, **split)
        assert arrays.keys() == others.keys()
        for name in arrays:
            np.testing.assert_allclose(others[name], arrays[name], rtol=1e-9, atol=1e-9)
        for name in report:
            np.testing.assert_allclose(same[name], report[name], rtol=1e-5, err_msg=name)
