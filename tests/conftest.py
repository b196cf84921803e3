"""Splits the one CPU into four logical ones, before any test starts TensorFlow's runtime."""

import os
import pathlib
import types

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from modelzoo.fields.tf_import import import_tensorflow

# pytest would write the log lines of TensorFlow's start below its own closing line.
import_tensorflow()

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import config as tf_config

CPU = tf.config.list_physical_devices("CPU")[0]
if not tf.config.get_logical_device_configuration(CPU):
    tf.config.set_logical_device_configuration(CPU, [tf.config.LogicalDeviceConfiguration()] * 4)
# Now, for a run on two devices would cut the CPU anew where nothing had started the runtime yet.
tf.config.list_logical_devices()


# Files and folders whose tests are fast: they train no model and start no process that does.
FAST = (
    "config",
    "data/augment/test_boxes.py",
    "data/augment/test_erasing.py",
    "data/sources/test_class_folders.py",
    "data/sources/test_npz.py",
    "data/sources/test_parallel_text.py",
    "data/sources/test_table.py",
    "data/sources/test_tabular.py",
    "data/targets",
    "data/test_batches.py",
    "data/test_folds.py",
    "data/test_order.py",
    "data/test_requests.py",
    "data/test_slices.py",
    "data/tokenizers/test_characters.py",
    "data/tokenizers/test_words.py",
    "fields",
    "inference/test_artifacts.py",
    "inference/test_overrides.py",
    "measure/test_intervals.py",
    "measure/test_plot.py",
    "models/layers/test_layer_norm.py",
    "models/layers/test_linear.py",
    "models/layers/test_positions.py",
    "optimizers/test_multipliers.py",
    "optimizers/test_optimizer.py",
    "schedules",
    "tasks/test_classification.py",
    "tasks/test_cross_entropy.py",
    "tasks/test_ranking.py",
    "tasks/test_regression.py",
    "tasks/test_tagging.py",
    "tasks/test_text_metrics.py",
    "test_fields.py",
    "training/test_clip.py",
    "training/test_run_folder.py",
)


def pytest_collection_modifyitems(items):
    """Marks the tests that `-m fast` selects."""
    folder = pathlib.Path(__file__).parent
    fast = [folder / path for path in FAST]
    for item in items:
        if any(item.path.is_relative_to(path) for path in fast):
            item.add_marker(pytest.mark.fast)


@pytest.fixture(autouse=True)
def default_dtype_policy():
    """Gives each test the default policy, and takes back what the test made of it."""
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")
    tf_config.disable_op_determinism()


@pytest.fixture(scope="session")
def image_run(tmp_path_factory):
    """A run folder with random weights, as training leaves it, and the folder of its images.

    `data_dir` holds PNG and JPEG files of many sizes, grey ones among them, in the splits train
    and test; the run has the checkpoints 10 (the best) and 20, each with raw weights and average.
    """
    from PIL import Image

    from modelzoo import Experiment, TrainConfig, config, data
    from modelzoo.models import ResNet
    from modelzoo.optimizers import SGD
    from modelzoo.tasks import Classification
    from modelzoo.training import checkpoint, run_folder

    root = tmp_path_factory.mktemp("image_run")
    data_dir, workdir = root / "data", root / "run"
    rng = np.random.default_rng(0)
    for split, number in (("train", 2), ("test", 4)):
        for label, name in enumerate(("ant", "bee", "cät")):
            folder = data_dir / split / name
            folder.mkdir(parents=True)
            for k in range(number):
                coarse = rng.integers(0, 256, (3, 4) if k == 3 else (3, 4, 3), np.uint8)
                size = (9 + 7 * k + label, 30 - 5 * k)
                image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
                image.save(folder / f"{k}.{'jpg' if k % 2 else 'png'}")
    experiment = Experiment(
        model=ResNet(depth=8, width=4),
        task=Classification(),
        data=data.Dataset(
            source=data.ClassFolders(str(data_dir)),
            inputs=data.Image(size=(12, 16), channels=3, mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.3)),
            target=data.ClassLabel(),
        ),
        optimizer=SGD(),
        train=TrainConfig(batch_size=8, precision="bfloat16"),
    )
    opened = experiment.data.open()
    bound = opened.bound
    run_folder.write_json(workdir / "config.json", config.to_dict(experiment))
    bound.save(workdir / "assets")
    model = experiment.task.bind(bound).build_model(experiment.model)
    raw = opened.split("test").gather(tf.range(12, dtype=tf.int64))
    images = bound.features(raw, training=False)["image"]

    def random_weights():
        for v in model.weights:
            positive = "variance" in v.path or "gamma" in v.path
            spread = 6 if "logits" in v.path else 1
            normal = rng.normal(0, spread * np.prod(v.shape[:-1]) ** -0.5, v.shape)
            v.assign(rng.uniform(0.3, 1.2, v.shape) if positive else normal)
        # Scores away from 0 and 1, and another best class from image to image.
        bias = model.get_layer("logits").bias
        bias.assign(bias - np.mean(model({"image": images}), axis=0))
        return {v.path: v.numpy() for v in model.weights}

    for step in (10, 20):
        arrays = {
            f"{kind}/{path}": value
            for kind in ("model", "ema")
            for path, value in random_weights().items()
        }
        meta = checkpoint.Meta(step=step, examples=8 * step, best_step=10, best_value=0.5)
        checkpoint.write(workdir, arrays, meta)
    return types.SimpleNamespace(
        workdir=workdir, data_dir=data_dir, experiment=experiment, bound=bound
    )
