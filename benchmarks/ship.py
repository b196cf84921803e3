"""Ship the weights of a recorded run as the trained model NAME.

    python benchmarks/ship.py --run=RUN_FOLDER --name=NAME

RUN_FOLDER is a run that `record.py --keep` kept, and NAME is the name of its record in `results/`.
Writes `modelzoo/zoo/NAME/`, evaluates the shipped model, and regenerates its card and the tables.
If the run read data in the folder of the environment variable DATA, set it here too.
"""

import argparse
import contextlib
import dataclasses
import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import recorded
import report
from record import portable_values

from modelzoo import config, zoo
from modelzoo.cli.main import dispatch
from modelzoo.inference.predictor import Predictor
from modelzoo.training import run_folder

MAX_MEGABYTES = 10


def evaluated_weights(run: Path) -> tuple[Predictor, dict[str, np.ndarray]]:
    """The predictor of a run, and the weights of its model as `model/PATH` in float32."""
    predictor = Predictor.from_workdir(run)
    weights = {f"model/{v.path}": np.asarray(v.numpy()) for v in predictor.model.weights}
    return predictor, {name: array.astype(np.float32) for name, array in weights.items()}


def portable(experiment: config.Experiment) -> config.Experiment:
    """The experiment without the folders of this machine."""
    experiment = config.from_dict(portable_values(config.to_dict(experiment)))
    if not hasattr(experiment.data.source, "data_dir"):
        return experiment
    return config.override(experiment, {"data.source.data_dir": None})


def ship(run: Path, name: str) -> None:
    """Checks, writes and evaluates a model; deletes its folder again if anything does not match."""
    folder = Path(zoo.__path__[0], name)
    record = recorded.records()[name]
    predictor, weights = evaluated_weights(run)
    experiment = predictor.experiment
    first = config.from_dict(record["config"])
    same_seed = dataclasses.replace(experiment, seed=first.seed)
    if changes := config.difference(portable(first), portable(same_seed)):
        sys.exit(f"results/{name}.json records another config: {'; '.join(changes)}")
    metrics = {r["seed"]: r["scores"] for r in record["runs"]}.get(experiment.seed)
    found = run_folder.read_json(run / "result.json")["eval"]
    if metrics is None or any(
        found[split][metric] != value
        for split, values in metrics.items()
        for metric, value in values.items()
    ):
        sys.exit(f"results/{name}.json does not record the run {run}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        np.savez(folder / zoo.WEIGHTS, **weights)
        run_folder.write_json(folder / "config.json", config.to_dict(portable(experiment)))
        predictor.task.data.save(folder)
        size = (folder / zoo.WEIGHTS).stat().st_size
        if size > MAX_MEGABYTES * 1e6:
            sys.exit(f"the weights have {size / 1e6:.1f} MB, more than {MAX_MEGABYTES}")
        split, metric = recorded.main_split(record), recorded.main_metric(record)
        got = evaluate(name, split, experiment)[metric]
        if got != metrics[split][metric]:
            sys.exit(f"the shipped weights have {metric} {got}, not {metrics[split][metric]}")
    except BaseException:
        shutil.rmtree(folder)
        raise


def evaluate(name: str, split: str, experiment: config.Experiment) -> dict[str, Any]:
    """The metrics of the shipped model by `modelzoo evaluate`, on the data of the run."""
    words = ["evaluate", f"--model={name}", f"--split={split}", "--format=json"]
    for field in ("data_dir", "path", "source_path", "target_path"):
        if path := getattr(experiment.data.source, field, None):
            words.append(f"--config.data.source.{field}={path}")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        if code := dispatch(words):
            sys.exit(code)
    return json.loads(out.getvalue())


def main() -> None:
    """Ships the model and regenerates what shows it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--run", required=True, type=Path, help="folder of the run")
    parser.add_argument("--name", required=True, help="name of the record and of the model")
    args = parser.parse_args()
    ship(args.run.expanduser(), args.name)
    report.update_files()


if __name__ == "__main__":
    main()
