"""The cards of the shipped models."""

import tomllib
from pathlib import Path
from typing import Any

import recorded

from modelzoo import zoo
from modelzoo.data.bound import BoundData
from modelzoo.fields import introspection
from modelzoo.inference.artifacts import read_run

TEXTS = tomllib.loads((Path(__file__).parent / "cards.toml").read_text())


def write_card(name: str, record: dict[str, Any]) -> str:
    """The card of a shipped model, as Markdown.

    Args:
        name: name of the model.
        record: the record that has the model's seed among its runs.
    """
    folder = zoo.folders()[name]
    experiment, data = read_run(folder)
    (run,) = (run for run in record["runs"] if run["seed"] == experiment.seed)
    config_name, _ = recorded.trained_config(record)
    split, metric = recorded.main_split(record), recorded.main_metric(record)
    texts = TEXTS[recorded.data_name(experiment.data)]
    versions = record["versions"]
    megabytes = (folder / zoo.WEIGHTS).stat().st_size / 1e6
    about = introspection.first_line(recorded.ROOT / "configs" / f"{config_name}.py")
    result = f"{metric.replace('_', ' ')} {run['scores'][split][metric]:.4f}"
    seeds = f" All seeds: {recorded.describe_metric(record)}." if len(record["seeds"]) > 1 else ""
    rows = {
        "Model": f"`{recorded.describe_config(experiment.model)}`",
        "Parameters": f"{record['parameters']:,}, {megabytes:.1f} MB in float32",
        "Input": describe_inputs(data),
        "Output": describe_output(data),
        "Data": texts["data"],
        "Licence of the data": texts["licence"],
        "Command": f"`{record['command']}`",
        "Commit": record["commit"],
        "Training": f"{run['steps']:,} steps in {run['seconds']:,.0f} seconds on "
        f"{record['machine']}",
        "Versions": f"Python {versions['python']}, TensorFlow {versions['tensorflow']}, "
        f"Keras {versions['keras']}",
    }
    metrics = list(run["scores"][split])
    table = [["split", *(name.replace("_", " ") for name in metrics)]]
    table.append(["---"] * len(table[0]))
    table += [
        [part, *(f"{values[name]:.4f}" if name in values else "" for name in metrics)]
        for part, values in run["scores"].items()
    ]
    return "\n\n".join(
        [
            f"# {name}",
            about,
            f"{split.capitalize()} {result} (seed {run['seed']}).{seeds}",
            "\n".join(["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items())]),
            "## Metrics",
            "\n".join(f"| {' | '.join(row)} |" for row in table),
            "## Use",
            f"{texts['use']} The weights have the licence of this package, Apache-2.0. The licence "
            "of the data applies as well.",
            "## Limits",
            f"{texts['limits']}\n",
        ]
    )


def describe_inputs(data: BoundData) -> str:
    """What a served model takes."""
    found = []
    for bound in data.inputs.values():
        text = bound.describe()
        if bound.words is not None:
            text = f"texts of up to {bound.widths[-1]} tokens, {len(bound.words)} different ones"
        found.append(text)
    return ", ".join(found)


def describe_output(data: BoundData) -> str:
    """What a served model returns."""
    if names := data.target.names:
        return f"a probability for each of {len(names)} classes: {', '.join(names)}"
    return f"texts of up to {data.target.widths[-1] - 1} tokens, and their scores"
