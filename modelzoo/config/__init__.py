"""Experiment: the config of a run, its files, its overrides and its JSON form."""

from modelzoo.config.experiment import (
    Experiment,
    difference,
    from_dict,
    load,
    override,
    to_dict,
)

__all__ = ["Experiment", "difference", "from_dict", "load", "override", "to_dict"]
