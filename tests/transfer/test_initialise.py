import dataclasses
import re
import shlex

import keras
import numpy as np
import pytest
from named_inputs import image, pair, text

from modelzoo.fields.compat import fresh_layer_names
from modelzoo.fields.errors import UserError
from modelzoo.models import CNN, LSTM, Encoder, LSTMSeq2Seq, RecurrentCNN, ResNet, Transformer
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
        ({}, ("head",), r"its 'body/kernel' is missing, the run's is \(3, 4\); use the config"),
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


ENCODER = Encoder(num_layers=1, hidden_dim=4, intermediate_dim=4, num_heads=2)
TRANSFORMER = Transformer(
    num_encoder_layers=1, num_decoder_layers=1, hidden_dim=4, intermediate_dim=4, num_heads=2
)
SEQ2SEQ = LSTMSeq2Seq(embedding_dim=4, units=4)


def separate(config):
    return dataclasses.replace(config, share_embeddings="none")


@pytest.mark.parametrize(
    "config, before, after",
    [
        *(
            (config, (image(12, 12, 3), 4), after)
            for config in (
                CNN(filters=(2, 2), dense=(4,)),
                ResNet(depth=8, width=2),
                RecurrentCNN(filters=2),
            )
            for after in ((image(12, 12, 3), 5), (image(12, 12, 1), 4), (image(12, 12, 1), 5))
        ),
        *(
            (config, (text(11, 6), 4), after)
            for config in (LSTM(embedding_dim=3, units=(4, 4)), ENCODER)
            for after in ((text(11, 6), 5), (text(12, 6), 4), (text(12, 6), 5))
        ),
        (LSTM(units=(4, 4)), (image(4, 3, 1), 4), (image(4, 2, 1), 4)),
        *((config, (pair(11), 11), (pair(12), 12)) for config in (TRANSFORMER, SEQ2SEQ)),
        *(
            (separate(config), (pair(11, 13), 13), after)
            for config in (TRANSFORMER, SEQ2SEQ)
            for after in ((pair(12, 13), 13), (pair(11, 14), 14), (pair(12, 14), 14))
        ),
    ],
    ids=lambda value: type(value).__name__ if dataclasses.is_dataclass(value) else "",
)
def test_the_advice_names_all_that_does_not_fit_and_nothing_else(config, before, after):
    with fresh_layer_names():
        trained = config.build(*before)
    with fresh_layer_names():
        model = config.build(*after)
    theirs = {v.path: np.full(v.shape, 7, np.float32) for v in trained.weights}
    with pytest.raises(UserError, match="init_skip=") as error:
        initialise(model, theirs)
    (word,) = shlex.split(re.search(r"init_skip=(\S+)", str(error.value))[1])
    skip = word.split(",")
    initialise(model, theirs, skip)
    layers = {p.rpartition("/")[0] for p in theirs if len({*shapes_of(trained, model, p)}) > 1}
    for variable in model.weights:
        fits = variable.path.rpartition("/")[0] not in layers
        assert (variable.numpy() == 7).all() == fits, variable.path


def shapes_of(trained, model, path):
    """The shapes of a weight in both models."""
    return [next(tuple(v.shape) for v in one.weights if v.path == path) for one in (trained, model)]
