"""Pure updates against Keras's own optimizers, which assign to variables, and against NumPy."""

import dataclasses
import functools
import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from bound_data import image_data
from linear import Linear

from modelzoo import optimizers
from modelzoo.fields.errors import UserError
from modelzoo.optimizers import (
    SGD,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Ftrl,
    Lamb,
    Lion,
    Muon,
    Nadam,
    Optimizer,
    RMSprop,
    ScheduleFreeAdamW,
)
from modelzoo.optimizers.pure_optimizer import PureOptimizer
from modelzoo.tasks import Classification
from modelzoo.training import checkpoint
from modelzoo.training.config import TrainConfig
from modelzoo.training.precision import dtype_policy
from modelzoo.training.state import TrainState
from modelzoo.training.step import TrainStep

ALL = (Adadelta, Adafactor, Adagrad, Adam, Adamax, AdamW, Ftrl, Lamb, Lion, Muon, Nadam, RMSprop)
AS_KERAS = (*ALL, SGD)
# Keras 3.15 takes z after its step for the one before; ours is the paper's.
ALL = (*AS_KERAS, ScheduleFreeAdamW)

# Each field apart, by a value that shows within a few steps.
CHANGES = [
    (SGD, {"momentum": 0.9}),
    (SGD, {"momentum": 0.9, "nesterov": True}),
    (RMSprop, {"rho": 0.5}),
    (RMSprop, {"momentum": 0.5}),
    (RMSprop, {"epsilon": 0.1}),
    (RMSprop, {"centered": True}),
    (Adagrad, {"initial_accumulator_value": 1.0}),
    (Adagrad, {"epsilon": 0.1}),
    (Adadelta, {"rho": 0.5}),
    (Adadelta, {"epsilon": 1e-3}),
    (Adam, {"beta_1": 0.5}),
    (Adam, {"beta_2": 0.5}),
    (Adam, {"epsilon": 0.1}),
    (Adam, {"amsgrad": True, "beta_2": 0.2}),
    (Adamax, {"beta_1": 0.5}),
    (Adamax, {"beta_2": 0.5}),
    (Adamax, {"epsilon": 0.1}),
    (Nadam, {"beta_1": 0.5}),
    (Nadam, {"beta_2": 0.5}),
    (Nadam, {"epsilon": 0.1}),
    (Lamb, {"beta_1": 0.5}),
    (Lamb, {"beta_2": 0.5}),
    (Lamb, {"epsilon": 0.1}),
    (Lion, {"beta_1": 0.1}),
    (Lion, {"beta_2": 0.1}),
    (Adafactor, {"beta_2_decay": -0.2}),
    (Adafactor, {"epsilon_1": 1.0}),
    (Adafactor, {"epsilon_2": 10.0}),
    (Adafactor, {"clip_threshold": 0.1}),
    (Ftrl, {"learning_rate_power": -0.3}),
    (Ftrl, {"initial_accumulator_value": 1.0}),
    (Ftrl, {"l1_regularization_strength": 1.0}),
    (Ftrl, {"l2_regularization_strength": 1.0}),
    (Ftrl, {"l2_shrinkage_regularization_strength": 1.0}),
    (Ftrl, {"beta": 1.0}),
    (Muon, {"momentum": 0.5}),
    (Muon, {"nesterov": False}),
    (Muon, {"ns_steps": 2}),
    (Muon, {"rms_rate": 0.5}),
    (Muon, {"rms_rate": None}),
    (Muon, {"adam": ("kernel",)}),
    (Muon, {"adam_beta_1": 0.5}),
    (Muon, {"adam_beta_2": 0.5}),
    (Muon, {"epsilon": 0.1}),
    (Muon, {"adam_lr_ratio": 0.5}),
]
RATES = [0.1, 0.05, 0.2, 0.02]
SHARED = {field.name for field in dataclasses.fields(Optimizer)}


def variables(dtype):
    """Of one to four axes, and one that Muon takes for no matrix by its name."""
    rng = np.random.default_rng(0)
    shapes = {"kernel": [3, 2], "bias": [2], "conv": [2, 2, 3, 4], "embedding": [4, 3]}
    return [
        keras.Variable(rng.normal(size=shape), dtype=dtype, name=name)
        for name, shape in shapes.items()
    ]


def gradients(dtype):
    rng = np.random.default_rng(1)
    return [[tf.constant(rng.normal(size=v.shape), dtype) for v in variables(dtype)] for _ in RATES]


