import pytest

from modelzoo.optimizers import (
    SGD,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    AdamW,
    Ftrl,
    Lamb,
    Lion,
    Muon,
    Nadam,
    Optimizer,
    RMSprop,
)


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
        (lambda: Adadelta(rho=1.0), "rho"),
        (lambda: Adagrad(initial_accumulator_value=-1.0), "initial_accumulator_value"),
        (lambda: Nadam(beta_1=-0.1), "beta_1"),
        (lambda: Lamb(epsilon=-1.0), "epsilon"),
        (lambda: Lion(beta_1=0.0), "beta_1"),
        (lambda: Adafactor(beta_2_decay=0.0), "beta_2_decay"),
        (lambda: Adafactor(clip_threshold=0.0), "clip_threshold"),
        (lambda: Ftrl(learning_rate_power=0.5), "learning_rate_power"),
        (lambda: Ftrl(l1_regularization_strength=-1.0), "l1_regularization_strength"),
        (lambda: Ftrl(weight_decay=0.1), "weight_decay"),
        (lambda: Muon(ns_steps=0), "ns_steps"),
        (lambda: Muon(rms_rate=0.0), "rms_rate"),
        (lambda: Muon(adam=("(",)), "adam"),
        (lambda: Adam(learning_rate_multipliers=(("(", 1.0),)), "learning_rate_multipliers"),
        (lambda: Adam(learning_rate_multipliers=((".*", -1.0),)), "learning_rate_multipliers"),
        (lambda: Adam(weight_decay_multipliers=((".*", -1.0),)), "weight_decay_multipliers"),
    ],
)
def test_wrong_values_name_the_field(build, word):
    with pytest.raises(ValueError, match=f"^{word} "):
        build()


def test_base_is_no_optimizer():
    with pytest.raises(NotImplementedError):
        Optimizer().build()
