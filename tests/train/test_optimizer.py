"""Pure updates against Keras's own optimizers, which assign to variables."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from modelzoo.train.optimizer import SGD, Adam, AdamW, Optimizer, PureOptimizer, RMSprop

ALL = [
    SGD(0.1),
    SGD(0.1, momentum=0.9),
    SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.05),
    RMSprop(0.01),
    RMSprop(0.01, rho=0.8, momentum=0.5, epsilon=1e-3, centered=True),
    Adam(0.01),
    Adam(0.01, beta_1=0.8, beta_2=0.9, epsilon=1e-3, amsgrad=True),
    AdamW(0.01, weight_decay=0.2),
]


def variables(prefix):
    rng = np.random.default_rng(0)
    return [
        keras.Variable(rng.normal(size=[3, 2]), dtype="float32", name=f"{prefix}kernel"),
        keras.Variable(rng.normal(size=[2]), dtype="float32", name=f"{prefix}bias"),
    ]


def steps_of(config, rates, gradients):
    """Values after updating purely, one rate and one list of gradients for each step."""
    targets = variables("")
    optimizer = PureOptimizer(config, targets)
    values = [tf.convert_to_tensor(v) for v in targets]
    slots = [tf.convert_to_tensor(v) for v in optimizer.variables]
    for rate, step in zip(rates, gradients, strict=True):
        values, slots = optimizer.update(values, slots, step, tf.constant(rate))
    assert [v.shape for v in slots] == [v.shape for v in optimizer.variables]
    return values, targets


def some_gradients(steps):
    rng = np.random.default_rng(1)
    draws = [[rng.normal(size=[3, 2]), rng.normal(size=[2])] for _ in range(steps)]
    return [[tf.constant(g, tf.float32) for g in draw] for draw in draws]


@pytest.mark.field("RMSprop.rho", "RMSprop.momentum", "RMSprop.epsilon", "RMSprop.centered")
@pytest.mark.field("Adam.beta_1", "Adam.beta_2", "Adam.epsilon", "Adam.amsgrad")
@pytest.mark.field("SGD.momentum", "SGD.nesterov")
@pytest.mark.field("AdamW.weight_decay", "Optimizer.weight_decay", "Optimizer.decay_exclude")
@pytest.mark.parametrize("config", ALL, ids=str)
def test_equal_to_keras(config):
    rates, gradients = [0.1, 0.05, 0.01, 0.02], some_gradients(4)
    values, _ = steps_of(config, rates, gradients)
    theirs = variables("")
    kwargs = {
        k: v
        for k, v in vars(config).items()
        if k not in ("learning_rate", "schedule", "decay_exclude", "weight_decay")
    }
    name = type(config).__name__
    if config.weight_decay:
        kwargs["weight_decay"] = config.weight_decay
    reference = getattr(keras.optimizers, name)(**kwargs)
    reference.exclude_from_weight_decay(var_names=["bias"])
    for rate, step in zip(rates, gradients, strict=True):
        reference.learning_rate = rate
        reference.apply(step, theirs)
    for ours, their in zip(values, theirs, strict=True):
        np.testing.assert_allclose(ours, their.numpy(), rtol=1e-5, atol=1e-6)
    moved = [not np.allclose(v, s.numpy()) for v, s in zip(values, variables(""), strict=True)]
    assert all(moved)


def test_fields_differ_in_effect():
    """Each field of the list above changes the result of its optimizer's defaults."""
    rates, gradients = [0.1] * 3, some_gradients(3)
    changes = [
        (SGD(), [SGD(momentum=0.5), SGD(momentum=0.5, nesterov=True)]),
        (RMSprop(), [RMSprop(rho=0.5), RMSprop(momentum=0.5), RMSprop(epsilon=0.1)]),
        (RMSprop(), [RMSprop(centered=True)]),
        (Adam(), [Adam(beta_1=0.5), Adam(beta_2=0.5), Adam(epsilon=0.1), AdamW()]),
    ]
    for base, others in changes:
        before, _ = steps_of(base, rates, gradients)
        for other in others:
            after, _ = steps_of(other, rates, gradients)
            assert not np.allclose(before[0], after[0], atol=1e-5), other


def test_nothing_is_assigned():
    _, targets = steps_of(Adam(), [0.1], some_gradients(1))
    for target, fresh in zip(targets, variables(""), strict=True):
        np.testing.assert_array_equal(target.numpy(), fresh.numpy())


def test_decay_of_a_zero_gradient_by_hand():
    config = SGD(weight_decay=0.5, decay_exclude=("bias",))
    zeros = [[tf.zeros([3, 2]), tf.zeros([2])]]
    (kernel, bias), targets = steps_of(config, [0.1], zeros)
    np.testing.assert_allclose(kernel, targets[0].numpy() * 0.95, rtol=1e-6)
    np.testing.assert_array_equal(bias, targets[1].numpy())
    assert [config.decays(p) for p in ("a/kernel", "a/bias")] == [True, False]
    assert not SGD().decays("a/kernel")


@pytest.mark.parametrize(
    "build, word",
    [
        (lambda: SGD(0.0), "learning_rate"),
        (lambda: SGD(nesterov=True), "nesterov"),
        (lambda: SGD(momentum=1.0), "momentum"),
        (lambda: Adam(beta_2=1.5), "beta_2"),
        (lambda: RMSprop(epsilon=0.0), "epsilon"),
        (lambda: AdamW(weight_decay=-1.0), "weight_decay"),
        (lambda: AdamW(decay_exclude=("(",)), "decay_exclude"),
    ],
)
def test_wrong_values_name_the_field(build, word):
    with pytest.raises(ValueError, match=f"^{word}"):
        build()


def test_base_is_no_optimizer():
    with pytest.raises(NotImplementedError):
        Optimizer().build()
