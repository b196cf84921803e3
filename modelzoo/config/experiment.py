"""Experiment: the config of a run, composed of the configs of the packages below."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from modelzoo.distribution.strategy import DistributeConfig
from modelzoo.fields import field_types, overrides
from modelzoo.fields.errors import FieldError
from modelzoo.optimizers.optimizer import Optimizer
from modelzoo.serving.saved_model import ExportConfig
from modelzoo.training.config import EvalConfig, TrainConfig
from modelzoo.training.parts import DataConfig, ModelConfig, TaskConfig


@dataclasses.dataclass(frozen=True)
class Experiment:
    """The config of a run.

    model: the model to train, one of `modelzoo.models`.
    task: what the model learns, one of `modelzoo.tasks`.
    data: the data that it learns from, of `modelzoo.data`.
    optimizer: one of `modelzoo.optimizers`.
    train, eval, distribute, export: settings of training, of its evaluations, of the devices and
        of the export.
    seed: seed of initial weights, order, augmentation and dropout; from 0 to 2**31 - 1.
    """

    model: ModelConfig
    task: TaskConfig
    data: DataConfig
    optimizer: Optimizer
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    eval: EvalConfig = dataclasses.field(default_factory=EvalConfig)
    distribute: DistributeConfig = dataclasses.field(default_factory=DistributeConfig)
    export: ExportConfig = dataclasses.field(default_factory=ExportConfig)
    seed: int = 0

    def __post_init__(self):
        for name in ("model", "task", "data", "optimizer"):
            if not field_types.is_config(getattr(self, name)):
                raise FieldError(name, f"must be a dataclass, got {getattr(self, name)!r}")
        if not 0 <= self.seed < 2**31:
            raise FieldError("seed", f"must be from 0 to 2147483647, got {self.seed!r}")


def override(
    experiment: Experiment, pairs: Mapping[str, Any] | Sequence[tuple[str, Any]]
) -> Experiment:
    """Returns the experiment with fields replaced.

    Raises UserError with one line for an unknown key, a wrong type or an impossible value.

    Args:
        experiment: Stays as it is.
        pairs: Dotted keys and values, such as `{"train.steps": "10 epochs", "seed": 1}`. Text is
            parsed as on the command line; any other value, including a dataclass, is used as is.
    """
    return overrides.apply(experiment, pairs, "config")
