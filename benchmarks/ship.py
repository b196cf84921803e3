"""Ships the weights of a recorded run as the trained model NAME.

    python benchmarks/ship.py --run=RUN_FOLDER --name=NAME

RUN_FOLDER is one that `record.py --keep` left, NAME that of the record in `results/`. Writes
`modelzoo/zoo/NAME/`, evaluates it, and has `report.py` write its card and all that names it.
"""

import argparse
import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import recorded

from modelzoo import config, zoo
from modelzoo.predictor import Predictor
from modelzoo.train import run_folder

MEGABYTES = 10


def served_weights(run: Path) -> tuple[Predictor, dict[str, np.ndarray]]:
    """The predictor of a run, and its model's weights as `model/PATH` in float32."""
    predictor = Predictor.from_workdir(run)
    weights = {f"model/{v.path}": np.asarray(v.numpy()) for v in predictor.model.weights}
    return predictor, {name: array.astype(np.float32) for name, array in weights.items()}


def portable(experiment: config.Experiment) -> config.Experiment:
    """The experiment without the folder in which this machine keeps its data."""
    return dataclasses.replace(experiment, data=dataclasses.replace(experiment.data, data_dir=None))


def main() -> None:
    """Checks, writes, evaluates; leaves nothing where something does not fit."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--run", required=True, type=Path)
    parser.add_argument("--name", required=True)
    args = parser.parse_args()
    run, folder = args.run.expanduser(), Path(zoo.__path__[0], args.name)
    record = recorded.records()[args.name]
    predictor, weights = served_weights(run)
    experiment = predictor.experiment
    first = config.from_dict(record["config"])
    same = dataclasses.replace(experiment, seed=first.seed)
    if changes := config.difference(portable(first), portable(same)):
        sys.exit(f"results/{args.name}.json is of another config: {'; '.join(changes)}")
    scores = {r["seed"]: r["scores"] for r in record["runs"]}.get(experiment.seed)
    reached = run_folder.read_json(run / "result.json")["eval"]
    if scores is None or any(
        reached[split][name] != value for split in scores for name, value in scores[split].items()
    ):
        sys.exit(f"{run} is none of the runs in results/{args.name}.json")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    np.savez(folder / zoo.WEIGHTS, **weights)
    run_folder.write_json(folder / "config.json", config.to_dict(portable(experiment)))
    run_folder.write_json(folder / "spec.json", predictor.spec.to_dict())
    try:
        size = (folder / zoo.WEIGHTS).stat().st_size
        if size > MEGABYTES * 1e6:
            sys.exit(f"the weights are {size / 1e6:.1f} MB, more than {MEGABYTES}")
        compare(args.name, experiment, recorded.split(record), scores, recorded.headline(record))
    except BaseException:
        shutil.rmtree(folder)
        raise
    subprocess.run([sys.executable, str(Path(__file__).with_name("report.py"))], check=True)


def compare(name: str, experiment: config.Experiment, split: str, scores, headline: str) -> None:
    """Evaluates the shipped model by the command; exits where the score is not the recorded one."""
    command = [sys.executable, "-m", "modelzoo.cli.evaluate", f"--model={name}", "--format=json"]
    command += [f"--split={split}", f"--config.data.data_dir={experiment.data.data_dir}"]
    got = json.loads(subprocess.check_output(command))[headline]
    if got != scores[split][headline]:
        sys.exit(f"the shipped weights reach {headline} {got}, not {scores[split][headline]}")


if __name__ == "__main__":
    main()
