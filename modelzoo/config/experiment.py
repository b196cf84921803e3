"""Experiment: the config of a run, composed of the configs of the packages below."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from modelzoo.distribution.strategy import DistributeConfig
from modelzoo.fields import overrides
from modelzoo.serving.saved_model import ExportConfig
from modelzoo.training.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Experiment(Recipe):
    """The config of a run: the fields of `Recipe`, and these.

    distribute, export: settings of the devices and of the export.
    """

    distribute: DistributeConfig = dataclasses.field(default_factory=DistributeConfig)
    export: ExportConfig = dataclasses.field(default_factory=ExportConfig)


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
