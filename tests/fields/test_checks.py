import dataclasses

import pytest

from modelzoo.fields import checks, overrides
from modelzoo.fields.errors import FieldError, UserError


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: checks.check_at_least(1, a=None, b=0), "b must be at least 1, got 0"),
        (lambda: checks.check_positive(a=0.5, b=-1.0), "b must be above 0, got -1.0"),
        (lambda: checks.check_positive(b=float("nan")), "b must be above 0, got nan"),
        (lambda: checks.check_share(a=0, c=1, b=1.5), "b must be between 0 and 1, got 1.5"),
        (lambda: checks.check_rate(a=0, b=1.0), "b must be at least 0 and below 1, got 1.0"),
        (lambda: checks.check_durations(a=None, b=0), "b must be longer than 0, got 0"),
        (lambda: checks.check_durations(a="1 epoch", b="3 eons"), "b must be a number of steps or"),
        (lambda: checks.check_patterns(a=["x"], b=["("]), "b must hold regular expressions, got"),
    ],
)
def test_a_check_raises_an_error_with_the_field(check, message):
    with pytest.raises(FieldError) as caught:
        check()
    assert str(caught.value).startswith(message)
    assert caught.value.field == "b"
    assert str(caught.value) == f"b {caught.value.message}"


@dataclasses.dataclass(frozen=True)
class Block:
    width: int = 1

    def __post_init__(self):
        checks.check_at_least(1, width=self.width)


@dataclasses.dataclass(frozen=True)
class Net:
    block: Block = Block()
    depth: int = 1

    def __post_init__(self):
        if self.depth > self.block.width:
            raise FieldError("depth", f"must be at most\nblock.width, got {self.depth}")


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ({"block.width": "0"}, "config.model.block.width must be at least 1, got 0"),
        ({"depth": 3}, "config.model.depth must be at most block.width, got 3"),
    ],
)
def test_an_override_puts_the_path_before_the_field(pairs, message):
    with pytest.raises(UserError) as caught:
        overrides.apply(Net(), pairs, "config.model")
    assert str(caught.value) == message
