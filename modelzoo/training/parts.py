"""What training needs of an experiment and of the configs in it."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import keras

from modelzoo.optimizers.optimizer import Optimizer
from modelzoo.tasks.task import Task
from modelzoo.training.config import EvalConfig, TrainConfig


@runtime_checkable
class ModelConfig(Protocol):
    """The config of a model, which builds it for given inputs."""

    @property
    def build(self) -> Callable[..., keras.Model]:
        """Builds the model; see `modelzoo.models`."""


@runtime_checkable
class TaskConfig(Protocol):
    """The config of a task, which binds it to what is known of the data."""

    @property
    def bind(self) -> Callable[..., Task]:
        """Returns the task for the data; see `modelzoo.tasks`."""


@runtime_checkable
class DataConfig(Protocol):
    """The config of data, which opens it."""

    @property
    def open(self) -> Callable[..., Any]:
        """Opens the data; see `modelzoo.data`."""


class ExperimentParts(Protocol):
    """The fields of `modelzoo.Experiment` that training reads."""

    @property
    def model(self) -> ModelConfig:
        """The config of the model."""

    @property
    def task(self) -> TaskConfig:
        """The config of the task."""

    @property
    def data(self) -> DataConfig:
        """The config of the data."""

    @property
    def optimizer(self) -> Optimizer:
        """The config of the optimizer."""

    @property
    def train(self) -> TrainConfig:
        """The settings of training."""

    @property
    def eval(self) -> EvalConfig:
        """The settings of evaluation."""

    @property
    def seed(self) -> int:
        """The seed of initial weights, order, augmentation and dropout."""
