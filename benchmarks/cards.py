"""The cards of the trained models that ship."""

import json
import tomllib
from pathlib import Path
from typing import Any

import recorded

from modelzoo import config, zoo
from modelzoo.fields import introspection

WORDS = tomllib.loads((Path(__file__).parent / "cards.toml").read_text())


def card(name: str, record: dict[str, Any]) -> str:
    """The card of the shipped model `name`, of one seed of the runs of `record`."""
    folder = zoo.folders()[name]
    experiment = config.from_dict(json.loads((folder / "config.json").read_text()))
    spec = json.loads((folder / "spec.json").read_text())
    (run,) = (run for run in record["runs"] if run["seed"] == experiment.seed)
    config_name, _ = recorded.trained_config(record)
    split, headline = recorded.split(record), recorded.headline(record)
    words = WORDS[recorded.data_name(experiment.data)]
    versions = record["versions"]
    megabytes = (folder / zoo.WEIGHTS).stat().st_size / 1e6
    about = introspection.first_line(recorded.ROOT / "configs" / f"{config_name}.py")
    score = f"{headline.replace('_', ' ')} {run['scores'][split][headline]:.4f}"
    among = f" Of all that were run: {recorded.score(record)}." if len(record["seeds"]) > 1 else ""
    rows = {
        "Model": f"`{recorded.short(experiment.model)}`, {record['parameters']:,} parameters, "
        f"{megabytes:.1f} MB in float32",
        "Takes": takes(spec),
        "Gives": gives(spec),
        "Data": words["data"],
        "Licence of the data": words["licence"],
        "Command": f"`{record['command']}`",
        "Commit": record["commit"],
        "Trained for": f"{run['steps']:,} steps, {run['seconds']:.0f} seconds on "
        f"{record['machine']}",
        "With": f"Python {versions['python']}, TensorFlow {versions['tensorflow']}, "
        f"Keras {versions['keras']}",
    }
    scores = list(run["scores"][split])
    table = [["", *(name.replace("_", " ") for name in scores)], ["---"] * (len(scores) + 1)]
    table += [
        [part, *(f"{values[name]:.4f}" if name in values else "" for name in scores)]
        for part, values in run["scores"].items()
    ]
    return "\n\n".join(
        [
            f"# {name}",
            about,
            f"{split.capitalize()} {score} (seed {run['seed']}).{among}",
            "\n".join(["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items())]),
            "## Scores",
            "\n".join(f"| {' | '.join(row)} |" for row in table),
            "## Use",
            f"{words['use']} The weights are under the licence of this package, Apache-2.0; "
            "what the data's licence asks for holds besides.",
            "## Limits",
            f"{words['limits']}\n",
        ]
    )


def takes(spec: dict[str, Any]) -> str:
    """What a model is given, in words."""
    if spec.get("kind") in ("text", "pair"):
        return f"texts, of which up to {spec['lengths'][-1]} tokens are read"
    size = f"{spec['height']}x{spec['width']}, {spec['channels']} channel(s)"
    return f"images of {size}; files of other sizes are brought to it"


def gives(spec: dict[str, Any]) -> str:
    """What a model answers with, in words."""
    if spec.get("kind") == "pair":
        return f"texts of up to {spec['target_lengths'][-1] - 1} tokens, and their scores"
    return "a probability for each of " + ", ".join(spec["class_names"])
