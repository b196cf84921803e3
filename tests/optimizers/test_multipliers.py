import pytest

from modelzoo.fields.errors import UserError
from modelzoo.optimizers.multipliers import multipliers

PATHS = ["stem/kernel", "stem/bias", "block1/kernel", "block2/kernel", "logits/kernel"]


def test_the_first_pattern_found_counts():
    assert multipliers("k", (("logits", 3.0), ("bias$", 2.0), (".*", 0.5)), PATHS) == [
        0.5,
        2.0,
        0.5,
        0.5,
        3.0,
    ]
    assert multipliers("k", (("stem", 0.0), ("block|logits", 1.0)), PATHS) == [0, 0, 1, 1, 1]


def test_a_last_pattern_for_all_others_may_have_none():
    pairs = (("kernel", 1.0), ("bias", 2.0), (".*", 9.0))
    assert multipliers("k", pairs, PATHS) == [1, 2, 1, 1, 1]


def test_layer_wise_decay():
    # Each block learns at 0.8 of the rate of the next (Bao et al. 2022, appendix).
    blocks = ["stem", "block1", "block2", "logits"]
    pairs = tuple((f"^{name}/", 0.8**depth) for depth, name in enumerate(reversed(blocks)))
    got = multipliers("k", pairs, PATHS)
    assert got == pytest.approx([0.512, 0.512, 0.64, 0.8, 1.0])


@pytest.mark.parametrize(
    "pairs, says",
    [
        ((("kernel", 1.0),), "the.key has no pattern for the variable stem/bias: end with"),
        ((), "the.key has no pattern for the variable stem/kernel"),
        ((("blok", 1.0), (".*", 1.0)), "the.key: 'blok' matches no variable; .* stem/kernel, log"),
        (((".*", 1.0), ("logits", 2.0)), "the.key: 'logits' has no effect.* logits/kernel"),
        ((("k", 1.0), ("stem", 2.0), ("s/k", 3.0)), "'s/k' has no effect"),
    ],
)
def test_patterns_that_do_not_fit(pairs, says):
    with pytest.raises(UserError, match=says) as caught:
        multipliers("the.key", pairs, PATHS)
    assert "\n" not in str(caught.value)
