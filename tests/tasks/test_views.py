"""Test-time augmentation against NumPy, and the same in evaluation and in what is served."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from modelzoo.data.spec import ImageSpec
from modelzoo.tasks.image_classification import ImageClassification

from modelzoo.fields.errors import UserError
from modelzoo.tasks import views

SPEC = ImageSpec(4, 6, 3, ("ant", "bee", "cat"))


@dataclasses.dataclass(frozen=True)
class Linear:
    """A model config, as small as they come."""

    def build(self, input_spec, num_outputs):
        inputs = keras.Input(input_spec.shape[1:], name="image")
        x = keras.layers.Flatten(name="flatten")(inputs)
        return keras.Model(inputs, keras.layers.Dense(num_outputs, name="logits")(x))


def shown(image, name):
    """Every view and its share, as airbench94 weighs them."""
    whole = [image, image[:, :, ::-1]]
    if name == "one":
        return [(1, image)]
    if name == "flip":
        return [(1 / 2, view) for view in whole]
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    height, width = image.shape[1:3]
    moved = [padded[:, :height, :width], padded[:, 2:, 2:]]
    moved += [view[:, :, ::-1] for view in moved]
    return [(1 / 4, view) for view in whole] + [(1 / 8, view) for view in moved]


def softmax(logits):
    exp = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


@pytest.mark.field("ImageInputs.test_views")
@pytest.mark.parametrize("name", ["one", "flip", "flip_shift"])
@pytest.mark.parametrize("n", [0, 1, 5])
def test_evaluated_and_served_scores_are_the_mean_of_the_views(name, n):
    task = ImageClassification(test_views=name).bind(SPEC)
    model = task.build_model(Linear())
    image = np.random.default_rng(0).integers(0, 256, (n, *SPEC.shape), np.uint8)
    kernel, bias = (weight.numpy() for weight in model.weights)

    def probabilities(pixels):
        return softmax((pixels / 127.5 - 1).reshape(n, 4 * 6 * 3) @ kernel + bias)

    expected = sum(share * probabilities(view) for share, view in shown(image, name))
    served = task.signatures(model)["serving_default"](tf.constant(image))
    np.testing.assert_allclose(served["scores"], expected, atol=1e-5)
    batch = task.features({"image": tf.constant(image)}, training=False)
    logits = task.outputs(model, batch)["logits"]
    np.testing.assert_allclose(tf.nn.softmax(logits), expected, atol=1e-5)
    np.testing.assert_allclose(
        task.outputs(model, batch, training=True)["logits"], model(batch["image"]), atol=1e-5
    )


def test_the_mean_of_sigmoids_and_of_extreme_probabilities():
    rng = np.random.default_rng(0)
    shares, logits = [0.25, 0.75], list(rng.normal(0, 3, (2, 4, 3)))
    constants = [tf.constant(one) for one in logits]
    expected = sum(s / (1 + np.exp(-one)) for s, one in zip(shares, logits, strict=True))
    got = tf.sigmoid(views.mean_sigmoid(shares, constants))
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    np.testing.assert_allclose(
        views.mean(shares, constants), 0.25 * logits[0] + 0.75 * logits[1], rtol=1e-6
    )
    far = [tf.constant([[800.0, 0.0]]), tf.constant([[900.0, 0.0]])]
    assert np.isfinite(views.mean_softmax([0.5, 0.5], far)).all()
    assert np.isfinite(views.mean_sigmoid([0.5, 0.5], far)).all()


def test_an_image_of_one_row_cannot_be_shifted():
    with pytest.raises(UserError, match="test_views=flip_shift needs images of at least 2x2.* 1x6"):
        ImageClassification(test_views="flip_shift").bind(dataclasses.replace(SPEC, height=1))