def update(config, dtype, wrap=lambda update: update):
    """Values after updating purely."""
    targets = variables(dtype)
    pure = PureOptimizer(config, targets)
    update = wrap(pure.update)
    values = [tf.convert_to_tensor(v) for v in targets]
    slots = [tf.convert_to_tensor(v) for v in pure.variables]
    for rate, step in zip(RATES, gradients(dtype), strict=True):
        values, slots = update(values, slots, step, tf.constant(rate))
    assert [v.shape for v in slots] == [v.shape for v in pure.variables]
    for target, fresh in zip(targets, variables(dtype), strict=True):
        np.testing.assert_array_equal(target.numpy(), fresh.numpy(), "it was assigned")
    return [v.numpy() for v in values]


@functools.cache
def updated(config, dtype="float64"):
    return update(config, dtype)


def reference(config) -> keras.optimizers.Optimizer:
    """Keras's own optimizer of a config; its decay leaves out what ours does."""
    kwargs = {k: v for k, v in vars(config).items() if k not in SHARED}
    kwargs["weight_decay"] = config.weight_decay
    if isinstance(config, Muon):
        if "rms_rate" not in inspect.signature(keras.optimizers.Muon).parameters:
            pytest.skip("Muon of this Keras is another one")
        kwargs.pop("convolutions")
        kwargs["exclude_layers"] = list(kwargs.pop("adam"))
        kwargs |= {"exclude_embeddings": False, "adam_weight_decay": config.weight_decay}
    rule = getattr(keras.optimizers, type(config).__name__)(**kwargs)
    rule.exclude_from_weight_decay(var_names=["bias"])
    return rule


def by_keras(config, dtype):
    rule, targets = reference(config), variables(dtype)
    for rate, step in zip(RATES, gradients(dtype), strict=True):
        rule.learning_rate = rate
        rule.apply(step, targets)
    return [v.numpy() for v in targets]


def assert_equal(ours, theirs, tolerance):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_all_of_keras_are_here():
    classes = [getattr(optimizers, name) for name in optimizers.__all__]
    ours = {cls.keras_name or cls.__name__ for cls in classes}
    theirs = {
        name
        for name, cls in vars(keras.optimizers).items()
        if inspect.isclass(cls) and issubclass(cls, keras.optimizers.Optimizer)
    }
    # Ours is AdamW by the step's own decay; scaling the loss and several at once are no rules.
    others = {"Optimizer", "AdamW", "LossScaleOptimizer", "MultiOptimizer"}
    assert theirs - others <= ours
    assert issubclass(AdamW, Adam)


@pytest.mark.field("Optimizer.weight_decay", "AdamW.weight_decay", "Muon.weight_decay")
@pytest.mark.field("Optimizer.decay_exclude")
@pytest.mark.parametrize("cls", AS_KERAS)
@pytest.mark.parametrize("dtype, tolerance, decay", [("float64", 1e-6, 0), ("float32", 1e-4, 0.3)])
def test_equal_to_keras(cls, dtype, tolerance, decay):
    # Ftrl refuses to decay, and Keras's Muon to compute in float64.
    decay = 0 if cls is Ftrl else decay
    dtype = "float32" if cls is Muon else dtype
    config = cls(weight_decay=float(decay))
    assert config.build().weight_decay is None
    ours = updated(config, dtype)
    assert_equal(ours, by_keras(config, dtype), 1e-4 if cls is Muon else tolerance)
    for value, fresh in zip(ours, variables(dtype), strict=True):
        assert not np.allclose(value, fresh.numpy(), atol=1e-5)


@pytest.mark.field("SGD.momentum", "SGD.nesterov")
@pytest.mark.field("RMSprop.rho", "RMSprop.momentum", "RMSprop.epsilon", "RMSprop.centered")
@pytest.mark.field("Adagrad.initial_accumulator_value", "Adagrad.epsilon")
@pytest.mark.field("Adadelta.rho", "Adadelta.epsilon")
@pytest.mark.field("Moments.beta_1", "Moments.beta_2", "Moments.epsilon", "Adam.amsgrad")
@pytest.mark.field("Lion.beta_1", "Lion.beta_2")
@pytest.mark.field("Adafactor.beta_2_decay", "Adafactor.epsilon_1", "Adafactor.epsilon_2")
@pytest.mark.field("Adafactor.clip_threshold")
@pytest.mark.field("Ftrl.learning_rate_power", "Ftrl.initial_accumulator_value", "Ftrl.beta")
@pytest.mark.field("Ftrl.l1_regularization_strength", "Ftrl.l2_regularization_strength")
@pytest.mark.field("Ftrl.l2_shrinkage_regularization_strength")
@pytest.mark.field("Muon.momentum", "Muon.nesterov", "Muon.ns_steps", "Muon.rms_rate")
@pytest.mark.field("Muon.adam", "Muon.adam_beta_1", "Muon.adam_beta_2", "Muon.epsilon")
@pytest.mark.field("Muon.adam_lr_ratio")
@pytest.mark.parametrize("cls, changes", CHANGES, ids=str)
def test_each_field_does_what_it_does_in_keras(cls, changes):
    last = list(changes)[-1]
    before = cls(**{name: value for name, value in changes.items() if name != last})
    config = dataclasses.replace(before, **changes)
    dtype, tolerance = ("float32", 1e-4) if cls is Muon else ("float64", 1e-6)
    ours, theirs = updated(config, dtype), by_keras(config, dtype)
    assert_equal(ours, theirs, tolerance)
    differs = [np.abs(a - b).max() for a, b in zip(theirs, updated(before, dtype), strict=True)]
    assert max(differs) > 30 * tolerance


