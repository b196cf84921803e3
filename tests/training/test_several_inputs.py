"""A run on several named inputs: trained, evaluated, exported and served with the same outputs."""

import csv

import numpy as np
import pytest
from mixed import Mixed
from PIL import Image as Pillow
from runs import train, weights

import modelzoo
from modelzoo import DistributeConfig, EvalConfig, Experiment, TrainConfig, UserError
from modelzoo.data import Augment, ClassLabel, Dataset, Image, Series, Table, Text, Words
from modelzoo.inference.predictor import Predictor
from modelzoo.optimizers import Adam
from modelzoo.tasks import Classification

WORDS = ("ant", "bee", "cat", "dog")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Tables of a title, a body, an image and two numbers; title and width decide the class."""
    root = tmp_path_factory.mktemp("several")
    rng = np.random.default_rng(0)
    for split, count in (("train", 40), ("test", 13)):
        with open(root / f"{split}.csv", "w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["title", "body", "photo", "width", "height", "label"])
            for k in range(count):
                title, large = rng.choice(WORDS[:2]), bool(rng.integers(2))
                body = " ".join(rng.choice(WORDS, rng.integers(1, 9)))
                pixels = rng.integers(0, 256, (3, 4), np.uint8)
                Pillow.fromarray(pixels).save(root / f"{split}{k}.png")
                width, height = 100 + 50 * large + rng.integers(9), rng.integers(9)
                label = "yes" if title == "ant" and large else "no"
                rows.writerow([title, body, f"{split}{k}.png", width, height, label])
    return root


def experiment(folder, **fields):
    return Experiment(
        model=Mixed(),
        task=Classification(),
        data=Dataset(
            source=Table(str(folder / "{split}.csv")),
            inputs={
                "title": Text(columns=("title",), tokenizer=Words(), lengths=(4,)),
                "body": Text(columns=("body",), tokenizer=Words(), lengths=(4, 8)),
                "photo": Image(columns=("photo",), augment=Augment(flip=True)),
                "size": Series(columns=("width", "height"), layout="rows_are_examples"),
            },
            target=ClassLabel(),
        ),
        optimizer=Adam(0.1),
        train=TrainConfig(steps=30, batch_size=8, checkpoint_every=30),
        eval=EvalConfig(every=None),
        **fields,
    )


def test_several_inputs_are_trained_evaluated_exported_and_served(folder, tmp_path):
    result, out = train(experiment(folder), tmp_path / "run")
    assert "title: texts of up to 4 tokens" in out and "photo: images 3x4x1" in out
    expected = result["eval"]["test"]
    assert expected["accuracy"] > 0.8
    predictor = modelzoo.load(tmp_path / "run")
    exported = Predictor.from_export(predictor.export(tmp_path / "export"))
    for workdir in (tmp_path / "run", tmp_path / "export"):
        found = modelzoo.evaluate(workdir, "test")
        assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)
        assert found["confusion"] == expected["confusion"]
    one, other = (list(p.predict_table(folder / "test.csv")) for p in (predictor, exported))
    assert [p.name for p in one] == [p.name for p in other] and len(one) == 13
    for a, b in zip(one, other, strict=True):
        assert a.class_name == b.class_name
        np.testing.assert_allclose(a.scores, b.scores, rtol=1e-5)
    with pytest.raises(UserError, match="needs title: texts of .*, size: .*, not texts"):
        next(predictor.predict_texts(["ant"]))


def test_replicas_train_alike_on_several_inputs(folder, tmp_path):
    train(experiment(folder), tmp_path / "one")
    devices = DistributeConfig(devices="cpu:2")
    train(experiment(folder, distribute=devices), tmp_path / "two")
    for name, value in weights(tmp_path / "one").items():
        other = weights(tmp_path / "two")[name]
        np.testing.assert_allclose(other, value, rtol=1e-3, atol=1e-3, err_msg=name)
