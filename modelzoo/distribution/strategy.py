"""The devices of a run, its distribution strategy and the distribution of its batches."""

import contextlib
import dataclasses
import re
from collections.abc import Iterable
from typing import Literal

import tensorflow as tf

from modelzoo.fields import compat
from modelzoo.fields.errors import FieldError, UserError

_DEVICES = re.compile(r"(cpu|gpu|tpu):([1-9][0-9]*)")


@dataclasses.dataclass(frozen=True)
class DistributeConfig:
    """The devices of a run.

    strategy: "one_device", "mirrored", or "auto", which is mirrored for several devices and one
        device otherwise.
    devices: kind and number, such as "cpu:2" (the CPU split into two logical devices) or "gpu:8";
        None uses all GPUs, or the CPU if there are none.

    Example:
        >>> make_strategy(DistributeConfig(devices="cpu:2")).num_replicas_in_sync
        2
    """

    strategy: Literal["auto", "one_device", "mirrored"] = "auto"
    devices: str | None = None

    def __post_init__(self):
        if self.devices is not None and not _DEVICES.fullmatch(self.devices):
            raise FieldError("devices", f"must be like 'cpu:2' or 'gpu:8', got {self.devices!r}")
        number = int(self.devices.split(":")[1]) if self.devices else 1
        if self.strategy == "one_device" and number > 1:
            raise FieldError(
                "devices",
                f"must be a single device with strategy 'one_device', got {self.devices!r}",
            )


def _split_cpu(number: int) -> None:
    """Splits the CPU into `number` logical devices; TensorFlow does so once in a process.

    Raises:
        UserError: TensorFlow already runs with fewer devices.
    """
    cpu = tf.config.list_physical_devices("CPU")[0]
    if number > 1:
        # Raises if the runtime has started; the check below then counts its devices.
        with contextlib.suppress(RuntimeError, ValueError):
            tf.config.set_logical_device_configuration(
                cpu, [tf.config.LogicalDeviceConfiguration()] * number
            )
    existing = len(tf.config.list_logical_devices("CPU"))
    if existing < number:
        raise UserError(
            f"--devices=cpu:{number} is not available: TensorFlow already runs with {existing} "
            "logical CPU device(s) in this process; start a new process for this run"
        )


def make_strategy(config: DistributeConfig) -> tf.distribute.Strategy:
    """Returns the strategy of a config.

    Call it before anything else starts the TensorFlow runtime, which fixes the number of logical
    CPU devices.

    Raises:
        UserError: a device is missing.
    """
    gpus = len(tf.config.list_physical_devices("GPU"))
    if config.devices is None:
        kind, number = ("gpu", gpus) if gpus else ("cpu", 1)
        if config.strategy == "one_device":
            number = 1
    else:
        kind, number = config.devices.split(":")[0], int(config.devices.split(":")[1])
    if kind == "tpu":
        raise UserError(
            f"TPUs are not supported yet, got --devices={config.devices}: use cpu:N or gpu:N"
        )
    if kind == "gpu" and number > gpus:
        raise UserError(
            f"--devices={config.devices} needs {number} GPU(s), TensorFlow finds {gpus}: "
            "omit --devices to use all available devices"
        )
    if kind == "cpu":
        _split_cpu(number)
    names = [f"{kind}:{k}" for k in range(number)]
    if number == 1 and config.strategy != "mirrored":
        return tf.distribute.OneDeviceStrategy(names[0])
    compat.separate_collectives()
    return tf.distribute.MirroredStrategy(names)


def distribute_batches(
    strategy: tf.distribute.Strategy, dataset: tf.data.Dataset
) -> Iterable[dict[str, tf.Tensor]]:
    """Returns an iterable of the dataset's elements, one per local replica, on its device.

    On one CPU it is the dataset itself: TensorFlow's distributed iterator would only copy the
    elements, and takes up to a minute to stop.
    """
    if strategy.num_replicas_in_sync == 1 and "CPU" in device_names(strategy)[0].upper():
        return dataset
    return strategy.distribute_datasets_from_function(lambda context: dataset)


def describe(strategy: tf.distribute.Strategy) -> str:
    """Returns the strategy and its devices in words, such as `mirrored over CPU:0, CPU:1`."""
    name = type(strategy).__name__.removesuffix("V1").removesuffix("Strategy")
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    devices = ", ".join(device_names(strategy))
    return f"{words} {'over' if strategy.num_replicas_in_sync > 1 else 'on'} {devices}"


def device_names(strategy: tf.distribute.Strategy) -> list[str]:
    """Returns short names of this worker's devices, such as `["CPU:0", "CPU:1"]`."""
    return [
        re.sub(r".*device:", "", device, flags=re.IGNORECASE)
        for device in strategy.extended.worker_devices
    ]
