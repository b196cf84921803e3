"""Experiment: the config of a run, its files, its overrides and its JSON form."""

from modelzoo.config.experiment import Experiment, override
from modelzoo.config.files import load
from modelzoo.config.serialization import difference, from_dict, to_dict

__all__ = ["Experiment", "difference", "from_dict", "load", "override", "to_dict"]
