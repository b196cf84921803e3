"""What a signature of each kind of input serves is what evaluation computes, whatever the batch."""

import io

import numpy as np
import pytest
import tensorflow as tf
from bound_data import image_data, target_of
from linear import Linear, logits_of, softmax
from mixed import Mixed, mixed_logits
from pairs import TINY, pair_data
from PIL import Image as Pillow
from texts import ODD, Bag, text_data

from modelzoo.data import Series
from modelzoo.data.bound import BoundData
from modelzoo.data.inputs.series import BoundSeries
from modelzoo.decoding.config import Decoding
from modelzoo.serving import saved_model
from modelzoo.tasks import Classification, Regression, Tagging, TextToText, TokenClassification

NAMES = ("ant", "bee", "cat")
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (5, 4, 6, 3), np.uint8)
SERIES = (RNG.normal(size=(5, 3, 2)) * (10, 0.5) + (20, 5)).astype(np.float32)
TEXTS = ["bee ant", "", "🐜 hen", "gnu " * 9, "dog dog cät"]
# Words by frequency, then by text, after padding and unknown; nine words are truncated to eight.
IDS = [[3, 2], [], [1, 9], [8] * 8, [5, 5, 4]]

IMAGE = image_data(PIXELS.shape[1:], NAMES)
TEXT = text_data(names=NAMES)
SCALED = BoundData(
    {"": BoundSeries(Series(length=3), ("a", "b"), 3, ("a", "b"), (20.0, 5.0), (10.0, 0.5))},
    target_of(NAMES),
)
SEVERAL = BoundData(
    {
        "photo": IMAGE.inputs[""],
        "title": TEXT.inputs[""],
        "body": TEXT.inputs[""],
        "load": SCALED.inputs[""],
    },
    target_of(NAMES),
)


def png(image):
    file = io.BytesIO()
    Pillow.fromarray(image).save(file, "PNG")
    return file.getvalue()


PNGS = np.array([png(image) for image in PIXELS], object)
BODIES, BODY_IDS = TEXTS[::-1], IDS[::-1]
SEEN = {"image": PIXELS / 127.5 - 1, "series": (SERIES - (20, 5)) / (10, 0.5)}
SEVERAL_SEEN = {
    "photo/image": SEEN["image"],
    "title/tokens": IDS,
    "body/tokens": BODY_IDS,
    "load/series": SEEN["series"],
}
# By case: the data, a signature, its arguments, and what the model sees.
CASES = {
    "image": (IMAGE, "serving_default", {"images": PIXELS}, {"image": SEEN["image"]}),
    "image_bytes": (IMAGE, "image_bytes", {"encoded": PNGS}, {"image": SEEN["image"]}),
    "text": (TEXT, "serving_default", {"text": TEXTS}, {"tokens": IDS}),
    "series": (SCALED, "serving_default", {"series": SERIES}, {"series": SEEN["series"]}),
    "several": (
        SEVERAL,
        "serving_default",
        {"photo": PIXELS, "title": TEXTS, "body": BODIES, "load": SERIES},
        SEVERAL_SEEN,
    ),
    "several_bytes": (
        SEVERAL,
        "image_bytes",
        {"photo": PNGS, "title": TEXTS, "body": BODIES, "load": SERIES},
        SEVERAL_SEEN,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_exported_and_served_is_what_is_evaluated(case, tmp_path):
    data, name, arguments, seen = CASES[case]
    task = Classification().bind(data)
    model = task.build_model(Mixed())
    expected = softmax(mixed_logits(model, seen))
    parts = data.serving()[name]
    assert parts.keys() == arguments.keys()
    raw = {part: tf.constant(arguments[key], spec.dtype) for key, (part, spec) in parts.items()}
    outputs = task.objective.outputs(model, data.features(raw, training=False))
    evaluated = task.serving.to_serving(outputs)
    np.testing.assert_allclose(evaluated["scores"], expected, atol=1e-5)
    exported = tf.saved_model.load(saved_model.export(model, task, {}, tmp_path)).signatures[name]
    for rows in (slice(0), slice(1, 2), slice(5)):
        cut = {key: raw[part][rows] for key, (part, _) in parts.items()}
        for served in (task.signatures(model)[name](*cut.values()), exported(**cut)):
            assert served["scores"].dtype == tf.float32
            np.testing.assert_allclose(served["scores"], expected[rows], atol=1e-5)
            classes = [one.decode() for one in served["classes"].numpy()]
            assert classes == [NAMES[k] for k in expected[rows].argmax(axis=-1)]


@pytest.mark.parametrize(("task", "kind"), [(Tagging(), "tags"), (Regression(), "values")])
@pytest.mark.parametrize("n", [0, 5])
def test_other_targets_are_served_in_their_form(task, kind, n):
    data = BoundData(SCALED.inputs, target_of(NAMES, kind))
    task = task.bind(data)
    model = task.build_model(Linear())
    logits = logits_of(model, SEEN["series"][:n])
    served = task.signatures(model)["serving_default"](tf.constant(SERIES[:n]))
    if kind == "values":
        assert served.keys() == {"values"}
        np.testing.assert_allclose(served["values"], logits, atol=1e-5)
        return
    np.testing.assert_allclose(served["scores"], 1 / (1 + np.exp(-logits)), atol=1e-5)
    np.testing.assert_array_equal(served["predicted"], served["scores"].numpy() >= 0.5)
    assert [[c.decode() for c in row] for row in served["classes"].numpy()] == [list(NAMES)] * n


TASKS = {
    "class": Classification(),
    "tags": Tagging(),
    "values": Regression(),
    "labels": TokenClassification(),
    "text": TextToText(decoding=Decoding(beams=2)),
}


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("texts", [[], ODD[:1], ODD], ids=["none", "empty", "odd"])
def test_any_text_is_served_alike_alone_and_beside_others(kind, texts):
    data = pair_data() if kind == "text" else text_data(kind)
    task = TASKS[kind].bind(data)
    serve = task.signatures(task.build_model(TINY if kind == "text" else Bag()))["serving_default"]
    together = {k: v.numpy() for k, v in serve(tf.constant(texts, tf.string)).items()}
    for name, value in together.items():
        assert len(value) == len(texts), name
        assert value.dtype == object or np.isfinite(value).all(), name
    for k, text in enumerate(texts):
        for name, alone in serve(tf.constant([text])).items():
            alone, value = np.asarray(alone.numpy()[0]), np.asarray(together[name][k])
            if kind == "labels":
                assert not value[len(alone) :].any(), name
                value = value[: len(alone)]
            if value.dtype.kind in "OS":
                assert np.array_equal(alone, value), name
            else:
                np.testing.assert_allclose(alone, value, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("broken", [b"", b"no image", PNGS[0][:60]], ids=["empty", "text", "cut"])
def test_a_broken_image_is_an_invalid_argument(broken):
    task = Classification().bind(IMAGE)
    image_bytes = task.signatures(task.build_model(Linear()))["image_bytes"]
    with pytest.raises(tf.errors.InvalidArgumentError):
        image_bytes(tf.constant([PNGS[0], broken]))
