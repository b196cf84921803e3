"""Recipe: the part of an experiment that training needs."""

import dataclasses

from modelzoo.data.dataset import Dataset
from modelzoo.fields import field_types
from modelzoo.fields.errors import FieldError
from modelzoo.optimizers.optimizer import Optimizer
from modelzoo.tasks.task import ModelConfig, TaskConfig
from modelzoo.training.config import EvalConfig, TrainConfig


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The part of an experiment that training needs.

    model: the model to train, one of `modelzoo.models`.
    task: what the model learns, one of `modelzoo.tasks`.
    data: the data that it learns from, a `modelzoo.data.Dataset`.
    optimizer: one of `modelzoo.optimizers`.
    train, eval: settings of training and of its evaluations.
    seed: seed of initial weights, order, augmentation and dropout; from 0 to 2**31 - 1.
    """

    model: ModelConfig
    task: TaskConfig
    data: Dataset
    optimizer: Optimizer
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    eval: EvalConfig = dataclasses.field(default_factory=EvalConfig)
    seed: int = 0

    def __post_init__(self):
        for name in ("model", "task", "data", "optimizer"):
            if not field_types.is_config(getattr(self, name)):
                raise FieldError(name, f"must be a dataclass, got {getattr(self, name)!r}")
        if not 0 <= self.seed < 2**31:
            raise FieldError("seed", f"must be from 0 to 2147483647, got {self.seed!r}")