@pytest.mark.parametrize("cls", ALL)
def test_compiled_by_xla_it_is_the_same(cls):
    config = cls(weight_decay=0.0)
    compiled = update(config, "float64", lambda pure: tf.function(pure, jit_compile=True))
    assert_equal(compiled, updated(config), 1e-9)


# By hand, in NumPy, from the papers.


def sgd(w, g, rate, s, t):
    s["v"] = 0.9 * s.get("v", 0.0) - rate * g
    return w + s["v"]


def nesterov(w, g, rate, s, t):
    s["v"] = 0.9 * s.get("v", 0.0) - rate * g
    return w + 0.9 * s["v"] - rate * g


def adam(w, g, rate, s, t):
    s["m"] = 0.9 * s.get("m", 0.0) + 0.1 * g
    s["v"] = 0.999 * s.get("v", 0.0) + 0.001 * g * g
    return w - rate * (s["m"] / (1 - 0.9**t)) / np.sqrt(s["v"] / (1 - 0.999**t))


def lion(w, g, rate, s, t):
    m = s.get("m", 0.0)
    s["m"] = 0.99 * m + 0.01 * g
    return w - rate * np.sign(0.9 * m + 0.1 * g)


def adagrad(w, g, rate, s, t):
    s["n"] = s.get("n", 0.1) + g * g
    return w - rate * g / np.sqrt(s["n"])


def schedule_free(w, g, rate, s, t, beta_1=0.9, beta_2=0.999, epsilon=0.0, decay=0.0):
    """Algorithm 1 of Defazio et al. (2024)."""
    z, x = s.setdefault("z", w), s.setdefault("x", w)
    s["v"] = beta_2 * s.get("v", 0.0) + (1 - beta_2) * g * g
    s["z"] = z - rate * g / (np.sqrt(s["v"] / (1 - beta_2**t)) + epsilon) - rate * decay * w
    s["rates"] = s.get("rates", 0.0) + rate**2
    c = rate**2 / s["rates"]
    s["x"] = (1 - c) * x + c * s["z"]
    return (1 - beta_1) * s["z"] + beta_1 * s["x"]


@pytest.mark.parametrize(
    "config, rule",
    [
        (ScheduleFreeAdamW(epsilon=1e-12), schedule_free),
        (SGD(momentum=0.9), sgd),
        (SGD(momentum=0.9, nesterov=True), nesterov),
        (Adam(epsilon=1e-12), adam),
        (AdamW(epsilon=1e-12, weight_decay=0.5, decay_exclude=("bias",)), adam),
        (Lion(weight_decay=0.5), lion),
        (Adagrad(epsilon=1e-12), adagrad),
    ],
    ids=lambda thing: getattr(thing, "__name__", type(thing).__name__),
)
def test_equal_to_the_papers(config, rule):
    values = [v.numpy() for v in variables("float64")]
    states = [{} for _ in values]
    for t, (rate, step) in enumerate(zip(RATES, gradients("float64"), strict=True), 1):
        rate = float(np.float32(rate))
        for k, g in enumerate(step):
            decay = 0.0 if k == 1 else config.weight_decay  # Not of the bias.
            values[k] = rule(values[k] * (1 - rate * decay), g.numpy(), rate, states[k], t)
    assert_equal(updated(config), values, 1e-4 if rule is adam else 1e-6)


