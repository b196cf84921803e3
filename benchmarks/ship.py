"""Ships the weights of a recorded run as the trained model NAME.

    python benchmarks/ship.py --run=RUN_FOLDER --name=NAME

RUN_FOLDER is one that `record.py --keep` left, NAME that of the record in `results/`. Writes
`modelzoo/zoo/NAME/`, evaluates it, and has `report.py` write its card and all that names it.
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

from modelzoo import config, zoo
from modelzoo.cli.main import dispatch
from modelzoo.inference.predictor import Predictor
from modelzoo.training import run_folder

MEGABYTES = 10


def served_weights(run: Path) -> tuple[Predictor, dict[str, np.ndarray]]:
    """The predictor of a run, and its model's weights as `model/PATH` in float32."""
    predictor = Predictor.from_workdir(run)
    weights = {f"model/{v.path}": np.asarray(v.numpy()) for v in predictor.model.weights}
    return predictor, {name: array.astype(np.float32) for name, array in weights.items()}


def portable(experiment: config.Experiment) -> config.Experiment:
    """The experiment without the folder in which this machine keeps its data."""
    data = experiment.data
    folder = {"data_dir": None} if hasattr(data, "data_dir") else {}
    return dataclasses.replace(experiment, data=dataclasses.replace(data, **folder))


def ship(run: Path, name: str) -> None:
    """Checks, writes and evaluates; leaves nothing where something does not fit."""
    folder = Path(zoo.__path__[0], name)
    record = recorded.records()[name]
    predictor, weights = served_weights(run)
    experiment = predictor.experiment
    first = config.from_dict(record["config"])
    same = dataclasses.replace(experiment, seed=first.seed)
    if changes := config.difference(portable(first), portable(same)):
        sys.exit(f"results/{name}.json is of another config: {'; '.join(changes)}")
    scores = {r["seed"]: r["scores"] for r in record["runs"]}.get(experiment.seed)
    reached = run_folder.read_json(run / "result.json")["eval"]
    if scores is None or any(
        reached[split][score] != value
        for split, values in scores.items()
        for score, value in values.items()
    ):
        sys.exit(f"{run} is none of the runs in results/{name}.json")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        np.savez(folder / zoo.WEIGHTS, **weights)
        run_folder.write_json(folder / "config.json", config.to_dict(portable(experiment)))
        predictor.spec.save_assets(folder)
        run_folder.write_json(folder / "spec.json", predictor.spec.to_dict())
        size = (folder / zoo.WEIGHTS).stat().st_size
        if size > MEGABYTES * 1e6:
            sys.exit(f"the weights are {size / 1e6:.1f} MB, more than {MEGABYTES}")
        split, headline = recorded.split(record), recorded.headline(record)
        got = evaluate(name, split, getattr(experiment.data, "data_dir", None))[headline]
        if got != scores[split][headline]:
            sys.exit(f"the shipped weights reach {headline} {got}, not {scores[split][headline]}")
    except BaseException:
        shutil.rmtree(folder)
        raise


def evaluate(name: str, split: str, data_dir: str | None) -> dict[str, Any]:
    """The scores that the command gives for the shipped model."""
    words = ["evaluate", f"--model={name}", f"--split={split}", "--format=json"]
    words += [f"--config.data.data_dir={data_dir}"] if data_dir else []
    with contextlib.redirect_stdout(io.StringIO()) as out:
        if code := dispatch(words):
            sys.exit(code)
    return json.loads(out.getvalue())


def main() -> None:
    """Ships and reports."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--run", required=True, type=Path)
    parser.add_argument("--name", required=True)
    args = parser.parse_args()
    ship(args.run.expanduser(), args.name)
    report.write()


if __name__ == "__main__":
    main()
