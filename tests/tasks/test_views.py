"""Test-time augmentation against NumPy, and the same in evaluation and in what is served."""

import numpy as np
import pytest
import tensorflow as tf
from bound_data import image_data
from linear import Linear, logits_of, softmax

from modelzoo.tasks import Classification, Regression, Tagging, views

SHAPE = (4, 6, 3)
NAMES = ("ant", "bee", "cat")


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


@pytest.mark.field("Image.test_views")
@pytest.mark.parametrize("name", ["one", "flip", "flip_shift"])
@pytest.mark.parametrize("n", [0, 1, 5])
def test_evaluated_and_served_probabilities_are_the_mean_of_the_views(name, n):
    data = image_data(SHAPE, NAMES, test_views=name)
    task = Classification().bind(data)
    model = task.build_model(Linear())
    image = np.random.default_rng(0).integers(0, 256, (n, *SHAPE), np.uint8)
    expected = sum(
        share * softmax(logits_of(model, view / 127.5 - 1)) for share, view in shown(image, name)
    )
    served = task.signatures(model)["serving_default"](tf.constant(image))
    np.testing.assert_allclose(served["scores"], expected, atol=1e-5)
    batch = data.features({"image": tf.constant(image)}, training=False)
    logits = task.objective.outputs(model, batch)["logits"]
    np.testing.assert_allclose(tf.nn.softmax(logits), expected, atol=1e-5)
    trained = task.objective.outputs(model, batch, training=True)["logits"]
    np.testing.assert_allclose(trained, model({"image": batch["image"]}), atol=1e-5)


@pytest.mark.parametrize("kind", ["tags", "values"])
def test_other_tasks_average_probabilities_or_values(kind):
    task = {"tags": Tagging, "values": Regression}[kind]()
    task = task.bind(image_data(SHAPE, NAMES, kind, test_views="flip"))
    model = task.build_model(Linear())
    image = np.random.default_rng(0).integers(0, 256, (5, *SHAPE), np.uint8)
    seen = [logits_of(model, view / 127.5 - 1) for _, view in shown(image, "flip")]
    if kind == "tags":
        seen = [1 / (1 + np.exp(-logits)) for logits in seen]
    served = task.signatures(model)["serving_default"](tf.constant(image))
    found = served["scores" if kind == "tags" else "values"]
    np.testing.assert_allclose(found, np.mean(seen, axis=0), atol=1e-5)


def test_the_mean_of_sigmoids_and_of_extreme_probabilities():
    rng = np.random.default_rng(0)
    shares, logits = [0.25, 0.75], list(rng.normal(0, 3, (2, 4, 3)))
    constants = [tf.constant(one) for one in logits]
    expected = sum(s / (1 + np.exp(-one)) for s, one in zip(shares, logits, strict=True))
    got = tf.sigmoid(views.mean_sigmoid(shares, constants))
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    far = [tf.constant([[800.0, 0.0]]), tf.constant([[900.0, 0.0]])]
    assert np.isfinite(views.mean_softmax([0.5, 0.5], far)).all()
    assert np.isfinite(views.mean_sigmoid([0.5, 0.5], far)).all()