@pytest.mark.field("ScheduleFreeAdamW.beta_1", "ScheduleFreeAdamW.beta_2")
@pytest.mark.field("ScheduleFreeAdamW.epsilon")
@pytest.mark.parametrize(
    "changes", [{"beta_1": 0.5}, {"beta_2": 0.5}, {"epsilon": 0.1}, {"weight_decay": 0.5}], ids=str
)
def test_schedule_free_by_hand(changes):
    config = ScheduleFreeAdamW(decay_exclude=("^bias",), **changes)
    for k, value in enumerate(variables("float64")):
        value, state = value.numpy(), {}
        given = {name.replace("weight_", ""): number for name, number in changes.items()}
        if k == 1:
            given.pop("decay", None)
        for t, (rate, step) in enumerate(zip(RATES, gradients("float64"), strict=True), 1):
            rate = float(np.float32(rate))
            value = schedule_free(value, step[k].numpy(), rate, state, t, **given)
        np.testing.assert_allclose(updated(config)[k], value, atol=1e-6)
        assert not given or np.abs(value - updated(ScheduleFreeAdamW())[k]).max() > 1e-3


@pytest.mark.parametrize("warmup", [0, 1000])
def test_schedule_free_decays_at_the_weights_and_averages_by_squared_rates(warmup):
    # Without a gradient, from 1; the algorithm of the paper in plain numbers beside it.
    target = keras.Variable(np.ones([1]), dtype="float32", name="kernel")
    pure = PureOptimizer(ScheduleFreeAdamW(learning_rate=0.01, weight_decay=0.1), [target])
    rates = 0.01 * np.minimum(1.0, np.arange(1, 3001) / max(warmup, 1))

    @tf.function(autograph=False)
    def train(values, state):
        def body(t, values, state):
            rate = tf.constant(rates, tf.float32)[t]
            return t + 1, *pure.update(values, state, [tf.zeros([1])], rate)

        loop = (tf.constant(0), values, state)
        _, values, state = tf.while_loop(lambda t, *_: t < len(rates), body, loop)
        return values, pure.means(values, state)

    state = [tf.convert_to_tensor(v) for v in pure.variables]
    ((y,), (x,)) = train([tf.ones([1])], state)
    expected, own = 1.0, {}
    for t, rate in enumerate(rates, 1):
        expected = schedule_free(expected, 0.0, rate, own, t, epsilon=1e-8, decay=0.1)
    np.testing.assert_allclose([y[0], x[0]], [expected, own["x"]], rtol=1e-4)
    if not warmup:
        np.testing.assert_allclose([y[0], x[0]], [0.0767, 0.1196], atol=5e-5)


def test_decay_of_a_zero_gradient_by_hand():
    targets = variables("float32")[:2]
    pure = PureOptimizer(SGD(weight_decay=0.5, decay_exclude=("bias",)), targets)
    values = [tf.convert_to_tensor(v) for v in targets]
    slots = [tf.convert_to_tensor(v) for v in pure.variables]
    zeros = [tf.zeros([3, 2]), tf.zeros([2])]
    (kernel, bias), _ = pure.update(values, slots, zeros, tf.constant(0.1))
    np.testing.assert_allclose(kernel, targets[0].numpy() * 0.95, rtol=1e-6)
    np.testing.assert_array_equal(bias, targets[1].numpy())
    assert pure.decays == [0.5, 0.0]


# Multipliers.


@pytest.mark.field("Optimizer.learning_rate_multipliers")
@pytest.mark.parametrize("cls", ALL)
def test_a_variables_own_rate(cls):
    pairs = (("embed", 0.0), ("kernel|bias", 0.25), (".*", 1.0))
    config = cls(weight_decay=0.0 if cls is Ftrl else 0.1, learning_rate_multipliers=pairs)
    kernel, bias, conv, embedding = updated(config)
    np.testing.assert_array_equal(embedding, variables("float64")[3].numpy())
    plain = dataclasses.replace(config, learning_rate_multipliers=((".*", 1.0),))
    np.testing.assert_array_equal(conv, updated(plain)[2])
    quarter = dataclasses.replace(config, learning_rate_multipliers=((".*", 0.25),))
    np.testing.assert_array_equal(kernel, updated(quarter)[0])
    np.testing.assert_array_equal(bias, updated(quarter)[1])
    assert not np.allclose(kernel, updated(plain)[0])


@pytest.mark.field("Optimizer.weight_decay_multipliers")
def test_a_variables_own_decay():
    pairs = (("conv", 0.0), ("kernel", 0.5), (".*", 1.0))
    targets = variables("float64")
    pure = PureOptimizer(SGD(weight_decay=0.4, weight_decay_multipliers=pairs), targets)
    assert pure.decays == [0.2, 0.0, 0.0, 0.4]
    half = updated(SGD(weight_decay=0.2))
    whole = updated(SGD(weight_decay=0.4))
    none = updated(SGD())
    own = updated(SGD(weight_decay=0.4, weight_decay_multipliers=pairs))
    for value, expected in zip(own, [half[0], none[1], none[2], whole[3]], strict=True):
        np.testing.assert_array_equal(value, expected)


