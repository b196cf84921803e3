"""Numeric series as the inputs of a task, and the tasks on them."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from modelzoo.data.spec import SeriesSpec
from modelzoo.tasks.base import BoundTask, TaskConfig
from modelzoo.tasks.classification import ClassificationHead, ClassTargets
from modelzoo.tasks.regression import RegressionHead, ValueTargets
from modelzoo.tasks.task import Tensors


class SeriesTask(BoundTask):
    """The part of a task that is about series of one length."""

    kind = "series"
    feed = "series"
    arguments = "CSV_FILE"

    def __init__(self, config: TaskConfig, spec: SeriesSpec):
        super().__init__(config, spec)
        self._shape = (None, spec.length, len(spec.features))
        self._centre, self._scale = np.float32(spec.mean), np.float32(spec.std)

    def input_words(self) -> str:
        """Such as `series of 24 steps, 10 features`."""
        return f"series of {self.spec.length} steps, {len(self.spec.features)} features"

    def model_inputs(self) -> keras.InputSpec:
        """Float32 `[batch, length, features]`."""
        return keras.InputSpec(shape=self._shape, dtype="float32")

    def features(self, raw: Tensors, training: bool, seeds: tf.Tensor | None = None) -> Tensors:
        """`series` float32 `[n, length, features]`, by the spec's mean and std; the rest as is."""
        return {**raw, "series": (tf.cast(raw["series"], tf.float32) - self._centre) / self._scale}

    def serves(self) -> dict[str, tuple[str, tf.TensorSpec]]:
        """`serving_default` (`series`: float32 `[n, length, features]`, in the data's units)."""
        return {"series": ("serving_default", tf.TensorSpec(self._shape, name="series"))}


class SeriesClassificationTask(ClassificationHead, SeriesTask):
    """`SeriesClassification` on given data: a `modelzoo.tasks.task.Task`."""


class SeriesRegressionTask(RegressionHead, SeriesTask):
    """`SeriesRegression` on given data: a `modelzoo.tasks.task.Task`."""


@dataclasses.dataclass(frozen=True)
class SeriesClassification(ClassTargets):
    """Learns one class for each series; fields in `ClassTargets`."""

    bound = SeriesClassificationTask


@dataclasses.dataclass(frozen=True)
class SeriesRegression(ValueTargets):
    """Learns numbers for each series, such as its next values; fields in `ValueTargets`."""

    bound = SeriesRegressionTask
