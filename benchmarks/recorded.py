"""What the files in `results/` say, in words."""

import dataclasses
import json
import shlex
from pathlib import Path
from typing import Any

from modelzoo import config
from modelzoo.cli.flags import split_overrides

ROOT = Path(__file__).resolve().parents[1]


def records(prefix: str = "") -> dict[str, dict[str, Any]]:
    """The records of trainings, or those of "speed_" or "baseline_", by their files' names."""
    others = tuple({"speed_", "baseline_"} - {prefix})
    return {
        file.stem: json.loads(file.read_text())
        for file in sorted((ROOT / "results").glob(f"{prefix}*.json"))
        if not file.stem.startswith(others)
    }


def trained_config(record: dict[str, Any]) -> tuple[str, config.Experiment]:
    """Name and experiment of the config that a record's command names, as the config is now."""
    pairs, words = split_overrides(shlex.split(record["command"]))
    (name,) = (word.removeprefix("--config=") for word in words if word.startswith("--config="))
    return name, config.load(name, pairs)


def split(record: dict[str, Any]) -> str:
    """The split whose scores count."""
    return "test" if "test" in record["scores"] else list(record["scores"])[-1]


def headline(record: dict[str, Any]) -> str:
    """The score that counts: the first that is not of how likely the targets were."""
    names = list(record["scores"][split(record)])
    likely = ("loss", "perplexity", "token_accuracy")
    return next((name for name in names if name not in likely), names[0])


def score(record: dict[str, Any]) -> str:
    """Such as `accuracy 0.9972 (mean of 6 seeds, lowest 0.9944)`."""
    name = headline(record)
    values = record["scores"][split(record)][name]
    seeds = len(record["seeds"])
    first = record.get("runs", [{}])[0]
    if "folds" in first:
        low, high = first["over_folds"][name]["low"], first["over_folds"][name]["high"]
        among = f"{first['folds']} folds, 95 % interval of their mean {low:.4f} to {high:.4f}"
        return f"{name.replace('_', ' ')} {values['mean']:.4f} ({among})"
    # Of a loss or an error the highest is the worst.
    worst = "max" if name.endswith(("loss", "error")) else "min"
    spread = f"mean of {seeds} seeds, {worst.replace('max', 'highest').replace('min', 'lowest')}"
    among = f"{spread} {values[worst]:.4f}" if seeds > 1 else "one seed"
    return f"{name.replace('_', ' ')} {values['mean']:.4f} ({among})"


def duration(record: dict[str, Any]) -> str:
    """Mean time of a training, such as `12 seconds` or `52 minutes`."""
    seconds = record["seconds"]["mean"]
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def machine(record: dict[str, Any]) -> str:
    """Such as `2 cores of AMD EPYC`."""
    return record["machine"].split(",")[0]


def short(part: Any) -> str:
    """A config dataclass with those of its fields that are not at their defaults."""
    values = [
        f"{field.name}={getattr(part, field.name)!r}"
        for field in dataclasses.fields(part)
        if getattr(part, field.name) != field.default
    ]
    return f"{type(part).__name__}({', '.join(values)})"


def data_name(data: Any) -> str:
    """The data set's name, else that of its folder or file, else that of the source's class."""
    if hasattr(data, "name"):
        return data.name
    path = Path(getattr(data, "data_dir", None) or getattr(data, "path", type(data).__name__))
    return path.parent.name if "{split}" in path.name else path.stem