def test_patterns_that_do_not_fit_are_told():
    with pytest.raises(UserError, match="learning_rate_multipliers has no pattern for .* conv:"):
        PureOptimizer(Adam(learning_rate_multipliers=(("kernel|bias", 1.0),)), variables("float32"))


# In the train step.


BATCH, LOOP = 8, 3
SHAPE = (3, 2, 1)
DATA = image_data(SHAPE, ("a", "b", "c"))


def strategy():
    return tf.distribute.MirroredStrategy(
        ["cpu:0", "cpu:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )


def precision_of(config):
    return "float32" if isinstance(config, Muon) else "float64"


def state_of(config, strategy):
    keras.utils.set_random_seed(7)
    task = Classification().bind(DATA)
    with strategy.scope(), dtype_policy(precision_of(config)):
        return task, TrainState(task.build_model(Linear(hidden=4)), config, ema=False)


def batches():
    rng = np.random.default_rng(3)
    return {
        "image": rng.normal(size=[2 * LOOP, BATCH, *SHAPE]),
        "label": rng.integers(0, 3, [2 * LOOP, BATCH]),
        "weight": np.ones([2 * LOOP, BATCH], np.float32),
    }


def rate_of(step):
    return 0.05 / (1.0 + tf.cast(step, tf.float32))


def trained_by_keras(config):
    """The weights after all batches, by the plain loop of a Keras user."""
    _, state = state_of(config, tf.distribute.get_strategy())
    model, rule, data = state.model, reference(config), batches()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for k in range(2 * LOOP):
        with tf.GradientTape() as tape:
            value = loss(data["label"][k], model({"image": data["image"][k]}))
        rule.learning_rate = float(rate_of(k))
        rule.apply(tape.gradient(value, model.trainable_variables), model.trainable_variables)
    return {v.path: v.numpy() for v in model.trainable_variables}


@pytest.mark.parametrize("cls", ALL)
def test_two_replicas_a_loop_and_a_resume_change_nothing(cls, tmp_path):
    config = cls(weight_decay=0.0 if cls is Ftrl else 0.1)
    two = strategy()
    task, state = state_of(config, two)
    settings = TrainConfig(batch_size=BATCH, steps_per_loop=LOOP, precision=precision_of(config))
    step = TrainStep(task.objective, state, settings, rate_of, two, seed=0)

    def run(first):
        def rows(context):
            half = BATCH // 2
            start = context.replica_id_in_sync_group * half
            cut = {k: v[first : first + LOOP, start : start + half] for k, v in batches().items()}
            return {**cut, "image": tf.cast(cut["image"], settings.precision)}

        assert step(two.experimental_distribute_values_from_function(rows), LOOP)["ok"].all()

    fresh = state.arrays()
    run(0)
    checkpoint.write(tmp_path, state.arrays(), checkpoint.Meta(step=LOOP, examples=LOOP * BATCH))
    run(LOOP)
    after = state.arrays()

    # Another state of the same config has the same names, whatever was built before.
    assert state_of(config, two)[1].arrays().keys() == after.keys()
    with two.scope():
        state.restore(fresh, 0)
        state.restore(checkpoint.read(checkpoint.find(tmp_path)), LOOP)
    run(LOOP)
    for name, value in state.arrays().items():
        np.testing.assert_array_equal(value, after[name], err_msg=name)
    for variable in state.trainable + state.optimizer_state:
        copies = [value.numpy() for value in two.experimental_local_results(variable.value)]
        np.testing.assert_array_equal(copies[0], copies[1], err_msg=variable.path)

    tolerance = 1e-3 if cls is Muon else 1e-6
    for path, value in (trained_by_keras(config) if cls in AS_KERAS else {}).items():
        ours = after[f"model/{path}"]
        np.testing.assert_allclose(ours, value, rtol=tolerance, atol=tolerance, err_msg=path)
        assert not np.allclose(ours, fresh[f"model/{path}"])


def test_slots_have_names_of_their_own():
    targets = [keras.Variable(np.ones([2, 3]), name=name, dtype="float32") for name in "ab"]
    assert PureOptimizer(SGD(momentum=0.9), targets).names == [
        "sgd/iteration",
        "sgd/a_momentum",
        "sgd/b_momentum",
    ]
    assert PureOptimizer(Nadam(), targets).names[-1] == "nadam/u_product"
    names = PureOptimizer(Adafactor(), targets).names
    assert {"adafactor/r/a", "adafactor/c/a", "adafactor/r/b", "adafactor/b_velocity"} < {*names}
    assert len({*names}) == len(names)
