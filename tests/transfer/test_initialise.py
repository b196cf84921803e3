import keras
import numpy as np
import pytest

from modelzoo.fields.errors import UserError
from modelzoo.transfer.initialise import initialise


@pytest.fixture
def model():
    inputs = keras.Input([3])
    outputs = keras.layers.Dense(2, name="head")(keras.layers.Dense(4, name="body")(inputs))
    return keras.Model(inputs, outputs)


def arrays(classes=2, **more):
    """Other weights, for a head of so many classes."""
    shapes = {"body/kernel": (3, 4), "body/bias": (4,)}
    shapes |= {"head/kernel": (4, classes), "head/bias": (classes,)}
    return {path: np.full(shape, 7, np.float32) for path, shape in {**shapes, **more}.items()}


def changed(model, *given):
    """Paths of the weights that `initialise` sets."""
    before = {v.path: v.numpy() for v in model.weights}
    initialise(model, *given)
    after = {v.path: v.numpy() for v in model.weights}
    assert all((after[path] == 7).all() for path in after if (after[path] != before[path]).any())
    return [path for path in after if (after[path] != before[path]).any()]


def test_all_or_what_is_not_skipped_is_taken_over(model):
    assert changed(model, arrays(5), ("head",)) == ["body/kernel", "body/bias"]
    # A head that is called otherwise there is left out as well.
    assert changed(model, arrays(**{"top/bias": (9,)}), ("head/k", "top")) == ["head/bias"]
    assert changed(model, arrays()) == ["head/kernel"]


@pytest.mark.parametrize(
    "theirs, skip, message",
    [
        (arrays(5), (), r"its 'head/kernel' is \(4, 5\), the run's is \(4, 2\); .*init_skip=head "),
        (arrays(5), ("kernel",), r"its 'head/bias' is \(5,\), the run's is \(2,\)"),
        (arrays(**{"top/bias": (9,)}), (), r"its 'top/bias' is \(9,\), the run's is missing"),
        ({}, ("head",), r"its 'body/kernel' is missing, the run's is \(3, 4\); .*init_skip=body "),
        (arrays(), ("head", "haed"), "init_skip: 'haed' matches no variable"),
        (arrays(), ("head", "body"), "init_skip=head,body skips all weights"),
    ],
)
def test_mistakes_are_told_and_change_nothing(model, theirs, skip, message):
    before = [v.numpy() for v in model.weights]
    with pytest.raises(UserError, match=message):
        initialise(model, theirs, skip)
    for variable, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
