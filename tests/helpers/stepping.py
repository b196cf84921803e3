"""Train steps of tiny models on random batches, over any number of replicas."""

import keras
import numpy as np
import tensorflow as tf
from bound_data import image_data

from modelzoo.fields.input_specs import only_array
from modelzoo.models import CNN, ResNet
from modelzoo.tasks import Classification
from modelzoo.training.config import TrainConfig
from modelzoo.training.loss_scale import LossScale
from modelzoo.training.precision import dtype_policy
from modelzoo.training.state import TrainState
from modelzoo.training.step import TrainStep
from modelzoo.transfer.freeze import freeze

SHAPE = (8, 8, 2)
DATA = image_data(SHAPE, ("a", "b", "c"))
BATCH = 16
RESNET = ResNet(depth=8, width=4)
# The least that has batch statistics, for what needs no more: a ResNet takes long to trace.
NORMED = CNN(filters=(4, 4), padding="same", batch_norm=True, pooling="average", dense=())
TINY_CNN = CNN(filters=(4, 4), padding="same", dense=(8,), l2=1e-3)
EVERYTHING = {"clip_global_norm": 0.5, "clip_value": 0.1, "clip_norm": 0.4, "ema_decay": 0.9}


class Linear:
    """Logits by one dense layer on the pixels, some of which drop out, at each rate in turn."""

    def __init__(self, *dropout):
        self.dropout = dropout

    input_kinds = ("image",)

    def build(self, inputs, num_outputs):
        name, spec = only_array(inputs, "image")
        inputs = keras.Input(spec.shape, name=name)
        x = keras.layers.Flatten(name="flat")(inputs)
        for number, rate in enumerate(self.dropout):
            x = keras.layers.Dropout(rate, name=f"drop{number}")(x)
        outputs = keras.layers.Dense(num_outputs, name="logits")(x)
        return keras.Model({name: inputs}, outputs)


def strategy_of(replicas):
    if replicas == 1:
        return tf.distribute.OneDeviceStrategy("cpu:0")
    return tf.distribute.MirroredStrategy(
        [f"cpu:{k}" for k in range(replicas)],
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )


def batches_of(steps, dtype="float32"):
    rng = np.random.default_rng(3)
    return {
        "image": rng.normal(size=[steps, BATCH, *SHAPE]).astype(dtype),
        "label": rng.integers(0, 3, [steps, BATCH]),
        "weight": rng.choice([0.0, 0.5, 1.0, 3.0], [steps, BATCH]).astype("float32"),
    }


def make(model, optimizer, replicas=1, task=None, seed=5, strategy=None, data=DATA, **settings):
    """A step and its state, freshly initialised."""
    strategy = strategy or strategy_of(replicas)
    settings = TrainConfig(batch_size=BATCH, **settings)
    task = (task or Classification()).bind(data)
    keras.utils.set_random_seed(7)
    with strategy.scope(), dtype_policy(settings.precision):
        built = task.build_model(model)
        state = TrainState(
            built,
            optimizer,
            ema=settings.ema_decay is not None,
            frozen=freeze(built, settings.freeze),
            loss_scale=LossScale.from_config(settings),
        )
    rate = lambda step: optimizer.learning_rate / (1.0 + tf.cast(step, tf.float32))  # noqa: E731
    return TrainStep(task.objective, state, settings, rate, strategy, seed), state


def feed(step, batches):
    """Gives every replica its contiguous rows of each batch."""
    replicas = step.replicas
    if replicas == 1:
        return {k: tf.constant(v) for k, v in batches.items()}
    rows = BATCH // replicas

    def part(context):
        k = context.replica_id_in_sync_group
        return {name: tf.constant(v[:, k * rows : (k + 1) * rows]) for name, v in batches.items()}

    values = step.strategy.experimental_distribute_values_from_function(
        lambda context: part(context)
    )
    return values


def run(model, optimizer, steps=10, batches=None, **settings):
    """Every array of the state after some steps, and the last report."""
    step, state = make(model, optimizer, **settings)
    batches = batches or batches_of(steps)
    loop = settings.get("steps_per_loop", 1)
    report = None
    for first in range(0, steps, loop):
        cut = {k: v[first : first + loop] for k, v in batches.items()}
        report = step(feed(step, cut), len(cut["label"]))
    return state.arrays(), report


def assert_close(a, b, tolerance):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=tolerance, atol=tolerance, err_msg=name)
