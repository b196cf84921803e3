import dataclasses
import io

import keras
import numpy as np
import pytest
import tensorflow as tf

import modelzoo
from modelzoo import config
from modelzoo.data.npz import NpzImages
from modelzoo.data.spec import ImageSpec
from modelzoo.optimizers import AdamW
from modelzoo.tasks import names
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


def test_the_count_goes_on_afterwards_even_after_an_error():
    first = keras.layers.Dense(1).name
    with pytest.raises(KeyError), names.counted_from_zero():
        assert [keras.layers.Dense(1).name for _ in range(2)] == ["dense", "dense_1"]
        raise KeyError
    number = int(first.partition("_")[2] or 0)
    assert keras.layers.Dense(1).name == f"dense_{number + 1}"


def test_policy_strategy_and_seed_stay():
    keras.config.set_dtype_policy("float64")
    strategy = tf.distribute.MirroredStrategy(
        ["cpu:0", "cpu:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
    keras.utils.set_random_seed(1)
    with strategy.scope():
        with names.counted_from_zero():
            inside = keras.layers.Dense(3)
            inside.build([None, 2])
        outside = keras.layers.Dense(3)
        outside.build([None, 2])
    for layer in (inside, outside):
        assert layer.kernel.dtype == "float64"
        assert len(strategy.experimental_local_results(layer.kernel.value)) == 2
    # The stream of random numbers is not begun again.
    assert not np.allclose(inside.kernel, outside.kernel)
    assert keras.config.dtype_policy().name == "float64"


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
