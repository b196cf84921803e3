"""Splits the one CPU into four logical ones, before any test starts TensorFlow's runtime."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest
import tensorflow as tf

CPU = tf.config.list_physical_devices("CPU")[0]
if not tf.config.get_logical_device_configuration(CPU):
    tf.config.set_logical_device_configuration(CPU, [tf.config.LogicalDeviceConfiguration()] * 4)


@pytest.fixture(autouse=True)
def default_dtype_policy():
    """Gives each test the default policy, and takes back what the test made of it."""
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="session")
def digits_dir(tmp_path_factory):
    """A TFDS folder with the digits, prepared once."""
    from modelzoo.data import digits

    folder = tmp_path_factory.mktemp("tfds")
    digits.prepare(str(folder))
    return folder
