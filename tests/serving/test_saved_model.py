"""Exported folders: versions, atomicity, and loading by a process with TensorFlow alone."""

import dataclasses
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from bound_data import image_data

from modelzoo.data import ClassLabel, Dataset, Image, Npz
from modelzoo.data.bound import BoundData
from modelzoo.fields.errors import UserError
from modelzoo.fields.input_specs import only_array
from modelzoo.serving import saved_model
from modelzoo.tasks import Classification

SHAPE, NAMES = (4, 4, 1), ("no", "yes")
DATA = image_data(SHAPE, NAMES)
EXPERIMENT = {"seed": 7}


@dataclasses.dataclass(frozen=True)
class Convolution:
    input_kinds = ("image",)

    def build(self, inputs, num_outputs):
        name, spec = only_array(inputs, "image")
        inputs = keras.Input(spec.shape, name=name)
        x = keras.layers.Conv2D(3, 3, activation="relu", name="conv")(inputs)
        x = keras.layers.Dropout(0.5, name="dropout")(x)
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
        return keras.Model({name: inputs}, keras.layers.Dense(num_outputs, name="logits")(x))


@pytest.fixture(scope="module")
def task():
    return Classification().bind(DATA)


@pytest.fixture(scope="module")
def model(task):
    return task.build_model(Convolution())


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


# Imports of Keras and of this package raise, so what runs here knows TensorFlow alone.
_ALONE = """
import sys
for name in ("keras", "tf_keras", "modelzoo"):
    sys.modules[name] = None
import numpy as np
import tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
images = np.load(sys.argv[2])
result = loaded.signatures["serving_default"](images=tf.constant(images))
np.savez(sys.argv[3], classes=result["classes"].numpy().astype(str), scores=result["scores"])
empty = loaded.signatures["image_bytes"](encoded=tf.constant([], tf.string))
assert empty["scores"].shape == (0, 2) and empty["classes"].shape == (0,)
try:
    loaded.signatures["image_bytes"](encoded=tf.constant([b"no image"]))
except tf.errors.InvalidArgumentError:
    print("refused")
"""


def test_loads_with_tensorflow_alone(task, model, tmp_path):
    folder = saved_model.export(model, task, EXPERIMENT, tmp_path / "export")
    images = np.random.default_rng(0).integers(0, 256, (6, *SHAPE), np.uint8)
    np.save(tmp_path / "images.npy", images)
    command = [sys.executable, "-c", _ALONE, folder, tmp_path / "images.npy", tmp_path / "got.npz"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["refused"]
    logits = model({"image": images / np.float32(127.5) - 1}, training=False)
    got = np.load(tmp_path / "got.npz")
    np.testing.assert_allclose(got["scores"], tf.nn.softmax(logits), atol=1e-6)
    assert list(got["classes"]) == [NAMES[i] for i in np.argmax(logits, axis=-1)]


def test_versions_count_up_and_carry_config_and_data(task, model, tmp_path):
    folders = [saved_model.export(model, task, EXPERIMENT, tmp_path) for _ in range(2)]
    folders.append(saved_model.export(model, task, EXPERIMENT, tmp_path, version=10))
    folders.append(saved_model.export(model, task, EXPERIMENT, tmp_path))
    assert [folder.relative_to(tmp_path).name for folder in folders] == ["1", "2", "10", "11"]
    assert saved_model.versions(tmp_path) == [1, 2, 10, 11]
    assert _names(tmp_path) == ["1", "10", "11", "2"]
    sidecar = folders[0] / "assets.extra"
    assert json.loads((sidecar / "config.json").read_text()) == EXPERIMENT
    config = Dataset(source=Npz("a.npz"), inputs=Image(), target=ClassLabel())
    assert BoundData.load(config, sidecar) == DATA
    with pytest.raises(UserError, match="version 10 exists"):
        saved_model.export(model, task, EXPERIMENT, tmp_path, version=10)
    assert _names(tmp_path) == ["1", "10", "11", "2"]


def test_half_an_export_is_never_a_version(task, model, tmp_path, monkeypatch):
    seen = []
    write = saved_model._write

    def killed(folder, *args):
        write(folder, *args)
        seen.extend(_names(tmp_path))
        raise KeyboardInterrupt

    monkeypatch.setattr(saved_model, "_write", killed)
    with pytest.raises(KeyboardInterrupt):
        saved_model.export(model, task, EXPERIMENT, tmp_path)
    # While it was written its name was no number, which is all that TensorFlow Serving looks at.
    assert len(seen) == 1
    assert not seen[0].isdigit()
    assert _names(tmp_path) == []
    # What SIGKILL leaves behind is in nobody's way.
    (tmp_path / seen[0]).mkdir()
    monkeypatch.undo()
    assert saved_model.export(model, task, EXPERIMENT, tmp_path).name == "1"


def test_a_version_that_appears_meanwhile_is_not_overwritten(task, model, tmp_path, monkeypatch):
    write = saved_model._write

    def slow(folder, *args):
        write(folder, *args)
        (tmp_path / "1").mkdir()

    monkeypatch.setattr(saved_model, "_write", slow)
    assert saved_model.export(model, task, EXPERIMENT, tmp_path).name == "2"
    assert _names(tmp_path / "1") == []


def test_the_folder_is_as_readable_as_any_other(task, model, tmp_path):
    folder = saved_model.export(model, task, EXPERIMENT, tmp_path)
    (tmp_path / "other").mkdir()
    assert folder.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_folder_that_cannot_be_written_is_one_line(task, model, tmp_path):
    (tmp_path / "file").write_text("here is a file already")
    with pytest.raises(UserError, match=r"cannot write the export to .*file") as error:
        saved_model.export(model, task, EXPERIMENT, tmp_path / "file")
    assert "\n" not in str(error.value)


def test_a_full_disk_is_one_line_and_leaves_nothing(task, model, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left\non device")

    monkeypatch.setattr(tf.saved_model, "save", full)
    with pytest.raises(UserError, match="No space left on device") as error:
        saved_model.export(model, task, EXPERIMENT, tmp_path)
    assert "\n" not in str(error.value)
    assert os.listdir(tmp_path) == []


def test_mixed_precision_is_not_served(task, tmp_path):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = task.build_model(Convolution())
    finally:
        keras.config.set_dtype_policy(before)
    with pytest.raises(ValueError, match="float32"):
        saved_model.export(model, task, EXPERIMENT, tmp_path)
