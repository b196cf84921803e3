import pytest

from modelzoo.fields.duration import parse_duration, to_steps


@pytest.mark.parametrize(
    "length, steps",
    [
        (7, 7),
        ("7", 7),
        ("7 steps", 7),
        ("1 step", 1),
        ("30 epochs", 15_000),  # Of 50,000 examples in batches of 100.
        ("1 epoch", 500),
        ("0.5 epochs", 250),
        ("1_000 examples", 10),
        ("1001 examples", 11),
        ("2epochs", 1000),
    ],
)
def test_steps(length, steps):
    assert to_steps(length, lambda examples: examples / 100, examples_per_epoch=50_000) == steps


def test_a_part_of_a_batch_is_a_step():
    assert to_steps("1 epoch", lambda examples: examples / 64, examples_per_epoch=1257) == 20


@pytest.mark.parametrize("length", ["", "ten epochs", "3 weeks", -1, 1.5, True, None, "-1 epoch"])
def test_anything_else_is_refused(length):
    with pytest.raises(ValueError, match="steps or text like '30 epochs'"):
        parse_duration(length)
