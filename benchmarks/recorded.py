"""Reads the records in `results/`, and describes them in words."""

import dataclasses
import json
import re
import shlex
from pathlib import Path
from typing import Any

from modelzoo import config
from modelzoo.cli.flags import split_overrides
from modelzoo.data import Dataset

ROOT = Path(__file__).resolve().parents[1]


def records(prefix: str = "") -> dict[str, dict[str, Any]]:
    """The records by the names of their files.

    Args:
        prefix: "" for those of training runs, "speed_" or "baseline_" for the others.
    """
    others = tuple({"speed_", "baseline_"} - {prefix})
    return {
        file.stem: json.loads(file.read_text())
        for file in sorted((ROOT / "results").glob(f"{prefix}*.json"))
        if not file.stem.startswith(others)
    }


def trained_config(record: dict[str, Any]) -> tuple[str, config.Experiment]:
    """The name of the config that a record's command trains, and its experiment as it is now."""
    pairs, words = split_overrides(shlex.split(record["command"]))
    (name,) = (word.removeprefix("--config=") for word in words if word.startswith("--config="))
    return name, config.load(name, pairs)


def main_split(record: dict[str, Any]) -> str:
    """The split whose metrics are shown: the test split, or the last one."""
    return "test" if "test" in record["scores"] else list(record["scores"])[-1]


def main_metric(record: dict[str, Any]) -> str:
    """The metric that is shown: the first one beside those of the likelihood of the targets."""
    names = list(record["scores"][main_split(record)])
    likelihood = ("loss", "perplexity", "token_accuracy")
    return next((name for name in names if name not in likelihood), names[0])


def describe_metric(record: dict[str, Any]) -> str:
    """Such as `accuracy 0.9972 (mean of 6 seeds, lowest 0.9944)`."""
    name = main_metric(record)
    values = record["scores"][main_split(record)][name]
    seeds = len(record["seeds"])
    first = record.get("runs", [{}])[0]
    if "folds" in first:
        low, high = first["over_folds"][name]["low"], first["over_folds"][name]["high"]
        interval = f"95 % confidence interval of their mean {low:.4f} to {high:.4f}"
        spread = f"{first['folds']} folds, {interval}"
    elif seeds > 1:
        # The highest loss or error is the worst.
        worst, word = ("max", "highest") if name.endswith(("loss", "error")) else ("min", "lowest")
        spread = f"mean of {seeds} seeds, {word} {values[worst]:.4f}"
    else:
        spread = "one seed"
    return f"{name.replace('_', ' ')} {values['mean']:.4f} ({spread})"


def describe_duration(record: dict[str, Any]) -> str:
    """The mean time of a training run, such as `12 seconds` or `52 minutes`."""
    seconds = record["seconds"]["mean"]
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def describe_machine(record: dict[str, Any]) -> str:
    """Such as `2 cores of AMD EPYC`."""
    return record["machine"].split(",")[0]


def describe_config(part: Any) -> str:
    """A config dataclass, as Python writes it, with the fields that differ from their defaults."""
    values = [
        f"{field.name}={getattr(part, field.name)!r}"
        for field in dataclasses.fields(part)
        if getattr(part, field.name) != field.default
    ]
    return f"{type(part).__name__}({', '.join(values)})"


def data_name(data: Dataset) -> str:
    """The name of a data set: that of its source, of its folder or file, or of the class in words.

    Such as `cifar10`, `aclImdb`, `multi30k` (of `multi30k/{split}.en`) or `cldr names`.
    """
    source = data.source
    if hasattr(source, "name"):
        return source.name
    path = getattr(source, "path", None) or getattr(source, "source_path", None)
    if path is None:
        return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(source).__name__).lower()
    path = Path(path)
    return path.parent.name if "{split}" in path.name else path.stem
