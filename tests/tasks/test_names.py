import dataclasses
import io

import keras
import numpy as np
import pytest

import modelzoo
from modelzoo import config
from modelzoo.data.npz import NpzImages
from modelzoo.data.spec import ImageSpec
from modelzoo.optimizers import AdamW
from modelzoo.tasks.image_classification import ImageClassification
from modelzoo.training import checkpoint
from modelzoo.training.config import TrainConfig
from modelzoo.training.progress import Progress

PATHS = [
    f"sequential/{layer}/{weight}"
    for layer in ("conv2d", "dense", "dense_1")
    for weight in ("kernel", "bias")
]


@dataclasses.dataclass(frozen=True)
class Unnamed:
    """Everything here is named by Keras."""

    width: int = 4

    def build(self, input_spec, num_outputs):
        return keras.Sequential(
            [
                keras.Input(input_spec.shape[1:]),
                keras.layers.Conv2D(self.width, 3, activation="relu"),
                keras.layers.Flatten(),
                keras.layers.Dense(self.width),
                keras.layers.Dropout(0.5),
                keras.layers.Dense(num_outputs),
            ]
        )


def test_every_build_has_the_same_paths():
    task = ImageClassification().bind(ImageSpec(4, 4, 1, ("a", "b")))
    built = [task.build_model(Unnamed()) for _ in range(2)]
    assert [[v.path for v in model.weights] for model in built] == [PATHS, PATHS]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_unnamed_layers_are_trained_resumed_and_loaded_in_one_process(tmp_path, precision):
    rng = np.random.default_rng(0)
    arrays = {}
    for split in ("train", "test"):
        arrays[f"x_{split}"] = rng.integers(0, 256, [8, 4, 4, 1], np.uint8)
        arrays[f"y_{split}"] = np.arange(8) % 2
    np.savez(tmp_path / "data.npz", **arrays)

    def train(steps):
        experiment = config.Experiment(
            model=Unnamed(),
            task=ImageClassification(),
            data=NpzImages(str(tmp_path / "data.npz")),
            optimizer=AdamW(),
            train=TrainConfig(steps=steps, batch_size=4, precision=precision, ema_decay=0.9),
        )
        return modelzoo.train(
            experiment,
            tmp_path / "run",
            resume_with_changes=True,
            progress=Progress(io.StringIO()),
        )

    train(1)
    result = train(2)
    assert result["steps"] == 2
    saved = checkpoint.read(checkpoint.find(tmp_path / "run"))
    assert [name for name in saved if name.startswith("model/")] == [f"model/{p}" for p in PATHS]
    predictor = modelzoo.load(tmp_path / "run")
    scores = predictor.outputs({"image": arrays["x_test"]})["scores"]
    loss = -np.log(scores[np.arange(8), arrays["y_test"]]).mean()
    np.testing.assert_allclose(loss, result["eval"]["test"]["loss"], rtol=1e-5)
