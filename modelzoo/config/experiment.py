"""Experiment: the config of a run, composed of the configs of other packages."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from modelzoo.distribution.strategy import DistributeConfig
from modelzoo.fields import overrides
from modelzoo.serving.saved_model import ExportConfig
from modelzoo.training.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Experiment(Recipe):
    """The config of a run: the fields of `Recipe`, the devices and the export.

    distribute: settings of the devices.
    export: settings of the export.
    """

    distribute: DistributeConfig = dataclasses.field(default_factory=DistributeConfig)
    export: ExportConfig = dataclasses.field(default_factory=ExportConfig)


def override(
    experiment: Experiment, pairs: Mapping[str, Any] | Sequence[tuple[str, Any]]
) -> Experiment:
    """Returns the experiment with fields replaced.

    Args:
        experiment: The experiment, which does not change.
        pairs: Dotted keys and values, such as `{"train.steps": "10 epochs", "seed": 1}`. Text is
            parsed as on the command line; any other value, including a dataclass, is used as is.

    Raises:
        UserError: A key is unknown, or a value is impossible or of a wrong type.
    """
    return overrides.apply(experiment, pairs, "config")
